// The demo pages that show tables: rows that move, filters of the server, two windows that edit, a database that a shell
// writes to, and the death of the server.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { connected, openBrowser, openWindow } from "./support/browser.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

/** What the table of stocks shows, in its order. */
const shown = (page) => page.locator("#rows tr").evaluateAll((lines) => lines.map((line) => {
  const text = (name) => line.querySelector(`.${name}`).textContent;
  return { symbol: text("symbol"), sector: text("sector"), price: Number(text("price")), change: Number(text("change").replace(/^▲ /, "").replace(/^▼ /, "-")) };
}));

/** Waits until the page of stocks shows the rows of its filter. */
const filled = (page) => page.locator("#count", { hasText: /^\d+ rows?$/ }).waitFor();

/** Waits until a price on the page is another one than now; gives its symbol. */
async function moves(page) {
  const before = new Map((await shown(page)).map(({ symbol, price }) => [symbol, price]));
  return until("a price to move", async () => (await shown(page)).find(({ symbol, price }) => before.has(symbol) && before.get(symbol) !== price)?.symbol);
}

test("stocks: every row comes once, and prices move without a reload", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/stocks`);
  await filled(page);
  await page.evaluate(() => { window.still = "here"; });
  assert.equal((await shown(page)).length, 20);

  const symbol = await moves(page);
  await moves(page);
  await page.waitForFunction(() => document.getAnimations().length > 0);
  const line = page.locator("#rows tr", { hasText: symbol });
  assert.match(await line.getAttribute("data-moved"), /^(up|down)$/);
  assert.ok((await line.locator("polyline").getAttribute("points")).split(" ").length >= 2, "the trend has grown");
  assert.equal(await page.evaluate(() => window.still), "here");
  assert.equal(await page.locator("#connection").getAttribute("data-reconnections"), "0");
  const marks = await page.evaluate(() => window.received.map((event) => JSON.parse(event.data).headers.control).filter(Boolean));
  assert.deepEqual(marks, ["snapshot-start", "snapshot-end"], "all rows came once");
});

test("stocks: nothing flashes for who wants less motion", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/stocks`, { reducedMotion: "reduce" });
  await filled(page);
  await page.evaluate(() => {
    window.flashes = 0;
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (...how) {
      window.flashes += 1;
      return animate.apply(this, how);
    };
  });
  await page.locator("#rows tr[data-moved]").first().waitFor();
  assert.equal(await page.evaluate(() => window.flashes), 0);
});

test("stocks: a column's head sorts, by the keyboard too", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/stocks`);
  await filled(page);
  const head = (name) => page.locator("#stocks thead th", { hasText: name });
  const sorted = (list) => list.every((value, i) => i === 0 || list[i - 1] <= value);
  assert.ok(sorted((await shown(page)).map((row) => row.symbol)));

  // All begin at 0, so their order by change is another one each second.
  await head("Change").locator("button").click();
  assert.equal(await head("Change").getAttribute("aria-sort"), "descending");
  assert.equal(await head("Stock").getAttribute("aria-sort"), null);
  for (let i = 0; i < 4; i += 1) {
    assert.ok(sorted((await shown(page)).map((row) => -row.change)), "what rose most comes first, after each change");
    await moves(page);
  }

  await head("Price").locator("button").click();
  await head("Price").locator("button").focus();
  await page.keyboard.press("Enter");
  assert.equal(await head("Price").getAttribute("aria-sort"), "ascending");
  assert.ok(sorted((await shown(page)).map((row) => row.price)));
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Space");
  assert.equal(await head("Sector").getAttribute("aria-sort"), "ascending");
  assert.ok(sorted((await shown(page)).map((row) => row.sector)));
});

test("stocks: a filter shows its rows, which come and go as their prices do", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/stocks`);
  await filled(page);
  await page.locator("#where").fill("price > 120 and sector = 'Software'");
  await page.locator("#count", { hasText: "2 rows" }).waitFor();
  assert.deepEqual((await shown(page)).map((row) => row.symbol), ["ALDR", "BRKT"]);

  // Each price begins at a change of 0, so some cross it soon, both ways.
  await page.locator("#examples button", { hasText: "change < 0" }).click();
  await until("a row to come and one to go", async () => {
    const operations = await page.evaluate(() => {
      const all = window.received.map((event) => JSON.parse(event.data).headers);
      return all.slice(all.findIndex(({ control }) => control === "snapshot-end")).map(({ control, operation }) => control ?? operation);
    });
    if (operations[0] !== "snapshot-end") return false; // The rows from before are still shown.
    assert.deepEqual((await shown(page)).filter((row) => row.change >= 0), []);
    return operations.includes("insert") && operations.includes("delete");
  });

  await page.locator("#examples button", { hasText: /^all$/ }).click();
  await page.locator("#count", { hasText: "20 rows" }).waitFor();
});

test("stocks: how often a row may change is asked of the server", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/stocks`);
  await filled(page);
  const asked = page.waitForRequest((request) => new URL(request.url()).searchParams.get("min_interval") === "1s");
  await page.locator("#pace").selectOption("1s");
  await asked;
  await page.waitForFunction(() => window.received.some((event) => JSON.parse(event.data).headers.operation === "update"));
  assert.equal((await shown(page)).length, 20);
});

test("stocks: a predicate that is none says why, and the next one heals it", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/stocks`);
  await filled(page);
  const bad = "price > and";
  const refused = await fetch(`${server.origin}/tables/stocks?${new URLSearchParams({ where: bad })}`, { headers: { Accept: "application/json" } });
  assert.equal(refused.status, 400);
  const { detail } = await refused.json();

  await page.locator("#where").fill(bad);
  await page.locator("#problem", { hasText: detail }).waitFor();
  assert.equal(await page.locator("#where").getAttribute("aria-invalid"), "true");
  assert.equal((await shown(page)).length, 20, "the rows from before stay");

  await page.locator("#where").fill("sector = 'Health'");
  await page.locator("#count", { hasText: "3 rows" }).waitFor();
  assert.equal(await page.locator("#problem").textContent(), "");
  assert.equal(await page.locator("#where").getAttribute("aria-invalid"), null);
});

test("stocks: the table goes on after the server's death, without a row twice or a price forgotten", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/stocks`);
  await filled(page);
  await moves(page);
  const symbols = (await shown(page)).map((row) => row.symbol);
  for (const [round, signal] of ["SIGKILL", "SIGTERM"].entries()) {
    await server.stop(signal);
    await page.locator("#connection[data-state=reconnecting]").waitFor();
    assert.equal((await shown(page)).length, 20, "what was known stays");
    await server.run();
    await page.locator(`#connection[data-state=open][data-reconnections="${round + 1}"]`).waitFor();
    await moves(page);
    assert.deepEqual((await shown(page)).map((row) => row.symbol), symbols);
  }
  const marks = await page.evaluate(() => window.received.map((event) => JSON.parse(event.data).headers?.control).filter(Boolean));
  assert.deepEqual(marks, ["snapshot-start", "snapshot-end"], "all rows came once");
});

/** Opens the page of orders and waits for its rows. */
async function orders(t, browser, server) {
  const page = await openWindow(t, browser, `${server.origin}/demo/admin`);
  await connected(page);
  await page.locator("#count", { hasText: /^\d+ orders?$/ }).waitFor();
  return page;
}
const line = (page, key) => page.locator("#rows tr", { has: page.locator(".key", { hasText: new RegExp(`^${key}$`) }) });
const cell = (page, key, name, text) => line(page, key).locator(`td .${name}, td.${name}`).filter({ hasText: text });
const keys = (page) => page.locator("#rows tr .key").allTextContents();

/** Begins to edit the order `key`; gives the form. */
async function edit(page, key) {
  await line(page, key).locator("button", { hasText: "Edit" }).click();
  const form = line(page, key).locator("form");
  await form.waitFor();
  return form;
}
const save = (form) => form.locator("button", { hasText: "Save" }).click();

test("orders: what one window edits, inserts and deletes the other shows at once", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const [ana, ben] = await Promise.all([orders(t, browser, server), orders(t, browser, server)]);
  assert.equal((await keys(ana)).length, 40);

  await ben.evaluate(() => {
    window.marked = [];
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (...how) {
      window.marked.push(this.querySelector(".key").textContent);
      return animate.apply(this, how);
    };
  });
  const form = await edit(ana, "A-1040");
  await form.locator("[name=customer]").fill("<b>Zoe</b>");
  await form.locator("[name=quantity]").fill("7");
  await form.locator("[name=status]").selectOption("cancelled");
  await save(form);
  await cell(ben, "A-1040", "customer", "<b>Zoe</b>").waitFor();
  await cell(ben, "A-1040", "status", "cancelled").waitFor();
  await cell(ana, "A-1040", "quantity", "7").waitFor();
  assert.deepEqual(await ben.evaluate(() => window.marked), ["A-1040"], "what changed is marked for a moment");
  assert.equal(await ben.locator("#rows b").count(), 0, "text stays text");

  await ben.locator("summary", { hasText: "A new order" }).click();
  const insert = ben.locator("#insert");
  for (const [name, text] of [["key", "B-1"], ["customer", "Yan"], ["item", "Sail"], ["total", "12.5"]]) await insert.locator(`[name=${name}]`).fill(text);
  await insert.locator("button").click();
  await cell(ana, "B-1", "total", "12.50").waitFor();
  await ben.waitForFunction(() => document.querySelector("#insert [name=key]").value === "");
  await insert.locator("[name=key]").fill("A-1001");
  await insert.locator("[name=customer]").fill("Thief");
  await insert.locator("[name=item]").fill("Mug");
  await insert.locator("button").click();
  await ben.locator("#problem", { hasText: "There is an order A-1001 already." }).waitFor();

  await (await edit(ana, "B-1")).locator("button", { hasText: "Delete" }).click();
  await line(ben, "B-1").waitFor({ state: "detached" });
  await line(ana, "B-1").waitFor({ state: "detached" });
  assert.deepEqual(await keys(ana), await keys(ben));
  assert.equal(await line(ana, "A-1001").locator(".customer").textContent(), "Ana Ribeiro", "nothing was overwritten");
});

test("orders: who edits is not disturbed by what the other window does", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const [ana, ben] = await Promise.all([orders(t, browser, server), orders(t, browser, server)]);
  const form = await edit(ana, "A-1020");
  const item = form.locator("[name=item]");
  await item.fill("Half a wo");

  await (await edit(ben, "A-1030")).locator("button", { hasText: "Delete" }).click();
  await line(ana, "A-1030").waitFor({ state: "detached" });
  const other = await edit(ben, "A-1020");
  await other.locator("[name=quantity]").fill("9");
  await save(other);
  await cell(ben, "A-1020", "quantity", "9").waitFor();
  await ana.keyboard.type("rd");
  assert.equal(await item.inputValue(), "Half a word");
});

test("orders: of two who edit one order the second learns what the first did, and may try again", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const [ana, ben] = await Promise.all([orders(t, browser, server), orders(t, browser, server)]);
  const [mine, theirs] = [await edit(ana, "A-1033"), await edit(ben, "A-1033")];
  await theirs.locator("[name=status]").selectOption("paid");
  await save(theirs);
  await cell(ben, "A-1033", "status", "paid").waitFor();

  await mine.locator("[name=quantity]").fill("2");
  await save(mine);
  await mine.locator(".problem", { hasText: "meanwhile somebody changed status from open to paid" }).waitFor();
  assert.equal(await line(ben, "A-1033").locator(".quantity").textContent(), "5", "nothing is saved yet");
  assert.equal(await mine.locator("[name=quantity]").inputValue(), "2", "what was typed is still there");
  await save(mine);
  await cell(ben, "A-1033", "quantity", "2").waitFor();
  assert.equal(await line(ben, "A-1033").locator(".status").textContent(), "paid", "theirs is kept");

  const again = await edit(ana, "A-1033");
  await (await edit(ben, "A-1033")).locator("button", { hasText: "Delete" }).click();
  await line(ben, "A-1033").waitFor({ state: "detached" });
  await again.locator("[name=quantity]").fill("3");
  await save(again);
  await again.locator(".problem", { hasText: "deleted" }).waitFor();
  await again.locator("button", { hasText: "Cancel" }).click();
  await line(ana, "A-1033").waitFor({ state: "detached" });
});

test("orders: a filter shows one status, and orders come and go as theirs changes", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const [ana, ben] = await Promise.all([orders(t, browser, server), orders(t, browser, server)]);
  await ana.locator("#status").selectOption("open");
  await ana.locator("#count", { hasText: "12 orders" }).waitFor();
  assert.deepEqual([...new Set(await ana.locator("#rows .status").allTextContents())], ["open"]);

  const away = await edit(ben, "A-1040");
  await away.locator("[name=status]").selectOption("shipped");
  await save(away);
  await line(ana, "A-1040").waitFor({ state: "detached" });
  const back = await edit(ben, "A-1039");
  await back.locator("[name=status]").selectOption("open");
  await save(back);
  await cell(ana, "A-1039", "status", "open").waitFor();
  await ana.locator("#status").selectOption("");
  await ana.locator("#count", { hasText: "40 orders" }).waitFor();
});

test("orders: both windows go on after the server's death, and nothing is forgotten or there twice", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const [ana, ben] = await Promise.all([orders(t, browser, server), orders(t, browser, server)]);
  const all = await keys(ana);
  for (const [round, signal] of ["SIGKILL", "SIGTERM"].entries()) {
    const before = await edit(ana, "A-1010");
    await before.locator("[name=quantity]").fill(`${10 + round}`);
    await save(before);
    await cell(ben, "A-1010", "quantity", `${10 + round}`).waitFor();
    await server.stop(signal);
    await server.run();
    for (const page of [ana, ben]) await page.locator(`#connection[data-state=open][data-reconnections="${round + 1}"]`).waitFor();
    const after = await edit(ben, "A-1011");
    await after.locator("[name=quantity]").fill(`${20 + round}`);
    await save(after);
    await cell(ana, "A-1011", "quantity", `${20 + round}`).waitFor();
    assert.equal(await line(ana, "A-1010").locator(".quantity").textContent(), `${10 + round}`);
    for (const page of [ana, ben]) assert.deepEqual(await keys(page), all);
  }
});

test("orders: the page counts its requests beside those of polling", async (t) => {
  const server = await Server.start(t);
  const page = await orders(t, await openBrowser(t), server);
  let requests = 0;
  page.on("request", () => { requests += 1; });
  const number = async (id) => Number(await page.locator(id).textContent());
  await until("the stream to be counted", async () => (await number("#spent")) === 1);
  await page.waitForFunction(() => Number(document.getElementById("polled").textContent) >= 3);
  assert.equal(requests, 0, "all is known without asking");
  assert.equal(await number("#spent"), 1);

  const form = await edit(page, "A-1005");
  await form.locator("[name=quantity]").fill("8");
  await save(form);
  await cell(page, "A-1005", "quantity", "8").waitFor();
  await until("the edit to be counted", async () => (await number("#spent")) === 2);
  assert.equal(requests, 1, "the change");
  assert.match(await page.locator("#polled-bytes").textContent(), /^\d+\.\d KiB$/);
});

test("orders: what the command on the page does to the database shows, also what was done while the server was dead", async (t) => {
  const server = await Server.start(t);
  const page = await orders(t, await openBrowser(t), server);
  await page.locator("#path", { hasText: server.data }).waitFor();
  const command = await page.locator("pre", { hasText: "sqlite3" }).first().textContent();
  const shell = (line) => execFileSync("/bin/sh", ["-c", line], { encoding: "utf8" });
  const sql = (text) => shell(command.replace(/"UPDATE.*"$/, `"PRAGMA busy_timeout = 5000; ${text}"`));
  assert.equal(await line(page, "A-1040").locator(".status").textContent(), "open");
  shell(command);
  await cell(page, "A-1040", "status", "paid").waitFor();

  sql("BEGIN; DELETE FROM orders WHERE id = 'A-1002'; INSERT INTO orders (id, customer, item, quantity, total, status) VALUES ('C-1', 'Yan', 'Sail', 2, 12.5, 'open'); COMMIT");
  await cell(page, "C-1", "total", "12.50").waitFor();
  assert.equal(await line(page, "A-1002").count(), 0, "both or none");

  await server.stop("SIGKILL");
  sql("UPDATE orders SET id = 'C-2' WHERE id = 'C-1'");
  await server.run();
  await line(page, "C-2").waitFor();
  assert.equal((await keys(page)).length, 40);
  const form = await edit(page, "C-2");
  await form.locator("[name=customer]").fill("Zoe");
  await save(form);
  await cell(page, "C-2", "customer", "Zoe").waitFor();
  assert.equal(sql("SELECT customer FROM orders WHERE id = 'C-2'").trim().split("\n").at(-1), "Zoe");
});

test("orders: the API of the demo refuses what is no order, and pages of other sites", async (t) => {
  const server = await Server.start(t);
  const url = `${server.origin}/demo/api/orders`;
  const send = async (method, path, body, headers) => {
    const answer = await fetch(`${url}/${path}`, { method, body, headers });
    return [answer.status, await answer.text()];
  };
  const order = (more) => JSON.stringify({ customer: "Yan", item: "Sail", quantity: 1, total: 1, status: "open", ...more });
  for (const [method, path, body, status] of [
    ["PUT", "B-1", "no", 400], ["PUT", "B-1", order({ id: 1 }), 400], ["PUT", "B-1", order({ item: [] }), 400],
    ["PUT", "B-1", order({ status: "odd" }), 422], ["PUT", "x".repeat(41), order(), 422], ["PUT", "A-1001", order(), 409],
    ["PATCH", "A-1001", `{"from":{},"to":{}}`, 400], ["PATCH", "A-1001", `{"from":{},"to":{"quantity":0}}`, 422],
    ["PATCH", "none", `{"from":{},"to":{"quantity":1}}`, 404], ["DELETE", "A-1001", `{"from":{"status":"open"}}`, 409],
    ["DELETE", "A-1001", `{"from":{"1=1 OR id":"open"}}`, 400],
  ]) assert.equal((await send(method, path, body))[0], status, `${method} ${path} ${body}`);
  const [status, said] = await send("DELETE", "A-1001", `{"from":{}}`, { Origin: "https://elsewhere.example" });
  assert.equal(status, 403);
  assert.match(said, /origin_forbidden/);
  const row = await fetch(`${server.origin}/tables/orders/A-1001`);
  assert.equal(row.status, 200, "nothing was done");
  const write = await fetch(`${server.origin}/tables/orders/A-1001`, { method: "PUT", body: "{}", headers: { "Content-Type": "application/json" } });
  assert.equal(write.status, 405);
});

test("nobody but the demo writes to the table of stocks", async (t) => {
  const server = await Server.start(t);
  const answer = await fetch(`${server.origin}/tables/stocks/ALDR`, { method: "PUT", body: "{}", headers: { "Content-Type": "application/json" } });
  assert.equal(answer.status, 405);
  assert.match((await answer.json()).detail, /demo/);
});
