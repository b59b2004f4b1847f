// All of it on an emulator: DynamoDB Local, or moto where that is not there; the API; Riacho. `cargo xtask example admin-panel`
// runs it; each part can be started and stopped alone, which a test does.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const HERE = import.meta.dirname;
const PATIENCE = 60_000;

/** A program that serves. It and what it started end with this process at the latest. */
class Program {
  constructor(what, command, args, { env = {}, cwd = HERE, ready }) {
    // Nothing of whoever runs this but where programs are: no account of AWS is touched.
    const own = Object.entries(process.env).filter(([name]) => !/^(AWS_|RIACHO_)/.test(name));
    Object.assign(this, { what, command, args, cwd, ready, env: { ...Object.fromEntries(own), ...env }, talk: "" });
  }

  /** Starts it, and waits until it answers. */
  async start() {
    // In a group of its own: Ctrl-C is for us, and the order in which they end is ours.
    this.process = spawn("setpriv", ["--pdeathsig=KILL", "--", this.command, ...this.args], {
      cwd: this.cwd, env: this.env, detached: true, stdio: ["ignore", "pipe", "pipe"],
    });
    for (const out of [this.process.stdout, this.process.stderr]) {
      out.setEncoding("utf8").on("data", (text) => (this.talk = (this.talk + text).slice(-4000)));
    }
    this.ended = once(this.process, "exit");
    this.ended.catch(() => {});
    await until(this.what, async () => {
      if (this.process.exitCode !== null) throw new Error(`${this.what} ended with ${this.process.exitCode}: ${this.talk}`);
      return this.ready();
    });
    return this;
  }

  async stop(signal = "SIGTERM") {
    if (!this.process) return;
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill(signal);
    await this.ended;
  }
}

/** The whole example: `emulator`, `riacho` and `api`, each a program at a port that it keeps. */
export class Panel {
  /** Starts all of it. `dynamodb` is the directory of DynamoDB Local or of moto, `riacho` the binary. */
  static async start(programs) {
    const panel = await Panel.make();
    try {
      await panel.begin(programs);
    } catch (err) {
      await panel.stop();
      throw err;
    }
    return panel;
  }

  /** With nothing started. */
  static async make() {
    const panel = new Panel();
    panel.directory = await mkdtemp(join(tmpdir(), "admin-panel-"));
    return panel;
  }

  async begin({ dynamodb, riacho, port }) {
    const ports = [await freePort(), await freePort(), port ?? (await freePort())];
    const [endpoint, live, origin] = ports.map((port) => `http://127.0.0.1:${port}`);
    // What tells the tools of AWS, and Riacho, where DynamoDB is and who asks. An emulator takes any key.
    this.env = {
      AWS_ENDPOINT_URL: endpoint, AWS_REGION: "eu-west-1", AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test",
      AWS_EC2_METADATA_DISABLED: "true",
    };
    this.origin = origin;
    const answers = (url) => () => fetch(url, { signal: AbortSignal.timeout(1000) }).then(() => true, () => false);
    const isLocal = await access(join(dynamodb, "classes")).then(() => true, () => false);
    this.emulator = isLocal
      ? new Program("DynamoDB Local", "java", [
          "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", `-Djava.library.path=${dynamodb}/lib`,
          "-cp", `${dynamodb}/classes:${dynamodb}/lib/*`, "Loopback", String(ports[0]),
          "-sharedDb", "-disableTelemetry", "-dbPath", this.directory,
        ], { cwd: this.directory, ready: answers(endpoint) })
      : new Program("moto", join(dynamodb, "bin/moto_server"), ["-H", "127.0.0.1", "-p", String(ports[0])], { cwd: this.directory, ready: answers(endpoint) });
    this.riacho = new Program("Riacho", riacho, ["--config", join(HERE, "riacho.toml"), "--listen", `127.0.0.1:${ports[1]}`, "--data", join(this.directory, "riacho")], {
      env: this.env,
      // Once the orders are there: until then a page would wait.
      ready: () => fetch(`${live}/readyz`).then(({ ok }) => ok, () => false),
    });
    this.api = new Program("the API", process.execPath, ["api.js"], { env: { ...this.env, PORT: String(ports[2]), RIACHO: live }, ready: answers(origin) });
    await this.emulator.start();
    await this.setup();
    await this.riacho.start();
    await this.api.start();
  }

  /** Makes the table. */
  async setup() {
    const setup = new Program("setup", process.execPath, ["setup.js"], { env: this.env });
    setup.ready = () => false;
    await setup.start().catch(() => {});
    if (setup.process.exitCode !== 0) throw new Error(`the table could not be made: ${setup.talk}`);
  }

  async stop() {
    await this.api?.stop();
    await this.riacho?.stop();
    await this.emulator?.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A port nobody listens on: this one, if it can be. */
async function freePort(wanted = 0) {
  const probe = createServer().listen(wanted, "127.0.0.1");
  const found = await once(probe, "listening").catch(() => null);
  if (!found) return freePort();
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

async function until(what, condition) {
  const end = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${what} did not begin in ${PATIENCE / 1000} s`);
    await new Promise((again) => setTimeout(again, 50));
  }
}

if (process.argv[1] === import.meta.filename) {
  const { DYNAMODB, RIACHO_BIN = "riacho", PORT = "8080" } = process.env;
  if (!DYNAMODB) throw new Error("DYNAMODB is the directory of DynamoDB Local or moto: run `cargo xtask example admin-panel`");
  const asked = new Promise((asked) => ["SIGINT", "SIGTERM", "SIGHUP"].forEach((signal) => process.once(signal, asked)));
  const panel = await Panel.make();
  const begun = panel.begin({ dynamodb: resolve(DYNAMODB), riacho: RIACHO_BIN, port: await freePort(Number(PORT)) });
  const failed = await Promise.race([asked, begun.then(() => (say(panel), asked))]).then(() => null, (err) => err);
  await panel.stop();
  if (failed) console.error(failed.message);
  process.exit(failed ? 1 : 0);
}

function say(panel) {
  const endpoint = panel.env.AWS_ENDPOINT_URL;
  console.log(`
The panel      ${panel.origin}        (open it in two windows)
Riacho         ${panel.api.env.RIACHO}
DynamoDB       ${endpoint}        (${panel.emulator.what})

Change an order with another program, and look:

    AWS_ENDPOINT_URL=${endpoint} AWS_DEFAULT_REGION=eu-west-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test \\
    aws dynamodb update-item --table-name orders --key '{"id":{"S":"A-1040"}}' \\
        --update-expression 'SET #s = :s ADD version :one' --expression-attribute-names '{"#s":"status"}' \\
        --expression-attribute-values '{":s":{"S":"paid"},":one":{"N":"1"}}'

Ctrl-C ends it all.`);
}
