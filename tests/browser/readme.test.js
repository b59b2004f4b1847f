// The live table of README's first screen, as it stands there.

import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openBrowser } from "./support/browser.js";
import { Server } from "./support/server.js";

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

test("the page of README's first screen shows a live table", async (t) => {
  const server = await Server.start(t);
  const put = (key, row) => fetch(`${server.origin}/tables/stocks2/${key}`, {
    method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(row),
  });
  await put("MSFT", { symbol: "MSFT", price: 300.45 });
  const [, indented] = README.match(/( {4}<pre id="out">[^]*?<\/script>)/);
  // The demo's own table of that name is fed by the demo.
  const html = indented.replace(/^ {4}/gm, "").replace("/tables/stocks", "/tables/stocks2");
  const browser = await openBrowser(t);
  const page = await browser.newPage();
  await page.route("**/page", (route) => route.fulfill({ contentType: "text/html", body: html }));
  await page.goto(`${server.origin}/page`);
  const shows = (rows) => page.waitForFunction(
    (text) => document.querySelector("#out").textContent === text, JSON.stringify(rows, null, 2),
  );
  const msft = { symbol: "MSFT", price: 300.45 }, sap = { symbol: "SAP", price: 120 };
  await shows({ MSFT: msft });
  await put("SAP", sap);
  await shows({ MSFT: msft, SAP: sap });
  await fetch(`${server.origin}/tables/stocks2/MSFT`, { method: "DELETE" });
  await shows({ SAP: sap });
});
