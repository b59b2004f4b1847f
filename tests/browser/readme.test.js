// README's first screen, as it stands there: a database, the server, and a page that shows it live.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openBrowser } from "./support/browser.js";
import { Server } from "./support/server.js";

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const [SCREEN] = README.split("## See it");

/** The lines of the first screen that run `program`. */
const lines = (program) => [...SCREEN.matchAll(new RegExp(`^ {4}(${program} .*)$`, "gm"))].map(([, line]) => line);

test("the page of README's first screen shows the database of README's first screen", async (t) => {
  const [create, insert, update] = lines("sqlite3");
  const [serve] = lines("riacho");
  const [, ...args] = serve.split(" ");
  assert.equal(args[0], "serve");

  const server = await Server.start(t, args, { before: (cwd) => [create, insert].forEach((line) => execFileSync("/bin/sh", ["-c", line], { cwd })) });
  const [, indented] = SCREEN.match(/( {4}<pre id="out">[^]*?<\/script>)/);
  const html = indented.replace(/^ {4}/gm, "");
  const browser = await openBrowser(t);
  const page = await browser.newPage();
  await page.route("**/page", (route) => route.fulfill({ contentType: "text/html", body: html }));
  await page.goto(`${server.origin}/page`);
  const shows = (rows) => page.waitForFunction(
    (text) => document.querySelector("#out").textContent === text, JSON.stringify(rows, null, 2),
  );
  const [mug, lamp] = [{ id: 1, item: "mug", status: "open" }, { id: 2, item: "lamp", status: "paid" }];
  await shows({ 1: mug, 2: lamp });
  const shell = (line) => execFileSync("/bin/sh", ["-c", line], { cwd: server.data });
  shell(update);
  await shows({ 1: { ...mug, status: "paid" }, 2: lamp });
  shell(update.replace(/"UPDATE.*"/, '"DELETE FROM orders WHERE id = 1"'));
  await shows({ 2: lamp });

  // And in the terminal.
  const [curl] = lines("curl");
  const read = curl.replace("localhost:4700", `127.0.0.1:${server.port}`).replace("-N", "-sN --max-time 2");
  const said = execFileSync("/bin/sh", ["-c", `${read} || true`], { encoding: "utf8" });
  assert.match(said, /"value":\{"id":2,"item":"lamp","status":"paid"\}.*"operation":"insert"/);
});
