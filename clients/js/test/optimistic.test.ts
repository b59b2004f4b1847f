// Writes that are shown at once, against the real server: what is shown is what was asked for, then what the server has.

import { expect, onTestFinished, test, vi } from 'vitest'
import { table, type Change, type TableOptions, type Timing, type Transport } from '../src/index.js'
import { optimistic } from '../src/optimistic.js'
import { merge, patchOf } from '../src/patch.js'
import { Proxy, type Fault } from './support/proxy.js'
import { Server } from './support/server.js'
import { seeded, until } from './support/wait.js'

const TIMING: Partial<Timing> = { head: 1000, first: 500, silence: 3000, healthy: 200, better: 500, poll: 2000, floor: 5, cap: 200 }
const BY: Transport[] = ['fetch', 'long-poll']

interface Row {
  n: number
  status?: string
  note?: string | null
  deep?: { a?: number; b?: number }
}

function open(url: string, options: TableOptions = {}) {
  const opened = table<Row>(url, { timing: TIMING, reconnectionTime: 20, optimistic, ...options })
  onTestFinished(() => opened.close())
  return opened
}

const told = (changes: readonly Change<Row>[]) =>
  changes.map((change) => [change.operation, change.key, ...('value' in change ? [change.value] : [])])

/** A fetch whose requests that write wait until they are let go, and count. */
function held() {
  const waiting: (() => void)[] = []
  const asked: string[] = []
  return {
    asked,
    free: false,
    /** Lets the oldest go. */
    async go() {
      await until('a write', () => waiting.length)
      waiting.shift()?.()
    },
    async fetch(this: void, url: string | URL | Request, init?: RequestInit): Promise<Response> {
      const method = init?.method ?? 'GET'
      if (method !== 'GET') {
        asked.push(`${method} ${typeof init?.body === 'string' ? init.body : ''}`)
        if (!gate.free) await new Promise<void>((go) => waiting.push(go))
      }
      return fetch(url, init)
    },
  }
}
let gate = held()

test.each(BY)('shown at once, and once, by %s', async (transport) => {
  gate = held()
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1,"deep":{"a":1,"b":2}}')
  const rows = open(`${server.origin}/tables/t`, { transport: [transport], fetch: gate.fetch })
  const groups: unknown[] = []
  await rows.ready
  rows.subscribe((map, changes) => {
    expect(map).toBe(rows.rows)
    if (changes.length) groups.push(told(changes))
  })
  const steps: [() => Promise<unknown>, unknown][] = [
    [() => rows.insert('b', { n: 1 }), [['insert', 'b', { n: 1 }]]],
    [() => rows.update('a', { status: 'open', deep: { a: 3 } }), [['update', 'a', { n: 1, deep: { a: 3, b: 2 }, status: 'open' }]]],
    [() => rows.update('a', (row) => ({ ...row, n: row.n + 1 })), [['update', 'a', { n: 2, deep: { a: 3, b: 2 }, status: 'open' }]]],
    [() => rows.delete('b'), [['delete', 'b']]],
  ]
  for (const [act, shown] of steps) {
    groups.length = 0
    const done = act()
    expect(groups).toEqual([shown])
    const before = rows.get('a')
    await gate.go()
    const { cursor } = (await done) as { cursor: string }
    await until('it to come back', () => rows.cursor === cursor)
    // What comes back is what is shown: nobody is told, and the row is the same object.
    expect(groups).toEqual([shown])
    expect(rows.get('a')).toBe(before)
  }
  expect(rows.rows).toEqual(await server.rows('/tables/t'))
  expect(gate.asked.at(2)).toBe('PATCH {"n":2}')
  // It is over: what others write is seen.
  await server.ask('PUT', '/tables/t/a', '{"n":9}')
  await until('the other\'s row', () => rows.get('a')?.n === 9)
})

test('what is refused is taken back', async () => {
  gate = held()
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1}')
  const rows = open(`${server.origin}/tables/t`, { fetch: gate.fetch })
  await rows.ready
  const groups: unknown[] = []
  rows.subscribe((_, changes) => changes.length && groups.push(told(changes)))
  const insert = rows.insert('a', { n: 5 })
  expect(rows.get('a')).toEqual({ n: 5 })
  await gate.go()
  await expect(insert).rejects.toMatchObject({ code: 'row_exists' })
  expect(rows.get('a')).toEqual({ n: 1 })
  expect(groups).toEqual([[['update', 'a', { n: 5 }]], [['update', 'a', { n: 1 }]]])
  // Somebody else took the row away; until that is known here the patch is shown.
  await server.ask('DELETE', '/tables/t/a')
  const update = rows.update('a', { n: 6 })
  await gate.go()
  await expect(update).rejects.toMatchObject({ code: 'row_unknown' })
  await until('the delete', () => rows.rows.size === 0)
  await expect(rows.update('zz', (row) => row)).rejects.toMatchObject({ code: 'row_unknown' })
  await server.stop('SIGKILL')
  gate.free = true
  const lost = rows.insert('c', { n: 1 })
  expect(rows.get('c')).toEqual({ n: 1 })
  await expect(lost).rejects.toMatchObject({ code: 'network' })
  expect(rows.get('c')).toBeUndefined()
})

test('a change that others were faster than is made anew, of what they wrote', async () => {
  gate = held()
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1}')
  const rows = open(`${server.origin}/tables/t`, { fetch: gate.fetch })
  await rows.ready
  const one = rows.update('a', (row) => ({ ...row, n: row.n + 1 }))
  // The second waits for the first, and is shown on top of it.
  const two = rows.update('a', (row) => ({ ...row, n: row.n * 10 }))
  expect(rows.get('a')).toEqual({ n: 20 })
  await until('the first to be sent', () => gate.asked.length === 1)
  await server.ask('PUT', '/tables/t/a', '{"n":5,"note":"theirs"}')
  await gate.go()
  await until('it to be sent again', () => gate.asked.length === 2)
  expect(rows.get('a')).toEqual({ n: 60, note: 'theirs' })
  await gate.go()
  await one
  await gate.go()
  await two
  expect(gate.asked).toEqual(['PATCH {"n":2}', 'PATCH {"n":6}', 'PATCH {"n":60}'])
  await until('the row', () => rows.cursor && rows.get('a')?.n === 60)
  expect(await server.rows('/tables/t')).toEqual(new Map([['a', { n: 60, note: 'theirs' }]]))
})

test('of a first that is refused the second keeps nothing', async () => {
  gate = held()
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1}')
  const rows = open(`${server.origin}/tables/t`, { fetch: gate.fetch })
  await rows.ready
  const one = rows.update('a', { n: 'no'.repeat(600_000) as never })
  const two = rows.update('a', { status: 'x' })
  expect(rows.get('a')?.status).toBe('x')
  await gate.go()
  await expect(one).rejects.toMatchObject({ code: 'row_too_large' })
  expect(rows.get('a')).toEqual({ n: 1, status: 'x' })
  await gate.go()
  await two
})

/** Timers that may be told that it is later; by themselves they keep time. What is returned tells them. */
function timers(): (ms: number) => Promise<unknown> {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true })
  onTestFinished(() => void vi.useRealTimers())
  return (ms) => vi.advanceTimersByTimeAsync(ms)
}
/** After so many milliseconds it is asked whether a write has come. */
const PROBED = 1_000

test.each(BY)('what never comes back is given up: rows that the predicate does not want, by %s', async (transport) => {
  const later = timers()
  const server = await Server.start()
  const rows = open(`${server.origin}/tables/t`, { where: 'n < 10', transport: [transport] })
  await rows.ready
  await rows.insert('a', { n: 1 })
  await rows.insert('b', { n: 100 })
  expect(rows.rows.size).toBe(2)
  await later(PROBED)
  await until('the row that is not of these to go', () => rows.rows.size === 1)
  await rows.update('a', { n: 50 })
  await later(PROBED)
  await until('the other', () => rows.rows.size === 0)
  // Nothing was changed by it, so nothing comes.
  await rows.insert('c', { n: 2 })
  await rows.update('c', { n: 2 })
  await server.ask('PUT', '/tables/t/c', '{"n":3}')
  await later(PROBED)
  await until('the other\'s row', () => rows.get('c')?.n === 3)
})

test('what came in another group, since the connection was away, is known to have come', async () => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1}')
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  // Writes go past the proxy.
  const rows = open(`${proxy.origin}/tables/t`, {
    fetch: (url, init) => fetch(init?.method && init.method !== 'GET' ? String(url).replace(proxy.origin, server.origin) : String(url), init),
  })
  await rows.ready
  proxy.fault = () => ({ kind: 'status', status: 502 })
  proxy.cut()
  await rows.update('a', { n: 2 })
  await server.ask('PUT', '/tables/t/a', '{"n":3}')
  await server.ask('PUT', '/tables/t/b', '{"n":3}')
  expect(rows.get('a')).toEqual({ n: 2 })
  // Without the newest events in memory what was missed is one group.
  await server.stop('SIGTERM')
  await server.run()
  proxy.fault = () => ({ kind: 'none' })
  await until('the newest', () => rows.get('a')?.n === 3 && rows.get('b')?.n === 3)
})

test('a write before the first rows is shown with them', async () => {
  gate = held()
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1}')
  const rows = open(`${server.origin}/tables/t`, { fetch: gate.fetch })
  const write = rows.insert('b', { n: 2 })
  const groups: unknown[] = []
  rows.subscribe((_, changes) => groups.push(told(changes)))
  expect(rows.rows.size).toBe(0)
  await rows.ready
  expect(groups).toEqual([[['insert', 'a', { n: 1 }], ['insert', 'b', { n: 2 }]]])
  await gate.go()
  await write
})

test('patches: what they make, and what makes them', () => {
  const random = seeded(7)
  const some = (depth: number): unknown => {
    const kind = Math.floor(random() * (depth > 2 ? 3 : 6))
    if (kind < 2) return Math.floor(random() * 3)
    if (kind === 2) return ['x', null, true, [null, { a: null }], ''][Math.floor(random() * 5)]
    return Object.fromEntries(Array.from({ length: Math.floor(random() * 4) }, () => [['a', 'b', '__proto__', 'c'][Math.floor(random() * 4)], some(depth + 1)]))
  }
  let patched = 0
  for (let i = 0; i < 20_000; i++) {
    const [before, after] = [{ x: some(0) }, { x: some(0) }]
    const patch = patchOf(before, after)
    if (!patch) continue
    patched += 1
    expect(sorted(merge(before, patch)), `${JSON.stringify(before)} ${JSON.stringify(patch)}`).toBe(sorted(after))
  }
  expect(patched).toBeGreaterThan(10_000)
  // A member that becomes null, and one of a new object that is: no patch says that.
  expect(patchOf({ a: 1 }, { a: null })).toBeUndefined()
  expect(patchOf({}, { a: { b: null } })).toBeUndefined()
  expect(patchOf({ a: null }, { a: null, b: [null] })).toEqual({ b: [null] })
  expect(patchOf({ a: 1, b: { c: 1, d: 2 } }, { b: { c: 1 } })).toEqual({ a: null, b: { d: null } })
})

const sorted = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) =>
    typeof one === 'object' && one && !Array.isArray(one) ? Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)) : one)

test('a row with nulls is written as a whole', async () => {
  gate = held()
  gate.free = true
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1,"note":"x"}')
  const rows = open(`${server.origin}/tables/t`, { fetch: gate.fetch })
  await rows.ready
  await rows.update('a', (row) => ({ ...row, note: null }))
  expect(gate.asked).toEqual(['PUT {"n":1,"note":null}'])
  expect(rows.get('a')).toEqual({ n: 1, note: null })
})

test('random writes of two over faults: both end with the server\'s rows, and no count is lost', { timeout: 300_000 }, async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed)
  const whole = (n: number): number => Math.floor(random() * n)
  const server = await Server.start()
  const keys = ['a', 'b', 'c', 'd']
  for (const key of keys) await server.ask('PUT', `/tables/m/${key}`, '{"n":0}')
  let calm = false
  const faults: (() => Fault)[] = [() => ({ kind: 'cut', bytes: whole(3_000) }), () => ({ kind: 'delay', ms: whole(20) }), () => ({ kind: 'none' })]
  const proxy = await Proxy.start(server, () => (calm ? { kind: 'none' } : (faults[whole(3)]?.() ?? { kind: 'none' })))
  const timing = { ...TIMING, head: 150, first: 100, silence: 400, poll: 100, cap: 50 }
  const counts = new Map(keys.map((key) => [key, { sure: 0, perhaps: 0 }]))
  const readers = BY.map((transport) => open(`${proxy.origin}/tables/m`, { timing, transport: [transport] }))
  await Promise.all(readers.map((reader) => reader.ready))
  const writer = async (rows: (typeof readers)[number]): Promise<void> => {
    for (let i = 0; i < 120; i++) {
      const key = keys[whole(keys.length)] ?? ''
      const count = counts.get(key)
      const before = rows.get(key)?.n ?? 0
      const update = rows.update(key, (row) => ({ ...row, n: row.n + 1 }))
      // At once, whatever becomes of it.
      expect(rows.get(key)?.n, `seed ${seed}`).toBe(before + 1)
      const refused = await update.then(() => '', (err: { code?: string }) => err.code ?? 'cut in the answer')
      // Where the answer was lost nobody knows.
      if (count && !refused) count.sure += 1
      else if (count && refused !== 'condition_failed') count.perhaps += 1
      if (i % 20 === 19) proxy.cut()
    }
  }
  await Promise.all(readers.map(writer))
  calm = true
  proxy.cut()
  const expected = (await server.rows('/tables/m')) as Map<string, Row>
  for (const [key, { sure, perhaps }] of counts) {
    expect(expected.get(key)?.n, `seed ${seed}: ${key}`).toBeGreaterThanOrEqual(sure)
    expect(expected.get(key)?.n, `seed ${seed}: ${key}`).toBeLessThanOrEqual(sure + perhaps)
  }
  for (const reader of readers) {
    await until(`all (seed ${seed})`, () => [...expected].every(([key, { n }]) => reader.get(key)?.n === n))
    await server.ask('PUT', '/tables/m/last', '{"n":1}')
    await until(`the last (seed ${seed})`, () => reader.get('last'))
    expect(new Map([...reader.rows].filter(([key]) => key !== 'last')), `seed ${seed}`).toEqual(expected)
  }
})
