// Chromium, and scripts bundled for it.

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { build } from 'esbuild'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { afterAll, expect, onTestFinished } from 'vitest'
import { PATIENCE } from './wait.js'

const DIST = join(import.meta.dirname, '../../dist')

/** One for all tests of a file. */
let browser: Promise<Browser> | undefined
afterAll(async () => (await browser)?.close())

/** A browser's context, with empty storage, that ends with the test; errors of its pages fail it. */
export async function openBrowser(): Promise<BrowserContext> {
  browser ??= chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update'],
  })
  const context = await (await browser).newContext()
  context.setDefaultTimeout(PATIENCE)
  const errors: string[] = []
  context.on('weberror', (err) => errors.push(String(err.error())))
  onTestFinished(async () => {
    await context.close()
    expect(errors).toEqual([])
  })
  return context
}

export async function openPage(url: string): Promise<Page> {
  const page = await (await openBrowser()).newPage()
  await page.goto(url)
  return page
}

/** A module as a classic script that sets `name`. `contents` may import from `../src`. */
export async function script(name: string, contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: import.meta.dirname, loader: 'tsx' },
    bundle: true, format: 'iife', globalName: name, write: false, target: 'es2022', jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"development"' }, logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}

/** A browser of its own, and an origin that has the package as it is published. */
export async function openPackage(): Promise<{ context: BrowserContext; origin: string }> {
  const files = createServer((request, response) => {
    const name = request.url?.slice(1) || 'page'
    if (name === 'page') return response.setHeader('content-type', 'text/html').end('<title>page</title><script type=module>import * as riacho from "/index.js"; window.riacho = riacho</script>')
    readFile(join(DIST, name)).then(
      (text) => response.setHeader('content-type', 'text/javascript').end(text),
      () => response.writeHead(404).end(),
    )
  })
  await new Promise<void>((ready) => files.listen(0, '127.0.0.1', ready))
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
  })
  onTestFinished(async () => {
    await browser.close()
    files.close()
  })
  const context = await browser.newContext()
  context.setDefaultTimeout(PATIENCE)
  return { context, origin: `http://127.0.0.1:${(files.address() as AddressInfo).port}` }
}
