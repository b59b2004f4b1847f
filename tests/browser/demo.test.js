// Every demo page, in a real browser against the real server.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { connected, openBrowser, openWindow } from "./support/browser.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

const PAGES = ["", "clock", "metrics", "notifications", "chat", "stocks", "admin"];
const SCREENSHOTS = resolve(process.env.SCREENSHOTS ?? join(import.meta.dirname, "../../target/screenshots"));

test("the first page says what to type, for the address it was opened at", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo`);

  assert.equal(new URL(page.url()).pathname, "/demo/");
  const typed = await page.locator("pre").allTextContents();
  assert.equal(typed[0], `curl -N 127.0.0.1:${server.port}/streams/chat/lobby`);
  assert.equal(typed[1], `curl -d hello 127.0.0.1:${server.port}/streams/chat/lobby`);
});

test("the clock shows the newest event at once, then each nth", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/clock`);
  const shown = () => page.locator("#time").getAttribute("datetime");

  await page.waitForFunction(() => window.received.length >= 3);
  const times = await page.evaluate(() => window.received.map((event) => Date.parse(JSON.parse(event.data).time)));
  for (const [i, time] of times.entries()) assert.ok(i === 0 || time > times[i - 1], `${times}`);

  await page.locator("#every").selectOption("60");
  const chosen = await page.evaluate(() => window.received.length);
  await page.waitForFunction((count) => window.received.length > count, chosen);
  const first = await shown();
  await page.waitForFunction((count) => window.received.length > count + 2, chosen);
  assert.equal(await shown(), first, "the next of 60 is not due yet");
});

test("server metrics are numbers of this machine, and a chart that grows", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/metrics`);
  const points = async () => (await page.locator("#cpu-line").getAttribute("points"))?.split(" ").length ?? 0;

  const before = await until("a first point", points);
  await until("a further point", async () => (await points()) > before || before === 120);

  const sample = JSON.parse(await page.evaluate(() => window.received.at(-1).data));
  assert.ok(sample.cpu >= 0 && sample.cpu <= 100, `${sample.cpu}`);
  assert.ok(sample.memory.used > 0 && sample.memory.used < sample.memory.total);
  assert.equal(sample.load.length, 3);
  assert.ok(sample.network.rx_bytes_per_s >= 0 && sample.network.tx_bytes_per_s >= 0);
  assert.match(await page.locator("#memory").textContent(), /iB of .*iB$/);
});

test("a notification sent in one window is a badge and a toast in the other", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const ana = await openWindow(t, browser, `${server.origin}/demo/notifications?user=ana`);
  const ben = await openWindow(t, browser, `${server.origin}/demo/notifications?user=ben`);
  await Promise.all([connected(ana), connected(ben)]);

  const send = async (type, text) => {
    await ben.locator("[name=to]").fill("ana");
    await ben.locator("[name=type]").selectOption(type);
    await ben.locator("#text").fill(text);
    await ben.locator("#send button").click();
    await ben.waitForFunction(() => document.getElementById("text").value === "");
  };
  const toast = ana.locator("#toasts li").first().waitFor();
  await send("alarm", "<img src=x onerror=alert(1)> & co");
  await toast;
  await send("order", "second");
  await ana.locator("#list li", { hasText: "second" }).waitFor();

  assert.equal(await ana.locator("#badge").textContent(), "2");
  assert.match(await ana.title(), /^\(2\) /);
  assert.deepEqual(await ana.evaluate(() => window.received.map((event) => [event.type, event.data])), [
    ["alarm", "<img src=x onerror=alert(1)> & co"],
    ["order", "second"],
  ]);
  assert.equal(await ana.locator("#list img").count(), 0, "text stays text");
  assert.equal(await ben.locator("#badge").textContent(), "0", "the sender's stream is another one");

  await ana.locator("#read").click();
  assert.equal(await ana.locator("#badge").textContent(), "0");
});

test("what was sent while a user's window was closed is there when it opens again", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const ana = await openWindow(t, browser, `${server.origin}/demo/notifications?user=ana`);
  await connected(ana);
  await server.publish("notifications/ana", "before", { type: "mention" });
  await ana.locator("#list li", { hasText: "before" }).waitFor();

  await ana.goto("about:blank");
  for (let i = 0; i < 8; i += 1) await server.publish("notifications/ana", `missed ${i}`, { type: "order" });
  await ana.goto(`${server.origin}/demo/notifications?user=ana`);

  await ana.locator("#list li", { hasText: "missed 7" }).waitFor();
  assert.deepEqual(await ana.evaluate(() => window.received.map((event) => event.data)), Array.from({ length: 8 }, (_, i) => `missed ${i}`));
});

test("a chat: lines, who joined and left, other rooms, history on opening", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const ana = await openWindow(t, browser, `${server.origin}/demo/chat?room=lobby&user=ana`);
  await ana.locator("#lines", { hasText: "ana joined" }).waitFor();
  const ben = await openWindow(t, browser, `${server.origin}/demo/chat?room=lobby&user=ben`);
  await ana.locator("#lines", { hasText: "ben joined" }).waitFor();

  const say = async (page, text) => {
    await page.locator("#text").fill(text);
    await page.locator("#say button").click();
  };
  await say(ben, "hello <b>ana</b>");
  await ana.locator("#lines li", { hasText: "hello <b>ana</b>" }).waitFor();
  await say(ana, "hello ben");
  await ben.locator("#lines li", { hasText: "hello ben" }).waitFor();
  await server.publish("chat/lobby", "from a shell");
  await ana.locator("#lines li", { hasText: "from a shell" }).waitFor();

  await ben.locator(".rooms a", { hasText: "kitchen" }).click();
  await ana.locator("#lines", { hasText: "ben left" }).waitFor();
  await ben.locator("#lines", { hasText: "ben joined" }).waitFor();
  await say(ben, "only in the kitchen");
  await ben.locator("#lines li", { hasText: "only in the kitchen" }).waitFor();

  const types = await ana.evaluate(() => window.received.map((event) => event.type));
  assert.deepEqual(types, ["userConnected", "userConnected", "message", "message", "message", "userDisconnected"]);

  const eva = await openWindow(t, browser, `${server.origin}/demo/chat?room=lobby&user=eva`);
  await eva.locator("#lines", { hasText: "eva joined" }).waitFor();
  const lines = await eva.locator("#lines li").allTextContents();
  assert.deepEqual(lines, [
    "ana joined", "ben joined", "benhello <b>ana</b>", "anahello ben", "somebodyfrom a shell", "ben left", "eva joined",
  ]);
});

test("every page shows its own code", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  for (const name of PAGES.slice(1)) {
    const page = await openWindow(t, browser, `${server.origin}/demo/${name}`);
    await page.locator("summary", { hasText: "The code of this page" }).click();
    const code = page.locator("code[data-src]");
    await code.first().filter({ hasText: "new EventSource(" }).waitFor();
    await page.waitForFunction(() => [...document.querySelectorAll("code[data-src]")].every((code) => code.textContent !== ""));
    // What a table needs comes first; its page, with sorting or forms, is longer.
    for (const [i, text] of (await code.allTextContents()).entries()) {
      const lines = text.split("\n").filter((line) => line.trim() !== "").length;
      assert.ok(lines <= (i === 0 ? 40 : 150), `${name}: ${lines} lines are too long to show`);
    }
  }
});

test("every page fits wide and narrow screens, light and dark", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  await mkdir(SCREENSHOTS, { recursive: true });
  for (const [user, text] of [["ana", "Good morning!"], ["ben", "The build is green, have a look: https://example.org/a/rather/long/address/that/has/to/break"], ["eva", "Wonderful."]]) {
    await server.publish("chat/lobby", JSON.stringify({ user, text }));
    await server.publish("notifications/ana", `${user} says: ${text}`, { type: "mention" });
  }
  await server.publish("notifications/ana", "Disk of db-2 is 91 % full", { type: "alarm" });
  for (const [size, viewport] of [["wide", { width: 1400, height: 900 }], ["narrow", { width: 390, height: 844 }], ["least", { width: 360, height: 640 }]]) {
    for (const colorScheme of ["light", "dark"]) {
      for (const name of PAGES) {
        const page = await openWindow(t, browser, `${server.origin}/demo/${name}?user=ana`, { viewport, colorScheme });
        if (name !== "") await page.waitForFunction(() => window.received.length >= 1);
        if (name === "metrics") await page.locator("#cpu", { hasText: "%" }).waitFor();
        if (["stocks", "admin"].includes(name)) await page.locator("#rows tr").first().waitFor();
        if (name === "notifications") await page.waitForFunction(() => getComputedStyle(document.querySelector("#toasts li")).opacity === "1");
        const wide = await page.evaluate(() => [document.documentElement, ...document.querySelectorAll(".card, .card > *:not(pre)")]
          .filter((element) => element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline")
          .map((element) => `${element.tagName}#${element.id}: ${element.scrollWidth} > ${element.clientWidth}`));
        assert.deepEqual(wide, [], `${name || "index"} is too wide for ${viewport.width} pixels`);
        await page.screenshot({ path: join(SCREENSHOTS, `${name || "index"}-${size}-${colorScheme}.png`), fullPage: true });
        await page.context().close();
      }
    }
  }
});
