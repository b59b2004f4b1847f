// Others' clients against the real server: each connects, takes typed and multi-line events, and resumes after every kind of cut.
//
// A client is a program that is given a URL and prints a line of JSON, `{type, data, id}`, for each event, for ever.
// `CLIENTS=curl,php` runs only these.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { availableParallelism } from "node:os";
import { describe, test } from "node:test";
import { until } from "../browser/support/wait.js";
import { CuttingProxy } from "./proxy.js";
import { HERE, OUT, ready, startServer } from "./support.js";

const JARS = `${OUT}/java/classes:${OUT}/java/lib/*`;
const inBrowser = (name) => ({ needs: "node", run: ["node", `${HERE}/node/in-browser.js`, name] });
/** Our own, where it says it runs too. */
const own = (what, program, ...args) => ({ needs: "riacho", run: [program, ...args, `${HERE}/node/riacho.js`, what] });
const DENO = [`${HERE}/node/node_modules/@deno/linux-x64-glibc/deno`, "run", "--no-config", "--allow-all"];
const BUN = [`${HERE}/node/node_modules/@oven/bun-linux-x64/bin/bun`];

/** `emptyEvents`: first blocks and heartbeats, which have an id and no data, are events to it, against the standard. */
const CLIENTS = {
  "browser's EventSource": inBrowser("native"),
  "event-source-polyfill": inBrowser("event-source-polyfill"),
  "fetch-event-source": { ...inBrowser("fetch-event-source"), emptyEvents: true },
  "eventsource": { needs: "node", run: ["node", `${HERE}/node/eventsource.js`] },
  "eventsource-client (npm)": { needs: "node", run: ["node", `${HERE}/node/eventsource-client.js`] },
  "httpx-sse": { emptyEvents: true, needs: "python", run: [`${OUT}/venv/bin/python`, `${HERE}/python/httpx_sse_client.py`] },
  "sseclient-py": { needs: "python", run: [`${OUT}/venv/bin/python`, `${HERE}/python/sseclient_py_client.py`] },
  "go-sse": { emptyEvents: true, needs: "go", run: [`${OUT}/go/go-sse`] },
  "eventsource-client (Rust)": { needs: "rust", run: [`${OUT}/rust/debug/eventsource-client`] },
  "reqwest-eventsource": { needs: "rust", run: [`${OUT}/rust/debug/reqwest-eventsource`] },
  "okhttp-sse": { needs: "java", run: ["java", "-cp", JARS, "Client"] },
  "php": { needs: "php", run: ["php", `${HERE}/php/client.php`] },
  "curl": { needs: "curl", run: [`${HERE}/curl/client.sh`] },
  "riacho/eventsource in Deno": own("eventsource", ...DENO),
  "riacho/eventsource in Bun": own("eventsource", ...BUN),
  "riacho by fetch in Deno": own("fetch", ...DENO),
  "riacho by fetch in Bun": own("fetch", ...BUN),
  "riacho by WebSocket in Deno": own("websocket", ...DENO),
  "riacho by WebSocket in Bun": own("websocket", ...BUN),
};

const wanted = process.env.CLIENTS?.split(",");
const chosen = Object.entries(CLIENTS).filter(([name]) => !wanted || wanted.some((part) => name.includes(part)));
assert.ok(chosen.length > 0, `no client is called ${process.env.CLIENTS}`);

/** Starts a client; its events collect in `events`. */
function startClient(t, [program, ...args], url) {
  const child = spawn(program, [...args, url], { stdio: ["ignore", "pipe", "pipe"], detached: true });
  const client = { events: [], said: "" };
  createInterface({ input: child.stdout }).on("line", (line) => client.events.push(JSON.parse(line)));
  child.stderr.setEncoding("utf8").on("data", (text) => (client.said = (client.said + text).slice(-2000)));
  child.on("error", (err) => (client.said += String(err)));
  client.exited = () => child.exitCode !== null || child.signalCode !== null;
  t.after(async () => {
    if (client.exited()) return;
    const gone = once(child, "exit");
    // With what it started itself.
    process.kill(-child.pid, "SIGTERM");
    await gone;
  });
  return client;
}

// What takes longest to build goes first, and all is built while those run that are ready.
for (const needs of ["rust", "java", "go", "python", "riacho"]) {
  if (chosen.some(([, client]) => client.needs === needs)) ready(needs).catch(() => undefined);
}

// They wait more than they work.
describe("others' clients", { concurrency: 5 * availableParallelism() }, () => {
  for (const [name, { needs, run: command, emptyEvents }] of chosen) {
    test(`${name}: typed and multi-line events, and by itself after each cut`, { timeout: 600_000 }, async (t) => {
      await ready(needs);
      const server = await startServer(t);
      const proxy = await CuttingProxy.start(t, server.port);
      const expected = [];
      let count = 0;
      /** One event of each kind. */
      const publish = async () => {
        count += 1;
        const events = [
          { type: "message", data: `plain ${count} ä€😀` },
          { type: "order", data: `{"a": ${count}}` },
          { type: "message", data: `line one ${count}\n\n  indented: three\nlast` },
          { type: "order", data: `id: no\ndata: no ${count}` },
        ];
        for (const [i, { type, data }] of events.entries()) {
          const id = await server.publish("n", data, { key: `${proxy.origin}-${count}-${i}`, ...(type !== "message" && { type }) });
          expected.push({ type, data, id });
        }
      };

      const client = startClient(t, command, `${proxy.origin}/streams/n?from=earliest`);
      /** What came but the server's own events, and what some clients make of heartbeats. */
      const got = () => client.events.filter(({ type, data }) => !type?.startsWith("riacho.") && !(emptyEvents && data === ""));
      const all = (what) =>
        until(`${name} to have all ${what}; it said: ${client.said}`, () => {
          assert.ok(!client.exited(), `it ended: ${client.said}`);
          return got().length >= expected.length;
        });
      const connections = () => proxy.heads.length;

      await publish();
      await all("at first");
      const cuts = {
        "after a reset": () => proxy.reset(),
        "after a clean end": () => proxy.end(),
        "after an answer cut at any byte": async () => {
          proxy.bytes = 0;
          proxy.reset();
          // In the head, in the first block, in events: in their ids, their data and between their lines.
          for (const bytes of [100, 330, 385, 430, 455, 480, 525]) {
            const before = connections();
            // So that there is always more than is let through, without waiting for heartbeats.
            await publish();
            proxy.bytes = bytes;
            await until("it to try", () => connections() > before + 1);
          }
          proxy.bytes = Infinity;
        },
        "after the server has drained": async () => {
          await server.stop("SIGTERM");
          await server.run();
        },
        "after the server was killed": async () => {
          await server.stop("SIGKILL");
          await server.run();
        },
      };
      for (const [what, cut] of Object.entries(cuts)) {
        const before = connections();
        await cut();
        // Some of it while the client is away.
        await publish();
        await all(what);
        assert.ok(connections() > before, `${what}: it did not connect again`);
      }
      assert.deepEqual(got().map(({ type, data, id }) => ({ type: type || "message", data, id })), expected);
      assert.deepEqual(client.events.filter(({ type }) => type === "riacho.reset"), [], "its cursor was good");
      // What is said over a WebSocket is masked.
      if (!command.includes("websocket")) assert.match(proxy.heads.at(-1), /last[-_]?event[-_]?id/i);
    });
  }
});
