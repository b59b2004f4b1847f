// Chromium: a native EventSource and a live table over restarts, without a network, and over a proxy that holds back.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium, type Page } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import type * as riacho from '../src/index.js'
import { Proxy } from './support/proxy.js'
import { Server } from './support/server.js'
import { PATIENCE } from './support/wait.js'

const SCRIPT = readFileSync(join(import.meta.dirname, '../dist/riacho.global.js'), 'utf8')

/** What the page of a test has. */
interface Window {
  riacho: typeof riacho
  chat: riacho.Stream<number>
  orders: riacho.Table<{ n: number }>
  got: unknown[]
  log: string[]
  sums: Set<number>
}
declare const window: Window

/** A page of the server's origin with the client in it; errors of the page fail the test. */
async function openPage(origin: string): Promise<Page> {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update'],
  })
  const context = await browser.newContext()
  context.setDefaultTimeout(PATIENCE)
  const page = await context.newPage()
  const errors: string[] = []
  page.on('pageerror', (err) => errors.push(String(err)))
  onTestFinished(async () => {
    await browser.close()
    expect(errors).toEqual([])
  })
  await page.goto(origin)
  await page.evaluate(`${SCRIPT}; window.riacho = riacho`)
  return page
}

const batch = (n: number) =>
  JSON.stringify([{ key: 'a', value: { n }, headers: { operation: 'upsert' } }, { key: 'b', value: { n: 1000 - n }, headers: { operation: 'upsert' } }])

test('a page misses nothing over restarts and without a network', async () => {
  const server = await Server.start()
  await server.ask('POST', '/tables/orders', batch(0))
  const page = await openPage(server.origin)
  await page.evaluate(async () => {
    const timing = { healthy: 300, cap: 200 }
    Object.assign(window, { got: [], log: [], sums: new Set() })
    window.chat = window.riacho.stream<number>('/streams/n', { timing, reconnectionTime: 50 })
    window.chat.on('message', ({ data }) => window.got.push(data))
    window.chat.on('typed', ({ data }) => window.got.push(data))
    window.chat.onerror = ({ code }) => window.log.push(code)
    const opened = new Promise<void>((open) => (window.chat.onopen = open))
    window.orders = window.riacho.table<{ n: number }>('/tables/orders', { timing, reconnectionTime: 50 })
    window.orders.subscribe((rows) => window.sums.add([...rows.values()].reduce((sum, { n }) => sum + n, 0)))
    await Promise.all([window.orders.ready, opened])
  })
  expect(await page.evaluate(() => [window.chat.transport, window.orders.transport])).toEqual(['eventsource', 'eventsource'])

  let count = 0
  const more = async (): Promise<void> => {
    for (const end = count + 20; count < end; count++) {
      await server.publish('n', [{ data: count, ...(count % 2 && { type: 'typed' }) }])
      await server.ask('POST', '/tables/orders', batch(count))
    }
  }
  const all = async (): Promise<void> => {
    await page.waitForFunction((count) => window.got.length >= count && window.orders.get('a')?.n === count - 1, count)
  }
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    await more()
    await all()
    await server.stop(signal)
    await server.run()
    await more()
    await all()
  }
  await page.context().setOffline(true)
  await page.waitForFunction(() => window.chat.state === 'offline' && window.orders.state === 'offline')
  await more()
  await page.context().setOffline(false)
  await all()
  const { got, log, sums, transport } = await page.evaluate(() => ({
    got: window.got, log: window.log, sums: [...window.sums], transport: window.chat.transport,
  }))
  expect(got).toEqual(Array.from({ length: count }, (_, i) => i))
  expect(sums).toEqual([1000])
  expect(log.length).toBeGreaterThanOrEqual(2)
  expect(transport).toBe('eventsource')
})

test('a loop wants all types, so the EventSource gives way to fetch, and no event is missed', async () => {
  const server = await Server.start()
  const page = await openPage(server.origin)
  await page.evaluate(async () => {
    Object.assign(window, { got: [], log: [] })
    window.chat = window.riacho.stream<number>('/streams/n')
    window.chat.on('message', ({ data }) => window.log.push(`${data}`))
    await new Promise<void>((open) => (window.chat.onopen = open))
    void (async () => {
      for await (const { type, data } of window.chat) window.got.push([type, data])
    })()
  })
  await server.publish('n', [{ data: 1 }, { data: 2, type: 'unheard' }, { data: 3 }])
  await page.waitForFunction(() => window.got.length === 3)
  expect(await page.evaluate(() => [window.got, window.log, window.chat.transport])).toEqual([
    [['message', 1], ['unheard', 2], ['message', 3]], ['1', '3'], 'fetch',
  ])
})

test('an EventSource that is held back after it had begun is found out', async () => {
  const server = await Server.start()
  let streams = 0
  // The first asks for the beginning; the second, the EventSource, gets only its head.
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const page = await openPage(proxy.origin)
  await page.evaluate(async () => {
    Object.assign(window, { got: [], log: [] })
    window.chat = window.riacho.stream<number>('/streams/n', { timing: { silence: 1000, first: 500 } })
    window.chat.on('message', ({ data }) => window.got.push(data))
    window.chat.onerror = ({ code }) => window.log.push(code)
    await new Promise<void>((open) => (window.chat.onopen = open))
  })
  proxy.fault = () => (streams++ === 0 ? { kind: 'hold', head: true } : { kind: 'none' })
  proxy.cut()
  await page.waitForFunction(() => window.log.length === 1 && window.chat.state === 'open')
  await server.publish('n', [{ data: 1 }])
  await page.waitForFunction(() => window.got.length === 1)
  expect(await page.evaluate(() => [window.got, window.chat.transport, window.log[1]])).toEqual([[1], 'fetch', 'unfit'])
})

test('what an EventSource does not say is asked for: why it was refused', async () => {
  const server = await Server.start('create = false\n[[stream]]\nmatch = "n"\n')
  const page = await openPage(server.origin)
  const codes = await page.evaluate(async () => {
    const end = (url: string) =>
      new Promise<string>((ended) => {
        const stream = window.riacho.stream(url)
        stream.onclose = ({ code }) => ended(code)
        stream.on('message', () => undefined)
      })
    return Promise.all([end('/streams/unknown'), end('/streams/n?from=yesterday')])
  })
  expect(codes).toEqual(['stream_unknown', 'from_invalid'])
})
