// Chromium: many tabs, one connection; who leads goes, crashes or freezes, and nobody misses or repeats anything.

import type { BrowserContext, Page } from 'playwright-core'
import { expect, test } from 'vitest'
import type * as riacho from '../src/index.js'
import { openPackage as open } from './support/page.js'
import { Proxy } from './support/proxy.js'
import { Server } from './support/server.js'
import { until } from './support/wait.js'

interface Window {
  riacho: typeof riacho
  reader: riacho.Stream<number>
  rows: riacho.Table<{ n: number }>
  got: unknown[]
}
declare const window: Window

const config = (origin: string): string => `cors_origins = ["${origin}"]\n`

/** A page that reads a stream with all others. */
async function reads(context: BrowserContext, origin: string, way: string, url: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(origin)
  await page.evaluate(
    async ([way, url]) => {
      if (way === 'lock') Object.assign(globalThis, { SharedWorker: undefined })
      window.got = []
      const timing = { healthy: 300, cap: 200, first: 1000 }
      window.reader = window.riacho.stream<number>(url as string, { share: true, timing, reconnectionTime: 50 })
      window.reader.on('message', ({ data }) => window.got.push(data))
      if (window.reader.state !== 'open') await new Promise<void>((open) => (window.reader.onopen = open))
    },
    [way, url],
  )
  return page
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
const has = async (page: Page, count: number): Promise<void> => {
  await page.waitForFunction((count) => window.got.length >= count, count)
  expect(await page.evaluate(() => window.got)).toEqual(numbers(count))
}
const subscribers = async (server: Server): Promise<number[]> =>
  ((await server.ask('GET', '/streams')) as { streams: { subscribers: number }[] }).streams.map(({ subscribers }) => subscribers)

const WAYS = ['worker', 'lock']

test.each(WAYS)('three pages have one subscription; one that goes and one that crashes leave no gap (%s)', async (way) => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const pages: Page[] = []
  for (let i = 0; i < 3; i++) pages.push(await reads(context, origin, way, `${proxy.origin}/streams/n`))
  expect(await Promise.all(pages.map((page) => page.evaluate(() => window.reader.transport)))).toEqual(['shared', 'shared', 'shared'])
  let count = 0
  const more = async (): Promise<void> => {
    for (const end = count + 20; count < end; count++) await server.publish('n', [{ data: count }])
  }
  await more()
  for (const page of pages) await has(page, count)
  expect(await subscribers(server)).toEqual([1])
  expect(proxy.upgrades).toBe(1)
  // The first leads.
  await Promise.all([more(), pages.shift()?.close()])
  await more()
  for (const page of pages) await has(page, count)
  const cdp = await context.newCDPSession(pages[0] as Page)
  cdp.send('Page.crash').catch(() => undefined)
  pages.shift()
  await more()
  await more()
  for (const page of pages) await has(page, count)
  await until('one subscription', async () => (await subscribers(server))[0] === 1)
})

test.each(WAYS)('a server that restarts: no page misses or repeats anything (%s)', async (way) => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  const pages = [await reads(context, origin, way, `${server.origin}/streams/n`), await reads(context, origin, way, `${server.origin}/streams/n`)]
  let count = 0
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    for (const end = count + 20; count < end; count++) await server.publish('n', [{ data: count }])
    await server.stop(signal)
    await server.run()
    for (const end = count + 20; count < end; count++) await server.publish('n', [{ data: count }])
    for (const page of pages) await has(page, count)
  }
})

test.each(WAYS)('ten pages with ten streams use one connection (%s)', async (way) => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const pages = []
  for (let i = 0; i < 10; i++) pages.push(await reads(context, origin, way, `${proxy.origin}/streams/n${i}`))
  for (let i = 0; i < 10; i++) await server.publish(`n${i}`, [{ data: 0 }, { data: 1 }])
  for (const page of pages) await has(page, 2)
  expect([proxy.upgrades, proxy.asked.filter((accept) => accept === 'text/event-stream')]).toEqual([1, []])
})

test.each(WAYS)('ten pages with ten streams use one event stream where no WebSocket passes, over a restart (%s)', async (way) => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  const proxy = await Proxy.start(server, () => ({ kind: 'strip' }))
  const pages: Page[] = []
  let count = 0
  const more = async (): Promise<void> => {
    for (const end = count + 5; count < end; count++) for (let i = 0; i < 10; i++) await server.publish(`n${i}`, [{ data: count }])
  }
  // More than the six connections that Chromium opens to a host.
  for (let i = 0; i < 10; i++) pages.push(await reads(context, origin, way, `${proxy.origin}/streams/n${i}`))
  await more()
  await Promise.all([more(), pages.shift()?.close()])
  for (const page of pages) await has(page, count)
  await server.stop('SIGTERM')
  await server.run()
  await more()
  for (const page of pages) await has(page, count)
  await until('one connection', () => proxy.streaming.size === 1)
  // One more for a moment, where the old one was not closed yet when the new one began.
  expect(proxy.streamingMost).toBeLessThanOrEqual(2)
})

test('a leader that is frozen is replaced, and when it wakes nobody has anything twice', async () => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  const first = await reads(context, origin, 'lock', `${server.origin}/streams/n`)
  const second = await reads(context, origin, 'lock', `${server.origin}/streams/n`)
  let count = 0
  const more = async (): Promise<void> => {
    for (const end = count + 20; count < end; count++) await server.publish('n', [{ data: count }])
  }
  await more()
  for (const page of [first, second]) await has(page, count)
  // A page whose script does not run on stands for one that the browser froze.
  const cdp = await context.newCDPSession(first)
  await cdp.send('Debugger.enable')
  await cdp.send('Debugger.pause')
  await more()
  await has(second, count)
  await cdp.send('Debugger.resume')
  await more()
  for (const page of [first, second]) await has(page, count)
  await until('one subscription', async () => (await subscribers(server))[0] === 1)
})

test('what a page that sleeps was told is lost on the way, and it has everything all the same', async () => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  await reads(context, origin, 'lock', `${server.origin}/streams/other`)
  const page = await reads(context, origin, 'lock', `${server.origin}/streams/n`)
  let count = 0
  const more = async (): Promise<void> => {
    for (const end = count + 20; count < end; count++) await server.publish('n', [{ data: count }])
  }
  await more()
  await has(page, count)
  const cdp = await context.newCDPSession(page)
  await cdp.send('Debugger.enable')
  for (const after of [more, async () => undefined]) {
    await cdp.send('Debugger.pause')
    await more()
    // Chromium drops what comes for it over a BroadcastChannel.
    for (const method of ['Debugger.disable', 'Debugger.enable'] as const) await cdp.send(method)
    await after()
    await has(page, count)
  }
})

/** Which messages are lost on the channel; of those to or from the tab that joins. */
const LOSSES: Record<string, [direction: 'toTab' | 'toHub', what: string, from: number, to: number]> = {
  'one event': ['toTab', 'event', 30, 31],
  'all from an event on': ['toTab', 'event', 30, 60],
  'the first of what a tab that joins is told': ['toTab', 'event', 0, 10],
  'the last event': ['toTab', 'event', 59, 60],
  'what a tab says when it joins': ['toHub', 'join', 0, 1],
}

test.each(Object.entries(LOSSES))('a channel that loses %s: the tab has everything once', async (_, loss) => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  const proxy = await Proxy.start(server, () => ({ kind: 'strip' }))
  await server.publish('n', numbers(60).map((data) => ({ data })))
  // It leads, and what it says and hears goes by a channel that loses something.
  const lossy = `{
    const [direction, what, from, to] = ${JSON.stringify(loss)}
    const { postMessage } = BroadcastChannel.prototype
    let count = 0
    BroadcastChannel.prototype.postMessage = function (message) {
      const said = message[direction]
      const is = said && (said.say === what || what in said)
      const nth = is ? count++ : -1
      if (nth < from || nth >= to) postMessage.call(this, message)
      else globalThis.lost = (globalThis.lost ?? 0) + 1
    }
  }`
  const leader = await reads(context, origin, 'lock', `${proxy.origin}/streams/other`)
  const page = await context.newPage()
  await page.goto(origin)
  await (loss[0] === 'toTab' ? leader : page).evaluate(lossy)
  await page.evaluate((url) => {
    Object.assign(globalThis, { SharedWorker: undefined })
    window.got = []
    window.reader = window.riacho.stream<number>(url, { share: true, from: 'earliest', reconnectionTime: 50 })
    window.reader.on('message', ({ data }) => window.got.push(data))
  }, `${proxy.origin}/streams/n`)
  await has(page, 60)
  await server.publish('n', numbers(70).slice(60).map((data) => ({ data })))
  await has(page, 70)
  expect(await page.evaluate(() => window.reader.transport)).toBe('shared')
  expect(await (loss[0] === 'toTab' ? leader : page).evaluate('lost')).toBeGreaterThan(0)
})

test('a page in the back/forward cache is not there, and when it returns it has everything', async () => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  const page = await reads(context, origin, 'lock', `${server.origin}/streams/n`)
  const other = await reads(context, origin, 'lock', `${server.origin}/streams/n`)
  let count = 0
  const more = async (): Promise<void> => {
    for (const end = count + 20; count < end; count++) await server.publish('n', [{ data: count }])
  }
  await more()
  await has(page, count)
  await page.goto(`${server.origin}/`)
  await more()
  // The first had led.
  await has(other, count)
  // playwright does not follow a page that returns, so its protocol is spoken: the page is asked what it is.
  const cdp = await context.newCDPSession(page)
  const ask = async (expression: string): Promise<unknown> =>
    ((await cdp.send('Runtime.evaluate', { expression, returnByValue: true }).catch(() => null)) as { result?: { value?: unknown } } | null)?.result?.value
  await ask('history.back()')
  await until('the page', async () => (await ask('location.origin')) === origin)
  expect(await ask('typeof reader')).toBe('object')
  await more()
  await until('all of it', async () => ((await ask('got.length')) as number) >= count)
  expect(await ask('got')).toEqual(numbers(count))
  await has(other, count)
})

test.each(WAYS)('a table that three pages share, over a restart and with one that joins late (%s)', async (way) => {
  const { context, origin } = await open()
  const server = await Server.start(config(origin))
  const put = (n: number) => server.ask('PUT', '/tables/t/a', JSON.stringify({ n }))
  await put(0)
  const rows = async (): Promise<Page> => {
    const page = await context.newPage()
    await page.goto(origin)
    await page.evaluate(
      async ([way, url]) => {
        if (way === 'lock') Object.assign(globalThis, { SharedWorker: undefined })
        window.got = []
        const timing = { healthy: 300, cap: 200, first: 1000 }
        window.rows = window.riacho.table<{ n: number }>(url as string, { share: true, where: 'n >= 0', timing, reconnectionTime: 50 })
        window.rows.subscribe((rows) => window.got.push(rows.get('a')?.n))
        await window.rows.ready
      },
      [way, `${server.origin}/tables/t`],
    )
    return page
  }
  const pages = [await rows(), await rows()]
  for (let n = 1; n < 10; n++) await put(n)
  await server.stop('SIGKILL')
  await server.run()
  for (let n = 10; n < 20; n++) await put(n)
  pages.push(await rows())
  await put(20)
  for (const page of pages) {
    await page.waitForFunction(() => window.rows.get('a')?.n === 20)
    const got = (await page.evaluate(() => window.got)) as number[]
    expect(got).toEqual([...new Set(got)].sort((a, b) => a - b))
    expect(await page.evaluate(() => window.rows.transport)).toBe('shared')
  }
  const { tables } = (await server.ask('GET', '/tables')) as { tables: { subscribers: number }[] }
  expect(tables.map(({ subscribers }) => subscribers)).toEqual([1])
})
