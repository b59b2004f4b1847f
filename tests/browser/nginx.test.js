// Through Debian's nginx as it comes, its proxy buffering switched on: nothing waits for a buffer to fill.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openBrowser, openWindow } from "./support/browser.js";
import { startNginx } from "./support/nginx.js";
import { Server } from "./support/server.js";
import { Subscriber } from "./support/subscriber.js";

for (const [name, version] of [["by HTTP/1.0, its default", undefined], ["by HTTP/1.1", "1.1"]]) {
  test(`${name}: the head arrives before any event, and each event before the next is published`, async (t) => {
    const server = await Server.start(t);
    const origin = await startNginx(t, server, version);

    const subscriber = await Subscriber.open(t, `${origin}/streams/test/nginx`);
    assert.equal(subscriber.status, 200);
    assert.equal(subscriber.headers["content-type"], "text/event-stream");
    for (let i = 0; i < 20; i += 1) {
      const id = await server.publish("test/nginx", `event ${i}`);
      const event = await subscriber.next();
      assert.deepEqual(event, { id, type: "message", data: `event ${i}` });
    }
  });

  test(`${name}: a subscriber resumes where it was, also after the server was killed`, async (t) => {
    const server = await Server.start(t);
    const origin = await startNginx(t, server, version);

    const first = await Subscriber.open(t, `${origin}/streams/test/nginx`);
    await server.publish("test/nginx", "one");
    const { id } = await first.next();
    await server.stop("SIGKILL");
    await server.run();
    await server.publish("test/nginx", "two");
    await server.publish("test/nginx", "three");

    const second = await Subscriber.open(t, `${origin}/streams/test/nginx`, { "Last-Event-ID": id });
    assert.equal((await second.next()).data, "two");
    assert.equal((await second.next()).data, "three");
  });

  test(`${name}: the clock of the demo ticks, a line said is a line read`, async (t) => {
    const server = await Server.start(t);
    const origin = await startNginx(t, server, version);
    const browser = await openBrowser(t);

    const clock = await openWindow(t, browser, `${origin}/demo/clock`);
    const chat = await openWindow(t, browser, `${origin}/demo/chat?user=ana`);
    await chat.locator("#lines", { hasText: "ana joined" }).waitFor();
    await chat.locator("#text").fill("through nginx");
    await chat.locator("#say button").click();
    await chat.locator("#lines li", { hasText: "through nginx" }).waitFor();
    await clock.waitForFunction(() => window.received.length >= 3);
  });
}
