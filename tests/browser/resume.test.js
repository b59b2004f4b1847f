// A native EventSource across the death of the server: every number once and in order, on every connection.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connected, openBrowser, openWindow } from "./support/browser.js";
import { Server } from "./support/server.js";
import { until } from "./support/wait.js";

/** Publishes 0, 1, 2, ... to `stream` one after the other until told to stop; `done` gives how many there are. */
function publishNumbers(server, stream) {
  const numbers = { published: 0, stopping: false };
  numbers.done = (async () => {
    while (!numbers.stopping) {
      await server.publish(stream, String(numbers.published), { key: `${stream}-${numbers.published}` });
      numbers.published += 1;
    }
    return numbers.published;
  })();
  return numbers;
}

/** Waits until 50 more numbers are published: the server is up and busy. */
async function busy(numbers) {
  const from = numbers.published;
  await until("numbers to be published", () => numbers.published >= from + 50);
}

test("a page misses nothing and repeats nothing while the server is killed and restarted", async (t) => {
  const server = await Server.start(t);
  // The index page has no connection of its own: its origin serves as the place of a bare EventSource.
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/`);
  await page.evaluate(async () => {
    Object.assign(window, { got: [], ids: new Set(), opened: 0, controls: [] });
    const source = new EventSource("/streams/test/numbers");
    source.addEventListener("open", () => (window.opened += 1));
    source.addEventListener("message", (event) => {
      window.got.push(Number(event.data));
      window.ids.add(event.lastEventId);
    });
    for (const type of ["riacho.goodbye", "riacho.reset"]) {
      source.addEventListener(type, (event) => window.controls.push([type, event.data]));
    }
    await new Promise((open) => source.addEventListener("open", open, { once: true }));
  });

  const numbers = publishNumbers(server, "test/numbers");
  for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL", "SIGTERM"]) {
    await busy(numbers);
    const code = await server.stop(signal);
    if (signal === "SIGTERM") assert.equal(code, 0, "a drained server ends well");
    const opened = await page.evaluate(() => window.opened);
    await server.run();
    await page.waitForFunction((before) => window.opened > before, opened);
  }
  await busy(numbers);
  numbers.stopping = true;
  const count = await numbers.done;

  await page.waitForFunction((last) => window.got.includes(last), count - 1);
  const { got, ids, opened, controls } = await page.evaluate(() => ({ got: window.got, ids: window.ids.size, opened: window.opened, controls: window.controls }));
  assert.deepEqual(got, Array.from({ length: count }, (_, i) => i));
  assert.equal(ids, count, "each event has an id of its own");
  assert.ok(opened >= 5, `${opened} connections`);
  assert.deepEqual(controls.filter(([type]) => type === "riacho.reset"), [], "nothing was lost");
  assert.equal(controls.filter(([type]) => type === "riacho.goodbye").length, 2, "both drains said so");
});

test("a demo page says why it reconnects and goes on where it was", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/chat?user=ana`);
  const state = page.locator("#connection [role=status]");
  const reconnections = (count) => page.locator(`#connection[data-state=open][data-reconnections="${count}"]`).waitFor();
  await page.locator("#lines", { hasText: "ana joined" }).waitFor();

  await server.publish("chat/lobby", "one");
  await page.locator("#lines", { hasText: "one" }).waitFor();
  await server.stop("SIGKILL");
  await state.filter({ hasText: "reconnecting: connection lost" }).waitFor();
  await server.run();
  await server.publish("chat/lobby", "two");
  await reconnections(1);
  await server.stop("SIGTERM");
  await state.filter({ hasText: "reconnecting: riacho.goodbye" }).waitFor();
  await server.run();
  await server.publish("chat/lobby", "three");
  await reconnections(2);
  await page.locator("#lines", { hasText: "three" }).waitFor();

  const said = await page.evaluate(() => window.received.filter((event) => event.type === "message").map((event) => event.data));
  assert.deepEqual(said, ["one", "two", "three"]);
  const joined = await page.evaluate(() => window.received.filter((event) => event.type === "userConnected").length);
  assert.equal(joined, 1, "to reconnect is not to join again");
});

test("every demo page is connected again after a restart", async (t) => {
  const server = await Server.start(t);
  const browser = await openBrowser(t);
  const pages = [];
  for (const name of ["clock", "metrics", "notifications", "chat", "stocks", "admin"]) {
    pages.push(await openWindow(t, browser, `${server.origin}/demo/${name}?user=ana`));
  }
  await Promise.all(pages.map(connected));
  for (const round of [1, 2]) {
    await server.stop(round === 1 ? "SIGKILL" : "SIGTERM");
    await server.run();
    await Promise.all(pages.map((page) => page.locator(`#connection[data-state=open][data-reconnections="${round}"]`).waitFor()));
  }
  await server.publish("notifications/ana", "still here", { type: "mention" });
  await pages[2].locator("#list", { hasText: "still here" }).waitFor();
  for (const page of pages.slice(0, 2)) {
    const before = await page.evaluate(() => window.received.length);
    await page.waitForFunction((count) => window.received.length > count, before);
  }
});

test("requests and event streams share the browser's connections, again and again", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/`);
  await server.publish("test/keep-alive", "0");
  const got = await page.evaluate(async () => {
    const got = [];
    for (let i = 1; i <= 60; i += 1) {
      const posted = await fetch("/streams/test/keep-alive", { method: "POST", body: String(i) });
      const { id } = await posted.json();
      const source = new EventSource("/streams/test/keep-alive?tail=1");
      const event = await new Promise((arrived, failed) => {
        source.onmessage = arrived;
        source.onerror = () => failed(new Error(`connection ${i} failed`));
      });
      if (event.lastEventId !== id) throw new Error(`${event.lastEventId} is not ${id}`);
      source.close();
      got.push(Number(event.data));
    }
    return got;
  });
  assert.deepEqual(got, Array.from({ length: 60 }, (_, i) => i + 1));
});

test("five streams at once and requests beside them", async (t) => {
  const server = await Server.start(t);
  const page = await openWindow(t, await openBrowser(t), `${server.origin}/demo/`);
  const got = await page.evaluate(async () => {
    const got = [0, 1, 2, 3, 4].map(() => []);
    const all = got.map((list, i) => new Promise((done) => {
      const source = new EventSource(`/streams/test/five/${i}?from=earliest`);
      source.onmessage = (event) => list.push(event.data) === 10 && done(source.close());
    }));
    for (let n = 0; n < 10; n += 1) {
      for (let i = 0; i < 5; i += 1) {
        const answer = await fetch(`/streams/test/five/${i}`, { method: "POST", body: `${i}:${n}` });
        if (answer.status !== 201) throw new Error(`status ${answer.status}`);
        await answer.text();
      }
    }
    await Promise.all(all);
    return got;
  });
  for (const [i, list] of got.entries()) assert.deepEqual(list, Array.from({ length: 10 }, (_, n) => `${i}:${n}`));
});
