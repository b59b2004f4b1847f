// Rows that outlive the page, in Chromium's IndexedDB and against the real server.

import type { BrowserContext, Page } from 'playwright-core'
import { expect, test } from 'vitest'
import type * as riacho from '../src/index.js'
import type * as showing from '../src/optimistic.js'
import type * as keeping from '../src/persist.js'
import { openBrowser, script } from './support/page.js'
import { Proxy } from './support/proxy.js'
import { Server } from './support/server.js'

interface Window {
  made: typeof riacho & typeof keeping & typeof showing
  orders: riacho.Table<{ n: number }>
  groups: string[][]
  asked: string[]
}
declare const window: Window

const SCRIPT = await script('made', "export * from '../../src/index.js'; export * from '../../src/persist.js'; export * from '../../src/optimistic.js'")

/** A page with a table that is kept; `before` runs before it is opened. */
async function openTable(context: BrowserContext, origin: string, options: { where?: string; scope?: string; before?: string } = {}): Promise<Page> {
  const page = await context.newPage()
  await page.goto(origin)
  await page.evaluate(`${SCRIPT}; window.made = made; ${options.before ?? ''}`)
  await page.evaluate(({ where, scope }) => {
    window.groups = []
    window.orders = window.made.table<{ n: number }>('/tables/orders', {
      persist: scope === undefined ? window.made.persist : window.made.persistAs(scope, { takeover: 200 }),
      ...(where && { where }),
      reconnectionTime: 50, timing: { cap: 100 },
    })
    window.orders.subscribe((_, changes) => window.groups.push(changes.map(({ operation, key }) => `${operation} ${key}`)))
  }, options)
  return page
}

const shown = (page: Page) => page.evaluate(() => Object.fromEntries([...window.orders.rows].sort()))

/** What is kept. */
const kept = (page: Page) =>
  page.evaluate(async () => {
    const db = await new Promise<IDBDatabase>((done) => {
      const request = indexedDB.open('riacho')
      request.onsuccess = () => done(request.result)
    })
    const transaction = db.transaction(['tables', 'rows'])
    const all = (name: string) =>
      new Promise<Record<string, unknown>[]>((done) => {
        const request = transaction.objectStore(name).getAll()
        request.onsuccess = () => done(request.result)
      })
    const [tables, rows] = await Promise.all([all('tables'), all('rows')])
    db.close()
    return { cursors: tables.map(({ cursor }) => cursor), names: tables.map(({ table }) => table), rows: rows.map(({ key, value }) => [key, value]) }
  })

/** Waits until what is shown is kept. */
async function saved(page: Page): Promise<void> {
  await expect.poll(async () => (await kept(page)).cursors, { timeout: 60_000 }).toContain(await page.evaluate(() => window.orders.cursor))
}

const upsert = (key: string, n: number) => ({ key, value: { n }, headers: { operation: 'upsert' } })

test('a page that comes again shows its rows before the server answers, and fetches only what changed', async () => {
  const server = await Server.start()
  await server.ask('POST', '/tables/orders', JSON.stringify(['a', 'b', 'c'].map((key) => upsert(key, 1))))
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const context = await openBrowser()
  let page = await openTable(context, proxy.origin)
  await page.evaluate(() => window.orders.ready)
  await server.ask('DELETE', '/tables/orders/a')
  await server.ask('PUT', '/tables/orders/b', '{"n":2}')
  await page.waitForFunction(() => window.orders.get('b')?.n === 2)
  await saved(page)
  await page.close()
  await server.ask('POST', '/tables/orders', JSON.stringify([upsert('c', 3), upsert('d', 3)]))

  // Only the page itself passes.
  page = await openTable(context, proxy.origin, { before: "var real = fetch; window.fetch = () => new Promise(() => 0); window.EventSource = undefined" })
  await page.evaluate(() => window.orders.ready)
  expect(await shown(page)).toEqual({ b: { n: 2 }, c: { n: 1 } })
  expect(await page.evaluate(() => [window.groups, window.orders.state])).toEqual([[['insert b', 'insert c']], 'connecting'])

  const [cursor] = (await kept(page)).cursors
  await page.close()
  page = await openTable(context, proxy.origin, {
    before: `var real = fetch, Real = EventSource; window.asked = []
      window.fetch = (url, init) => (asked.push(String(url)), real(url, init))
      window.EventSource = class extends Real { constructor(url, init) { asked.push(String(url)); super(url, init) } }`,
  })
  await page.waitForFunction(() => window.orders.get('d'))
  const asked = await page.evaluate(() => window.asked)
  expect(asked).not.toEqual([])
  for (const url of asked) expect(new URL(url).searchParams.get('last_event_id')).toBe(cursor)
  expect(await shown(page)).toEqual({ b: { n: 2 }, c: { n: 3 }, d: { n: 3 } })
  // The rows of before as one group, and then only what changed: `b` did not come again.
  expect(await page.evaluate(() => window.groups)).toEqual([['insert b', 'insert c'], ['update c', 'insert d']])
  await saved(page)
  expect((await kept(page)).rows).toEqual([['b', { n: 2 }], ['c', { n: 3 }], ['d', { n: 3 }]])
})

test('what is kept of another server gives way to what this one has', async () => {
  const context = await openBrowser()
  const server = await Server.start()
  await server.ask('POST', '/tables/orders', JSON.stringify([upsert('a', 1), upsert('b', 1)]))
  let page = await openTable(context, server.origin)
  await page.evaluate(() => window.orders.ready)
  await saved(page)
  await page.close()
  await server.stop('SIGKILL')
  const { rename } = await import('node:fs/promises')
  const other = await Server.start()
  await other.ask('POST', '/tables/orders', JSON.stringify([upsert('b', 1), upsert('c', 1)]))
  await other.stop('SIGTERM')
  await rename(`${server.directory}/data`, `${server.directory}/old`)
  await rename(`${other.directory}/data`, `${server.directory}/data`)
  await server.run()
  page = await openTable(context, server.origin)
  await page.waitForFunction(() => window.groups.length === 2)
  expect(await page.evaluate(() => window.groups.map((group) => group.sort()))).toEqual([['insert a', 'insert b'], ['delete a', 'insert c']])
  await saved(page)
  expect((await kept(page)).rows).toEqual([['b', { n: 1 }], ['c', { n: 1 }]])
})

test('terms and scopes are kept apart, and all is forgotten', async () => {
  const context = await openBrowser()
  const server = await Server.start()
  await server.ask('POST', '/tables/orders', JSON.stringify([upsert('a', 1), upsert('b', 20)]))
  for (const options of [{}, { where: 'n > 10' }, { where: 'n > 10', scope: 'ana' }]) {
    const page = await openTable(context, server.origin, options)
    await page.evaluate(() => window.orders.ready)
    await saved(page)
    await expect.poll(async () => (await kept(page)).names.filter((name) => String(name).startsWith(options.scope ?? ' '))).toHaveLength(options.where && !options.scope ? 2 : 1)
    await page.close()
  }
  const page = await openTable(context, server.origin, { where: 'n > 10', scope: 'bo' })
  await page.evaluate(() => window.orders.ready)
  expect(await page.evaluate(() => window.groups)).toEqual([['insert b']])
  expect(await shown(page)).toEqual({ b: { n: 20 } })
  await saved(page)
  expect((await kept(page)).names.sort()).toEqual([
    ` ${server.origin}/tables/orders`, ` ${server.origin}/tables/orders?where=n+%3E+10`,
    `ana ${server.origin}/tables/orders?where=n+%3E+10`, `bo ${server.origin}/tables/orders?where=n+%3E+10`,
  ])
  await page.evaluate(() => window.made.forget())
  expect(await page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name))).toEqual([])
  await server.ask('PUT', '/tables/orders/c', '{"n":30}')
  await page.waitForFunction(() => window.orders.get('c'))
})

test('what changes while a transaction is under way is written after it, and what another page wrote is not mixed with it', async () => {
  const server = await Server.start()
  const page = await (await openBrowser()).newPage()
  await page.goto(server.origin)
  await page.evaluate(`${SCRIPT}; window.made = made`)
  const log = await page.evaluate(async () => {
    const tabs = ['a', 'b'].map(() => {
      const rows = new Map<string, number>()
      const live = { cursor: '' }
      const keeper = window.made.persistAs('', { takeover: 100 })('url', rows, live)
      const set = (cursor: string, key: string, value?: number): void => {
        if (value === undefined) rows.delete(key)
        else rows.set(key, value)
        live.cursor = cursor
        keeper.keep([{ key }])
      }
      return { keeper, set, rows, live }
    })
    const [a, b] = tabs as [(typeof tabs)[0], (typeof tabs)[0]]
    const look = async (cursor: string): Promise<unknown> => {
      for (let i = 0; i < 500; i++) {
        const kept = await window.made.persistAs('')('url', new Map<string, number>(), { cursor: '' }).load()
        if (kept?.cursor === cursor) return [...kept.rows].map(({ key, value }) => `${key}${value}`)
        await new Promise((again) => setTimeout(again, 10))
      }
      return `${cursor} never came`
    }
    const log = []
    const begin = IDBDatabase.prototype.transaction
    IDBDatabase.prototype.transaction = function (names, mode) {
      // With the first transaction that writes, what it writes is settled.
      if (mode) {
        IDBDatabase.prototype.transaction = begin
        queueMicrotask(() => {
          a.set('2', 'y', 2)
          a.set('3', 'x')
        })
      }
      return begin.call(this, names, mode)
    }
    a.set('1', 'x', 1)
    log.push(await look('3'))
    // Another page begins with what is kept, and then lags behind.
    const kept = await b.keeper.load()
    for (const { key, value } of kept?.rows ?? []) b.rows.set(key, value)
    a.set('10', 'y', 10)
    log.push(await look('10'))
    b.set('8', 'y', 8)
    a.set('11', 'z', 11)
    log.push(await look('11'))
    a.set('12', 'z', 12)
    log.push(await look('12'))
    // When the first is gone, the other takes over with all that it has.
    b.rows.set('w', 1)
    b.set('20', 'y', 20)
    log.push(await look('20'))
    return log
  })
  expect(log).toEqual([['y2'], ['y10'], ['y10', 'z11'], ['y10', 'z12'], ['w1', 'y20']])
})

test('of writes that are shown at once only what the server has is kept', async () => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/orders/a', '{"n":1}')
  const context = await openBrowser()
  let page = await context.newPage()
  await page.goto(server.origin)
  await page.evaluate(`${SCRIPT}; window.made = made`)
  await page.evaluate(async () => {
    const { optimistic, persist } = window.made
    const real = fetch
    window.orders = window.made.table<{ n: number }>('/tables/orders', {
      optimistic, persist,
      // Writes are never answered.
      fetch: (url, init) => (init?.method && init.method !== 'GET' ? new Promise(() => undefined) : real(url, init)),
    })
    await window.orders.ready
    void window.orders.update('a', { n: 5 })
    void window.orders.insert('z', { n: 5 })
  })
  await server.ask('PUT', '/tables/orders/b', '{"n":2}')
  await page.waitForFunction(() => window.orders.get('b'))
  expect(await shown(page)).toEqual({ a: { n: 5 }, b: { n: 2 }, z: { n: 5 } })
  await saved(page)
  expect((await kept(page)).rows).toEqual([['a', { n: 1 }], ['b', { n: 2 }]])
  await page.close()
  page = await openTable(context, server.origin)
  await page.evaluate(() => window.orders.ready)
  expect(await shown(page)).toEqual({ a: { n: 1 }, b: { n: 2 } })
})

test('two pages that write at once leave one moment of the table, and one outlives the other', async () => {
  const context = await openBrowser()
  const server = await Server.start()
  await server.ask('PUT', '/tables/orders/a', '{"n":0}')
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const pages = [await openTable(context, proxy.origin, { scope: '' }), await openTable(context, proxy.origin, { scope: '' })] as const
  for (const page of pages) await page.evaluate(() => window.orders.ready)
  await expect.poll(async () => (await kept(pages[0])).cursors.length).toBe(1)
  const keys = ['a', 'b', 'c', 'd', 'e']
  let n = 0
  const write = async (): Promise<void> => {
    n += 1
    const key = keys[n % 5] ?? ''
    await server.ask('POST', '/tables/orders', JSON.stringify([n % 7 === 0 ? { key: 'x', headers: { operation: 'delete' } } : upsert('x', n), upsert(key, n)]))
  }
  /** What is kept is what the server had at its cursor. */
  const check = async (page: Page): Promise<void> => {
    const { cursors, rows } = await kept(page)
    expect(cursors).toHaveLength(1)
    const answer = (await server.ask('GET', `/tables/orders?last_event_id=${String(cursors[0])}`)) as { events: { key: string; value?: unknown }[] }
    const now = new Map(rows as [string, unknown][])
    for (const { key, value } of answer.events) {
      if (value === undefined) now.delete(key)
      else now.set(key, value)
    }
    expect(new Map([...now].sort())).toEqual(new Map([...(await server.rows('/tables/orders'))].sort()))
  }
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 5; i++) await write()
    await check(round % 2 && round < 25 ? pages[1] : pages[0])
    if (round === 25) await pages[1].close()
  }
  const last = n
  await pages[0].waitForFunction((last) => [...window.orders.rows.values()].some(({ n }) => n === last), last)
  await saved(pages[0])
  await check(pages[0])
})

test.each([
  ['absent', "Object.defineProperty(window, 'indexedDB', { value: undefined })"],
  ['throwing', "IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError') }"],
  ['silent', 'IDBFactory.prototype.open = () => ({})'],
  ['full', "IDBObjectStore.prototype.put = () => { throw new DOMException('no', 'QuotaExceededError') }"],
])('where IndexedDB is %s the table works all the same', async (_, before) => {
  const context = await openBrowser()
  const server = await Server.start()
  await server.ask('PUT', '/tables/orders/a', '{"n":1}')
  const page = await openTable(context, server.origin, { before })
  await page.evaluate(() => window.orders.ready)
  await server.ask('PUT', '/tables/orders/a', '{"n":2}')
  await page.waitForFunction(() => window.orders.get('a')?.n === 2)
  await page.evaluate(() => window.made.forget())
})
