// examples/publish: what is given to each is in the stream, once, also where the first answer is lost.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { freePort } from "../browser/support/server.js";
import { until } from "../browser/support/wait.js";
import { CuttingProxy } from "./proxy.js";
import { HERE, OUT, ready, startServer } from "./support.js";

const EXAMPLES = join(HERE, "../../examples/publish");
const LINES_MAX = 20;

/** How each is started; what listens is sent its orders, the others read them. */
const PUBLISHERS = {
  "express.js": { needs: "node", listens: true, command: ["node", `${HERE}/node/express.js`] },
  "publish.php": { needs: "php", listens: true, command: (port) => ["php", "-S", `127.0.0.1:${port}`, `${EXAMPLES}/publish.php`] },
  "publish.py": { needs: "nothing", listens: true, command: ["python3", `${EXAMPLES}/publish.py`] },
  "publish.go": { needs: "go", listens: true, command: [`${OUT}/go/publish`] },
  "publish.sh": { needs: "curl", listens: false, command: [`${EXAMPLES}/publish.sh`] },
};

/** Events of the stream of orders. */
async function orders(server) {
  const answer = await fetch(`${server.origin}/streams/orders?from=earliest`, { headers: { accept: "application/json" } });
  return (await answer.json()).events.map(({ type, data }) => ({ type, data }));
}

/** Gives an order to an example and returns its answer. */
async function give({ listens, command }, port, env, order) {
  if (listens) {
    const answer = await fetch(`http://127.0.0.1:${port}/orders`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order),
    });
    assert.equal(answer.status, 201);
    return answer.json();
  }
  const child = spawn(command[0], command.slice(1), { env, stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify(order));
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (said += text));
  const [code] = await once(child, "close");
  assert.equal(code, 0);
  return JSON.parse(said);
}

describe("publishing from others' servers", { concurrency: 4 }, () => {
  for (const [name, example] of Object.entries(PUBLISHERS)) {
    test(`${name}: each order is published once`, { timeout: 600_000 }, async (t) => {
      await ready(example.needs);
      const lines = readFileSync(join(EXAMPLES, name), "utf8").trimEnd().split("\n").length;
      assert.ok(lines <= LINES_MAX, `it has ${lines} lines`);
      const server = await startServer(t);
      const port = await freePort();
      const proxy = await CuttingProxy.start(t, server.port);
      const env = { ...process.env, RIACHO: proxy.origin, PORT: String(port) };
      if (example.listens) {
        const [program, ...args] = typeof example.command === "function" ? example.command(port) : example.command;
        const child = spawn(program, args, { env, stdio: ["ignore", "ignore", "pipe"] });
        let said = "";
        child.stderr.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-2000)));
        t.after(async () => {
          const gone = once(child, "exit");
          if (child.exitCode === null && child.kill()) await gone;
        });
        await until(`${name} to listen; it said: ${said}`, () => fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false));
      }
      const first = await give(example, port, env, { total: 10, name: "ä€😀" });
      assert.equal(first.count, 1);
      assert.match(first.id, /^[0-9a-z-]+$/);

      // It is stored, and the answer does not arrive.
      proxy.bytes = 0;
      proxy.reset();
      const second = give(example, port, env, { total: 20 });
      await until("it to be stored", async () => (await orders(server)).length === 2);
      const tries = proxy.heads.length;
      proxy.bytes = Infinity;
      assert.equal((await second).count, 1);
      assert.ok(proxy.heads.length > tries, "it was not sent again");
      assert.deepEqual(await orders(server), [
        { type: "placed", data: { total: 10, name: "ä€😀" } },
        { type: "placed", data: { total: 20 } },
      ]);
    });
  }
});
