// What both tests here need: a server with short times, and the programs of others.

import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, Server } from "../browser/support/server.js";

export const HERE = import.meta.dirname;
/** Where everything is built. */
export const OUT = join(HERE, "../../target/foreign");

/** Runs a program to its end, which must be a good one. */
export function run(program, args, env = {}) {
  execFileSync(program, args, { cwd: HERE, env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "inherit"] });
}

/** Installs the pinned packages of npm. */
export function installNode() {
  run("npm", ["--prefix", "node", "ci", "--no-audit", "--no-fund", "--loglevel=error"], { PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD: "1" });
}

/** A server that ends with the test. */
export async function startServer(t) {
  const server = new Server(await freePort(), await mkdtemp(join(tmpdir(), "riacho-clients-")));
  await writeFile(join(server.data, "riacho.toml"), 'heartbeat = "1s"\nretry = "100ms"\n');
  t.after(async () => {
    await server.stop("SIGKILL");
    await rm(server.data, { recursive: true, force: true });
  });
  await server.run();
  return server;
}
