// README.md, as a newcomer follows it: the page is what stands there.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openPage } from './support/page.js'
import { Server } from './support/server.js'

test('the page of the first minute is live', async () => {
  const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')
  const [html = ''] = /^    <!doctype html>[^]*?<\/script>$/m.exec(readme) ?? []
  let page = ''
  const pages = createServer((_, response) => response.setHeader('content-type', 'text/html').end(page)).listen(0, '127.0.0.1')
  await once(pages, 'listening')
  onTestFinished(() => void pages.close())
  const origin = `http://localhost:${(pages.address() as AddressInfo).port}`
  const server = await Server.start(`cors_origins = ["${origin}"]\n`)
  page = html.replaceAll('http://localhost:4700', server.origin)
  expect(page).toContain(`${server.origin}/riacho.js`)
  const tab = await openPage(origin)
  const shows = (text: string) => tab.waitForFunction((text) => document.querySelector('pre')?.textContent === text, text)
  const put = (row: object) => server.ask('PUT', '/tables/orders/17', JSON.stringify(row))
  await put({ status: 'open', total: 10 })
  await shows('17: 10')
  await put({ status: 'open', total: 11 })
  await shows('17: 11')
  await put({ status: 'paid', total: 11 })
  await shows('')
})
