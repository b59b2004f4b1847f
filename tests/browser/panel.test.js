// examples/admin-panel on DynamoDB Local: two windows of an administration page, and the death of each part.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { Panel } from "../../examples/admin-panel/try.js";
import { openBrowser, openWindow } from "./support/browser.js";
import { BINARY } from "./support/server.js";
import { until } from "./support/wait.js";

const TARGET = resolve(import.meta.dirname, "../..", process.env.CARGO_TARGET_DIR ?? "target");
const DYNAMODB = join(TARGET, "dynamodb-local");
const skipped = join(DYNAMODB, "skipped");
const options = { skip: existsSync(skipped) && `no DynamoDB Local: ${readFileSync(skipped, "utf8")}` };

/** Everything, ended with the test. */
async function start(t) {
  const panel = await Panel.start({ dynamodb: DYNAMODB, riacho: BINARY });
  t.after(() => panel.stop());
  return panel;
}

/** A window that has all orders. */
async function open(t, browser, panel, settings) {
  const page = await openWindow(t, browser, panel.origin, settings);
  await page.locator("#count", { hasText: /^\d+ orders$/ }).waitFor();
  await page.evaluate(() => { window.still = "here"; });
  return page;
}

const line = (page, key) => page.locator(`#rows tr[data-key="${key}"]`);
const text = (page, key, name) => line(page, key).locator(`.${name}`).textContent();
const live = (page) => page.locator("#state[data-state=open]").waitFor();

/** What a page shows, by key. */
const shown = (page) => page.locator("#rows tr").evaluateAll((lines) => Object.fromEntries(lines.map((line) => {
  const text = (name) => line.querySelector(`.${name}`).textContent;
  return [line.dataset.key, [text("customer"), text("item"), text("quantity"), text("total"), text("status")]];
})));

/** What DynamoDB has, by the API, as a page shows it. */
async function stored(panel) {
  const { orders } = await (await fetch(`${panel.origin}/api/orders`)).json();
  return Object.fromEntries(orders.map((order) => [order.id, [order.customer, order.item, String(order.quantity), order.total.toFixed(2), order.status]]));
}

/** Waits until all pages show what DynamoDB has. */
async function level(panel, pages) {
  const truth = await stored(panel);
  await Promise.all(pages.map((page, i) => until(`window ${i} to show what DynamoDB has`, async () => {
    try {
      assert.deepEqual(await shown(page), truth);
      return true;
    } catch (err) {
      if (err.code === "ERR_ASSERTION") return false;
      throw err;
    }
  })));
  return truth;
}

/** Changes a status as a person does. */
async function setStatus(page, key, status) {
  await line(page, key).getByRole("button").click();
  await page.locator("#form [name=status]").selectOption(status);
  await page.locator("#form [name=save]").click();
  await page.locator("#dialog").waitFor({ state: "hidden" });
}

/** Another program that uses the API: tries until it is done. */
async function send(panel, method, path, body) {
  return until(`${method} ${path}`, async () => {
    const request = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(`${panel.origin}${path}`, request).catch(() => null);
    if (answer && answer.status >= 400 && answer.status < 500) throw new Error(`${answer.status}: ${await answer.text()}`);
    return answer?.ok;
  });
}

test("what is edited, made and deleted in one window shows in the other", options, async (t) => {
  const panel = await start(t);
  const browser = await openBrowser(t);
  const [one, two] = [await open(t, browser, panel), await open(t, browser, panel)];
  assert.equal(Object.keys(await level(panel, [one, two])).length, 40);

  await setStatus(one, "A-1040", "cancelled");
  await line(two, "A-1040").locator(".status.cancelled").waitFor();
  await two.locator("#news li", { hasText: /A-1040 status \S+ → cancelled/ }).waitFor();

  await one.locator("#new").click();
  for (const [name, value] of Object.entries({ id: "A-2000", customer: "Inês Melo", item: "clock", total: "19.9" })) {
    await one.locator(`#form [name=${name}]`).fill(value);
  }
  await one.locator("#form [name=save]").click();
  await line(two, "A-2000").waitFor();
  assert.equal(await text(two, "A-2000", "total"), "19.90");

  await line(two, "A-2000").getByRole("button").click();
  await two.locator("#form [name=drop]").click();
  await line(one, "A-2000").waitFor({ state: "detached" });
  await level(panel, [one, two]);
});

test("who edits what somebody else has changed meanwhile is told, and overwrites nothing", options, async (t) => {
  const panel = await start(t);
  const browser = await openBrowser(t);
  const [one, two] = [await open(t, browser, panel), await open(t, browser, panel)];
  await line(one, "A-1002").getByRole("button").click();
  await setStatus(two, "A-1002", "paid");
  await line(one, "A-1002").locator(".status.paid").waitFor();

  await one.locator("#form [name=customer]").fill("Someone");
  await one.locator("#form [name=save]").click();
  await one.locator("#form .problem", { hasText: "meanwhile" }).waitFor();
  assert.notEqual((await stored(panel))["A-1002"][0], "Someone");
});

test("a page asks once, where polling would ask again and again", options, async (t) => {
  const panel = await start(t);
  const page = await open(t, await openBrowser(t), panel);
  const number = async (id) => Number((await page.locator(id).textContent()).split(" ")[0]);
  // Three rounds of polling, in which nothing changes.
  await page.waitForFunction(() => parseInt(document.getElementById("polled").textContent, 10) >= 3);
  assert.equal(await number("#spent"), 1);
  const bytes = async (id) => {
    const [amount, unit] = (await page.locator(id).textContent()).split(" ");
    return Number(amount) * { kB: 1e3, MB: 1e6 }[unit];
  };
  assert.ok((await bytes("#polled-bytes")) > (await bytes("#spent-bytes")));
});

test("after the restart of each part both windows are level, without a reload", options, async (t) => {
  const panel = await start(t);
  const browser = await openBrowser(t);
  const pages = [await open(t, browser, panel), await open(t, browser, panel)];
  let total = 100;
  for (const part of ["riacho", "api", "emulator"]) {
    for (const signal of ["SIGKILL", "SIGTERM"]) {
      await panel[part].stop(signal);
      // While it is away, where that can be: afterwards nothing else tells of this.
      const away = part === "riacho";
      total += 1;
      const id = `B-${total}`;
      const order = { id, customer: "Rui Vaz", item: "bowl", quantity: 1, total, status: "open" };
      if (away) await send(panel, "POST", "/api/orders", order);
      await panel[part].start();
      if (!away) await send(panel, "POST", "/api/orders", order);
      await send(panel, "PATCH", `/api/orders/${id}`, { version: 1, status: "shipped" });
      await Promise.all(pages.map((page) => line(page, id).locator(".status.shipped").waitFor()));
      await Promise.all(pages.map(live));
      await level(panel, pages);
      await setStatus(pages[0], "A-1001", part === "api" ? "paid" : "open");
      await level(panel, pages);
    }
  }
  for (const page of pages) assert.equal(await page.evaluate(() => window.still), "here", "no page was loaded anew");
});

test("it is legible wide and narrow, light and dark", options, async (t) => {
  const panel = await start(t);
  const browser = await openBrowser(t);
  for (const [name, width, height, colorScheme] of [["wide", 1280, 900, "light"], ["narrow", 360, 800, "light"], ["dark", 1280, 900, "dark"], ["narrow-dark", 360, 800, "dark"]]) {
    const page = await open(t, browser, panel, { viewport: { width, height }, colorScheme });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, `${name}: nothing is cut off`);
    await live(page);
    await setStatus(page, "A-1040", name === "dark" ? "paid" : "shipped");
    await shot(page, name);
    await line(page, "A-1039").getByRole("button").click();
    await shot(page, `${name}-edit`);
    await page.context().close();
  }
});

async function shot(page, name) {
  const directory = process.env.SCREENSHOTS;
  if (!directory) return;
  mkdirSync(directory, { recursive: true });
  await page.screenshot({ path: join(directory, `panel-${name}.png`) });
}
