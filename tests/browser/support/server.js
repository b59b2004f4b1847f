// The real binary, started, killed and started again on one port and one data directory.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { PATIENCE, until } from "./wait.js";

export const BINARY = resolve(process.env.RIACHO_BIN ?? join(import.meta.dirname, "../../../target/debug/riacho"));

/** The environment without settings of the server: only what a test says holds. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("RIACHO_")));

/** A port nobody listens on. */
export async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

/** One server of a test: its data outlives its processes, and both end with the test `t`. */
export class Server {
  /** Starts `riacho demo`, or what `args` say, in a directory of its own, after `before(directory)`. */
  static async start(t, args = ["demo"], { before } = {}) {
    const server = new Server(await freePort(), await mkdtemp(join(tmpdir(), "riacho-data-")), args);
    t.after(async () => {
      await server.stop("SIGKILL");
      await rm(server.data, { recursive: true, force: true });
    });
    before?.(server.data);
    await server.run();
    return server;
  }

  constructor(port, data, args) {
    this.port = port;
    this.data = data;
    this.args = args;
    this.origin = `http://127.0.0.1:${port}`;
  }

  /** Starts the process and waits until it is ready. */
  async run() {
    let talk = "";
    this.process = spawn(BINARY, [...this.args, "--listen", `127.0.0.1:${this.port}`, "--data", this.data], {
      cwd: this.data, // Where no riacho.toml of a developer is.
      env: ENVIRONMENT,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.process.stderr.setEncoding("utf8").on("data", (text) => (talk = (talk + text).slice(-4000)));
    this.ended = once(this.process, "exit");
    await until(`the server to be ready; it said: ${talk}`, async () => {
      if (this.process.exitCode !== null) throw new Error(`the server ended with ${this.process.exitCode}: ${talk}`);
      return (await fetch(`${this.origin}/readyz`).catch(() => null))?.ok;
    });
  }

  /** Ends the process with `signal` and waits until it is gone; returns its exit code, null when it was killed. */
  async stop(signal) {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill(signal);
    const [code] = await this.ended;
    return code;
  }

  /** Publishes `data`, again and again until the server says it has it; the key makes that one event. */
  async publish(stream, data, { key, type } = {}) {
    const url = `${this.origin}/streams/${stream}${type ? `?type=${encodeURIComponent(type)}` : ""}`;
    const headers = { "Content-Type": "text/plain", ...(key && { "Idempotency-Key": `"${key}"` }) };
    return until(`${data} to be published to ${stream}`, async () => {
      const answer = await fetch(url, { method: "POST", body: data, headers, signal: AbortSignal.timeout(PATIENCE) }).catch(() => null);
      if (answer && answer.status >= 400 && answer.status < 500) throw new Error(`${answer.status}: ${await answer.text()}`);
      return answer?.status === 201 && (await answer.json()).id;
    });
  }
}
