// Tables against the real server: the rows are the server's, and never half of a transaction.

import { expect, onTestFinished, test } from 'vitest'
import { table, type Change, type TableOptions, type Timing, type Transport } from '../src/index.js'
import { Proxy, type Fault } from './support/proxy.js'
import { Server } from './support/server.js'
import { seeded, until } from './support/wait.js'

const TIMING: Partial<Timing> = { head: 1000, first: 500, silence: 3000, healthy: 200, better: 500, poll: 2000, floor: 5, cap: 200 }
const BY: Transport[] = ['fetch', 'long-poll', 'websocket']

interface Row {
  n: number
  status?: string
  note?: string
}

function open(url: string, options: TableOptions = {}) {
  const opened = table<Row>(url, { timing: TIMING, reconnectionTime: 20, ...options })
  onTestFinished(() => opened.close())
  return opened
}

const upsert = (key: string, value: unknown) => ({ key, value, headers: { operation: 'upsert' } })
const told = (changes: readonly Change<Row>[]) => changes.map(({ operation, key }) => `${operation} ${key}`)

test.each(BY)('rows once, then each change, by %s', async (transport) => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1}')
  await server.ask('PUT', '/tables/t/b', '{"n":1}')
  const rows = open(`${server.origin}/tables/t`, { transport: [transport] })
  const groups: string[][] = []
  const end = rows.subscribe((map, changes) => {
    expect(map).toBe(rows.rows)
    groups.push(told(changes))
  })
  const changes = rows.changes()
  await rows.ready
  expect(rows.get('a')).toEqual({ n: 1 })
  expect(groups).toEqual([['insert a', 'insert b']])
  await server.ask('PATCH', '/tables/t/a', '{"n":2}')
  await until('the update', () => groups.length === 2)
  await server.ask('POST', '/tables/t', JSON.stringify([upsert('c', { n: 3 }), { key: 'b', headers: { operation: 'delete' } }]))
  await until('the batch', () => groups.length === 3)
  expect(groups.slice(1)).toEqual([['update a'], ['insert c', 'delete b']])
  expect(rows.rows).toEqual(new Map([['a', { n: 2 }], ['c', { n: 3 }]]))
  end()
  const seen = []
  for await (const group of changes) if (seen.push(group) === 3) break
  expect(seen[1]).toEqual([{ operation: 'update', key: 'a', value: { n: 2 }, old: { n: 1 } }])
  expect(seen[2]?.[1]).toEqual({ operation: 'delete', key: 'b', old: { n: 1 } })
  let late = 0
  rows.subscribe((map, changes) => (late += map.size + changes.length))
  expect(late).toBe(2)
})

test.each(BY)('predicates, columns and pace, by %s', async (transport) => {
  const server = await Server.start()
  await server.ask('POST', '/tables/o', JSON.stringify([
    upsert('1', { n: 1, status: 'open', note: 'x' }), upsert('2', { n: 2, status: 'done' }), upsert('3', { n: 3, status: 'open' }),
  ]))
  const open_ = open(`${server.origin}/tables/o`, {
    where: 'status = $1 AND n > 1', params: ['open'], columns: ['n', 'status'], minInterval: 50, transport: [transport],
  })
  await open_.ready
  expect(open_.rows).toEqual(new Map([['3', { n: 3, status: 'open' }]]))
  await server.ask('PATCH', '/tables/o/2', '{"status":"open","note":"y"}')
  await server.ask('PATCH', '/tables/o/3', '{"status":"done"}')
  await until('both', () => open_.get('2') && !open_.get('3'))
  expect(open_.rows).toEqual(new Map([['2', { n: 2, status: 'open' }]]))
  const each = open(`${server.origin}/tables/o`, { conflate: false, transport: [transport] })
  await each.ready
  expect(each.rows.size).toBe(3)
  const bad = open(`${server.origin}/tables/o`, { where: 'status = ', transport: [transport] })
  await expect(bad.ready).rejects.toMatchObject({ status: 400, retry: false })
})

test.each(BY)('a reset leaves the old rows until the new ones are here, by %s', async (transport) => {
  const server = await Server.start()
  for (const key of ['a', 'b', 'c']) await server.ask('PUT', `/tables/t/${key}`, `{"n":1}`)
  const rows = open(`${server.origin}/tables/t`, { transport: [transport] })
  await rows.ready
  const [a, groups] = [rows.get('a'), [] as string[][]]
  const sizes = new Set<number>()
  rows.subscribe((map, changes) => {
    sizes.add(map.size)
    if (changes.length) groups.push(told(changes))
  })
  await server.stop('SIGKILL')
  // The data of another server, with its own cursors, comes in the place of this one.
  const { rename } = await import('node:fs/promises')
  await rename(`${server.directory}/data`, `${server.directory}/old`)
  const other = await Server.start()
  await other.ask('POST', '/tables/t', JSON.stringify([upsert('a', { n: 1 }), upsert('b', { n: 2 }), upsert('d', { n: 1 })]))
  await other.stop('SIGTERM')
  await rename(`${other.directory}/data`, `${server.directory}/data`)
  await server.run()
  await until('the new rows', () => groups.length)
  expect(groups[0]?.sort()).toEqual(['delete c', 'insert d', 'update b'])
  expect(rows.get('a')).toBe(a)
  await server.ask('DELETE', '/tables/t')
  await until('no rows', () => rows.rows.size === 0)
  expect(groups[1]?.sort()).toEqual(['delete a', 'delete b', 'delete d'])
  expect(sizes).toEqual(new Set([3, 0]))
})

test.each(BY)('more than a page holds, by %s', async (transport) => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/old', '{"n":1}')
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const rows = open(`${proxy.origin}/tables/t`, { transport: [transport] })
  const groups: string[][] = []
  rows.subscribe((_, changes) => groups.push(told(changes)))
  await rows.ready
  proxy.fault = () => ({ kind: 'status', status: 502 })
  proxy.cut()
  const keys = Array.from({ length: 30 }, (_, i) => `${i}`)
  for (const key of keys) await server.ask('PUT', `/tables/t/${key}`, JSON.stringify({ n: 2, note: 'x'.repeat(900_000) }))
  await server.ask('DELETE', '/tables/t/old')
  // Without the newest events in memory what was missed is one group.
  await server.stop('SIGTERM')
  await server.run()
  proxy.fault = () => ({ kind: 'none' })
  await until('all rows', () => rows.rows.size === 30 && !rows.get('old'))
  expect(groups).toHaveLength(2)
  expect(groups[1]?.sort()).toEqual(['delete old', ...keys.map((key) => `insert ${key}`)].sort())
  await server.ask('PUT', '/tables/t/new', '{"n":3}')
  await until('the next change', () => rows.get('new'))
})

test('writes, and their errors', async () => {
  const server = await Server.start()
  const rows = open(`${server.origin}/tables/t`)
  await rows.ready
  const key = 'a/b ü?#%'
  const { cursor } = await rows.insert(key, { n: 1, note: 'x' })
  await until('the row', () => rows.get(key))
  expect(rows.cursor).toBe(cursor)
  await expect(rows.insert(key, { n: 1 })).rejects.toMatchObject({ code: 'row_exists', status: 409, retry: false })
  await rows.update(key, { note: null, status: 'open' })
  await Promise.all(Array.from({ length: 5 }, () => rows.update(key, (row) => ({ ...row, n: row.n + 1 }))))
  await until('the updates', () => rows.get(key)?.n === 6)
  expect(rows.get(key)).toEqual({ n: 6, status: 'open' })
  await rows.delete(key)
  await until('the delete', () => !rows.get(key))
  await expect(rows.delete(key)).rejects.toMatchObject({ name: 'RiachoError', code: 'row_unknown' })
  await expect(rows.update('x', { n: 1 })).rejects.toMatchObject({ code: 'row_unknown' })
  await expect(rows.update('x', (row) => row)).rejects.toMatchObject({ code: 'row_unknown' })
  await expect(rows.update('..', { n: 1 })).rejects.toMatchObject({ code: 'key_invalid' })
  await server.stop('SIGKILL')
  await expect(rows.delete(key)).rejects.toMatchObject({ code: 'network', retry: true })
})

test('random writes over faults and restarts: the rows are the server\'s, and always whole', { timeout: 300_000 }, async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed)
  const server = await Server.start()
  const whole = (n: number): number => Math.floor(random() * n)
  const faults: (() => Fault)[] = [
    () => ({ kind: 'cut', bytes: whole(20_000) }),
    () => ({ kind: 'cut', bytes: whole(1_500) }),
    () => ({ kind: 'stall', bytes: whole(10_000) }),
    () => ({ kind: 'delay', ms: whole(20) }),
    () => ({ kind: 'hold', head: random() < 0.5 }),
    () => ({ kind: 'status', status: 502 }),
  ]
  let calm = false
  const proxy = await Proxy.start(server, () => (calm ? { kind: 'none' } : (faults[whole(faults.length)]?.() ?? { kind: 'none' })))
  const timing = { ...TIMING, head: 150, first: 100, silence: 400, poll: 100, cap: 50 }
  // In each transaction money moves: the sum is the same in each state that there ever was. The filtered reader sees pairs.
  const PAIRS = 40
  const start = Array.from({ length: PAIRS }, (_, i) => [upsert(`${i}a`, { n: 500, pair: i }), upsert(`${i}b`, { n: 500, pair: i })])
  await server.ask('POST', '/tables/m', JSON.stringify(start.flat()))
  const broken: string[] = []
  const readers = ([[], [], ['fetch'], ['long-poll']] as Transport[][]).map((transport, i) => {
    const filter = i === 1 ? { where: 'pair < 20', minInterval: 20 } : {}
    const reader = open(`${proxy.origin}/tables/m`, { timing, ...filter, ...(transport.length && { transport }) })
    const mirror = new Map<string, Row>()
    const state = { reader, mirror, groups: 0 }
    reader.subscribe((rows, changes) => {
      state.groups += 1
      const sum = [...rows.values()].reduce((sum, { n }) => sum + n, 0)
      if (sum !== (i === 1 ? 20 : PAIRS) * 1000) broken.push(`${i}: ${sum} after ${JSON.stringify(changes)}`)
      for (const change of changes) {
        if (change.operation === 'delete') mirror.delete(change.key)
        else mirror.set(change.key, change.value)
      }
    })
    return state
  })
  // Until everybody saw something of it, whatever befell them.
  for (let round = 0; round < 600 || (round < 10_000 && readers.some(({ groups }) => groups < 10)); round++) {
    const pairs = new Set(Array.from({ length: 1 + whole(3) }, () => whole(PAIRS)))
    const changes = [...pairs].flatMap((pair) => {
      const a = whole(1001)
      const value = (n: number) => ({ n, pair, note: 'x'.repeat(whole(200)) })
      const one = [upsert(`${pair}a`, value(a)), upsert(`${pair}b`, value(1000 - a))]
      // Sometimes one row has it all, and the other is gone.
      return a === 0 || random() < 0.2 ? [{ key: `${pair}a`, headers: { operation: 'delete' } }, upsert(`${pair}b`, value(1000))] : one
    })
    // A delete of what is gone is refused; then it is there for the next round.
    await server.ask('POST', '/tables/m', JSON.stringify(changes)).catch(() => undefined)
    if (round % 60 === 59) proxy.cut()
    if (round % 250 === 249) {
      await server.stop(round % 500 === 249 ? 'SIGKILL' : 'SIGTERM')
      await server.run()
    }
  }
  await until('reconnections', () => proxy.count > 40)
  calm = true
  proxy.cut()
  await server.ask('POST', '/tables/m', JSON.stringify([upsert('0a', { n: 1, pair: 0 }), upsert('0b', { n: 999, pair: 0, note: 'the last' })]))
  for (const [i, { reader, mirror, groups }] of readers.entries()) {
    await until(`the last transaction (seed ${seed}, reader ${i})`, () => reader.get('0b')?.note === 'the last')
    const expected = await server.rows(i === 1 ? '/tables/m?where=pair%3C20' : '/tables/m')
    await until(`all (seed ${seed}, reader ${i})`, () => reader.rows.size === expected.size)
    expect(new Map([...reader.rows].sort()), `seed ${seed}, reader ${i}`).toEqual(new Map([...expected].sort()))
    expect(new Map([...mirror].sort()), `seed ${seed}, reader ${i}: what it told`).toEqual(new Map([...expected].sort()))
    expect(groups).toBeGreaterThanOrEqual(10)
  }
  expect(broken, `seed ${seed}`).toEqual([])
})
