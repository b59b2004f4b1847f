// What both tests here need: a server with short times, and the programs of others.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, Server } from "../browser/support/server.js";

export const HERE = import.meta.dirname;
/** Where everything is built. */
export const OUT = join(HERE, "../../target/foreign");

const EXAMPLES = join(HERE, "../../examples/publish");
const CLIENT = join(HERE, "../../clients/js");

/** Runs a program to its end, which must be a good one. */
async function run(program, args, env = {}) {
  const child = spawn(program, args, { cwd: HERE, env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "inherit"] });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}`);
}

const npm = (prefix) => run("npm", ["--prefix", prefix, "ci", "--no-audit", "--no-fund", "--loglevel=error"], { PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD: "1" });

/** How each is made ready. */
const NEEDS = {
  node: async () => {
    await npm("node");
    // Beside the packages it imports.
    await copyFile(join(EXAMPLES, "express.js"), join(HERE, "node/express.js"));
  },
  /** Our own client, and the runtimes that it says it is for. */
  riacho: async () => {
    await ready("node");
    if (existsSync(join(CLIENT, "dist/eventsource.js"))) return;
    await npm(CLIENT);
    await run("npm", ["--prefix", CLIENT, "run", "build"]);
  },
  python: async () => {
    await run("python3", ["-m", "venv", `${OUT}/venv`]);
    await run(`${OUT}/venv/bin/pip`, ["install", "--quiet", "--disable-pip-version-check", "--requirement", "python/requirements.txt"]);
  },
  go: async () => {
    mkdirSync(`${OUT}/go`, { recursive: true });
    await run("go", ["-C", "go", "build", "-o", `${OUT}/go/`, "./..."], { GOFLAGS: "-mod=readonly" });
    await run("go", ["build", "-o", `${OUT}/go/publish`, `${EXAMPLES}/publish.go`]);
  },
  rust: () => run("cargo", ["build", "--quiet", "--locked", "--manifest-path", "rust/Cargo.toml", "--target-dir", `${OUT}/rust`]),
  java: () => run("mvn", ["--quiet", "--batch-mode", "--file", "java/pom.xml", "package"]),
  php: () => run("php", ["-r", "exit(extension_loaded('curl') ? 0 : 1);"]),
  curl: async () => {
    for (const program of ["curl", "jq"]) await run(program, ["--version"]);
  },
  nothing: async () => undefined,
};

const begun = new Map();

/** Makes ready what a test needs, once. */
export function ready(need) {
  if (!begun.has(need)) begun.set(need, NEEDS[need]());
  return begun.get(need);
}

/** A server that ends with the test. */
export async function startServer(t) {
  const server = new Server(await freePort(), await mkdtemp(join(tmpdir(), "riacho-clients-")), ["serve"]);
  await writeFile(join(server.data, "riacho.toml"), 'heartbeat = "1s"\nretry = "100ms"\n');
  t.after(async () => {
    await server.stop("SIGKILL");
    await rm(server.data, { recursive: true, force: true });
  });
  await server.run();
  return server;
}
