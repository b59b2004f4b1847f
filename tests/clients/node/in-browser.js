// Runs a client of node/page/ in Chromium, in a page of the URL's origin: `in-browser.js NAME URL`.
import { join } from "node:path";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const [name, url] = process.argv.slice(2);
const { outputFiles } = await build({
  entryPoints: [join(import.meta.dirname, "page", `${name}.js`)], bundle: true, format: "iife", write: false, logLevel: "error",
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
});
process.on("SIGTERM", () => browser.close().then(() => process.exit(0)));
const page = await browser.newPage();
page.on("pageerror", (err) => console.error(err));
page.on("console", (message) => console.error(message.text()));
await page.exposeFunction("out", (event) => console.log(JSON.stringify(event)));
await page.goto(new URL("/", url).href);
await page.evaluate(`window.url = ${JSON.stringify(url)}; ${outputFiles[0].text}`);
