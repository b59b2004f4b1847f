// Debian's Chromium, headless, with a profile of its own for each test.

import { chromium } from "playwright-core";
import { PATIENCE } from "./wait.js";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/** A browser that ends with the test `t`. Playwright gives each launch a fresh `--user-data-dir`. */
export async function openBrowser(t) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: FLAGS,
    timeout: PATIENCE,
  });
  t.after(() => browser.close());
  return browser;
}

/** A window of its own (storage and connections apart from other windows) at `url`; page errors fail the test. */
export async function openWindow(t, browser, url, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy|Uncaught/.test(message.text())) errors.push(message.text());
  });
  t.after(() => {
    if (errors.length > 0) throw new Error(`errors on ${url}: ${errors.join("; ")}`);
  });
  await page.goto(url);
  return page;
}

/** Waits until the badge of a demo page says it is connected. */
export async function connected(page) {
  await page.locator("#connection[data-state=open]").waitFor();
}
