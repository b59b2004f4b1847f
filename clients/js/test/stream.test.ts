// Streams against the real server, by each transport, over what networks and servers do.

import { expect, onTestFinished, test } from 'vitest'
import { ProblemError, RiachoError, stream, subscribe, unsubscribe, type StreamEvent, type StreamOptions, type Timing, type Transport } from '../src/index.js'
import { Proxy, type Fault } from './support/proxy.js'
import { Server } from './support/server.js'
import { seeded, until } from './support/wait.js'

const TIMING: Partial<Timing> = { head: 1000, first: 500, silence: 3000, healthy: 200, better: 500, poll: 2000, floor: 5, cap: 200 }
const BY: Transport[] = ['fetch', 'long-poll', 'websocket']
const none = (): Fault => ({ kind: 'none' })

/** A stream that is closed with the test. */
function open(url: string, options: StreamOptions = {}) {
  const opened = stream(url, { timing: TIMING, reconnectionTime: 20, ...options })
  onTestFinished(() => opened.close())
  return opened
}

async function take<T>(events: AsyncIterable<StreamEvent<T>>, count: number): Promise<StreamEvent<T>[]> {
  const got = []
  for await (const event of events) if (got.push(event) === count) break
  return got
}

test.each(BY)('events are the same by %s', async (transport) => {
  const server = await Server.start()
  await server.publish('a/b', [
    { data: 'text\r\nwith\rlines' }, { data: '{"a":1}' }, { data: { a: [1, null] }, type: 'order' }, { data: 17 }, { data: '' },
  ])
  const got = await take(open(`${server.origin}/streams/a/b`, { from: 'earliest', transport: [transport] }), 5)
  expect(got.map(({ data }) => data)).toEqual(['text\r\nwith\rlines', '{"a":1}', { a: [1, null] }, 17, ''])
  expect(got.map(({ type }) => type)).toEqual(['message', 'message', 'order', 'message', 'message'])
  expect(new Set(got.map((event) => event.stream))).toEqual(new Set(['a/b']))
  const tail = await take(open(`${server.origin}/streams?stream=a/*`, { tail: 2, transport: [transport] }), 2)
  expect(tail).toEqual(got.slice(3))
  const after = await take(open(`${server.origin}/streams/a/b`, { from: got[1]?.id ?? '', transport: [transport] }), 3)
  expect(after).toEqual(got.slice(2))
})

test.each(BY)('listeners of types, by %s', async (transport) => {
  const server = await Server.start()
  const chat = open(`${server.origin}/streams/chat`, { transport: [transport] })
  const said: unknown[] = []
  chat.on('message', ({ data }) => said.push(data))
  chat.on('joined', ({ data }) => said.push(data))
  const end = chat.on('left', () => said.push('never'))
  end()
  await new Promise<void>((opened) => (chat.onopen = opened))
  expect([chat.state, chat.transport]).toEqual(['open', transport])
  await server.publish('chat', [{ data: 'ana', type: 'joined' }, { data: 'hi' }, { data: 'x', type: 'left' }, { data: 'bye' }])
  await until('four events', () => said.length === 3)
  expect(said).toEqual(['ana', 'hi', 'bye'])
  const resets: unknown[] = []
  chat.on('riacho.reset', ({ data }) => resets.push(data.reason))
  await server.ask('DELETE', '/streams/chat')
  await until('the reset', () => resets.length)
})

test.each(BY)('over restarts nothing is lost or repeated, by %s', async (transport) => {
  const server = await Server.start()
  const numbers = open(`${server.origin}/streams/n`, { from: 'earliest', transport: [transport] })
  const lost: string[] = []
  numbers.onerror = ({ code }) => lost.push(code)
  const got: unknown[] = []
  numbers.on('message', ({ data }) => got.push(data))
  let count = 0
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
    for (const end = count + 20; count < end; count++) await server.publish('n', [{ data: count }])
    await until('events', () => got.length === count)
    await server.stop(signal)
    await server.run()
  }
  await server.publish('n', [{ data: count }])
  await until('the last event', () => got.length > count)
  expect(got).toEqual(Array.from({ length: count + 1 }, (_, i) => i))
  expect(lost.length).toBeGreaterThanOrEqual(3)
})

test('20,000 events over random faults: none lost, none repeated', { timeout: 300_000 }, async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed)
  const server = await Server.start()
  const faults: (() => Fault)[] = [
    () => ({ kind: 'cut', bytes: Math.floor(random() ** 2 * 200_000) }),
    () => ({ kind: 'stall', bytes: Math.floor(random() * 50_000) }),
    () => ({ kind: 'delay', ms: Math.floor(random() * 30) }),
    () => ({ kind: 'swallow' }),
    () => ({ kind: 'hold', head: random() < 0.5 }),
    () => ({ kind: 'status', status: random() < 0.5 ? 502 : 503 }),
    () => ({ kind: 'cut', bytes: Math.floor(random() * 2_000) }),
    () => ({ kind: 'strip' }),
  ]
  let calm = false
  const proxy = await Proxy.start(server, () => (calm ? { kind: 'none' } : (faults[Math.floor(random() * faults.length)] ?? none)()))
  const timing = { ...TIMING, head: 150, first: 100, silence: 400, poll: 100, cap: 50 }
  const readers = [undefined, ['fetch'], ['long-poll'], ['websocket']].map((transport) => {
    const reader = open(`${proxy.origin}/streams/n`, { from: 'earliest', timing, ...(transport && { transport: transport as Transport[] }) })
    const state = { reader, got: [] as unknown[], failed: undefined as unknown }
    void (async () => {
      for await (const event of reader) {
        state.got.push(event.type === 'message' ? event.data : event)
      }
    })().catch((err: unknown) => (state.failed = err))
    return state
  })
  const COUNT = 20_000
  for (let from = 0; from < COUNT; from += 100) {
    await server.publish('n', Array.from({ length: 100 }, (_, i) => ({ data: from + i })))
    if (from % 2_000 === 0) proxy.cut()
  }
  await until('most of the way', () => readers.every(({ got }) => got.length > COUNT / 2) || proxy.count > 400)
  calm = true
  proxy.cut()
  for (const { got, failed } of readers) {
    await until(`the last event (seed ${seed})`, () => got.at(-1) === COUNT - 1 || failed)
    expect(failed, `seed ${seed}`).toBeUndefined()
    expect(got.length, `seed ${seed}`).toBe(COUNT)
    expect(got.findIndex((number, i) => number !== i), `seed ${seed}`).toBe(-1)
  }
  expect(proxy.count).toBeGreaterThan(20)
})

test.each<[string, Fault]>([
  ['holds the answer back', { kind: 'hold', head: false }],
  ['lets only the head through', { kind: 'hold', head: true }],
])('behind a proxy that %s it polls, and later tries streaming again', async (_, fault) => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, () => fault)
  const reader = open(`${proxy.origin}/streams/a`, { timing: { ...TIMING, head: 300, first: 200 } })
  const got: unknown[] = []
  reader.on('message', ({ data }) => got.push(data))
  let count = 0
  for (let round = 0; round < 3; round++) {
    await until('the poll', () => reader.state === 'open' && reader.transport === 'long-poll')
    await server.publish('a', Array.from({ length: 50 }, () => ({ data: count++ })))
    proxy.fault = () => ({ kind: 'none' })
    proxy.cut()
    await until('streaming', () => reader.state === 'open' && reader.transport === 'fetch')
    await server.publish('a', Array.from({ length: 50 }, () => ({ data: count++ })))
    proxy.fault = () => fault
    proxy.cut()
  }
  await until('the last event', () => got.length === count)
  expect(got).toEqual(Array.from({ length: count }, (_, i) => i))
})

test('what worked for an origin is where the next one begins', async () => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, () => ({ kind: 'hold', head: true }))
  const timing = { ...TIMING, better: 60_000 }
  const first = open(`${proxy.origin}/streams/a`, { timing })
  first.on('message', () => undefined)
  await until('the poll', () => first.state === 'open')
  await until('one that begins with polling', async () => {
    const before = proxy.asked.length
    const next = open(`${proxy.origin}/streams/b`, { timing })
    next.on('message', () => undefined)
    await until('it to be open', () => next.state === 'open')
    expect(next.transport).toBe('long-poll')
    return !proxy.asked.slice(before).includes('text/event-stream')
  })
})

test('a path that died without a word is left', async () => {
  const server = await Server.start()
  let faults = 0
  const proxy = await Proxy.start(server, () => (faults++ ? { kind: 'none' } : { kind: 'stall', bytes: 900 }))
  const reader = open(`${proxy.origin}/streams/a`, { timing: { ...TIMING, silence: 1500 }, transport: ['fetch'] })
  const [lost, got] = [[] as string[], [] as unknown[]]
  reader.onerror = ({ code }) => lost.push(code)
  reader.on('message', ({ data }) => got.push(data))
  await until('it to be open', () => reader.state === 'open')
  await server.publish('a', [{ data: 'x'.repeat(1000) }])
  await until('the event', () => got.length)
  expect(lost).toEqual(['silent'])
})

test('errors that cannot mend end it, with their code', async () => {
  const server = await Server.start('create = false\n[[stream]]\nmatch = "closed"\nclosed = true\n[[stream]]\nmatch = "a"\n')
  for (const transport of BY) {
    const unknown = open(`${server.origin}/streams/b`, { transport: [transport] })
    const failure = await take(unknown, 1).catch((err: unknown) => err)
    expect(failure).toBeInstanceOf(ProblemError)
    expect(failure).toBeInstanceOf(RiachoError)
    expect(failure).toMatchObject({ code: 'stream_unknown', status: 404, retry: false })
    expect(unknown.error).toBe(failure)
    const bad = open(`${server.origin}/streams/a`, { from: 'yesterday', transport: [transport] })
    await expect(take(bad, 1)).rejects.toMatchObject({ code: 'from_invalid' })
  }
  for (const transport of BY) {
    const closed = open(`${server.origin}/streams/closed`, { transport: [transport] })
    expect(await take(closed, 1), transport).toEqual([])
    expect(closed.error?.code).toBe('stream_closed')
  }
})

test('close and abort end it', async () => {
  const server = await Server.start()
  const abort = new AbortController()
  const [closed, aborted] = [open(`${server.origin}/streams/a`), open(`${server.origin}/streams/a`, { signal: abort.signal })]
  const loops = [take(closed, 1), take(aborted, 1)]
  await until('both to be open', () => closed.state === 'open' && aborted.state === 'open')
  closed.close()
  abort.abort()
  expect(await Promise.all(loops)).toEqual([[], []])
  expect([closed.error?.code, aborted.error?.code]).toEqual(['closed', 'aborted'])
  expect(closed.state).toBe('closed')
  const never = open(`${server.origin}/streams/a`, { signal: AbortSignal.abort() })
  expect(await take(never, 1)).toEqual([])
})

test('headers are asked for anew at each connection', async () => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, none)
  let tokens = 0
  const seen: (string | null)[] = []
  const reader = open(`${proxy.origin}/streams/a`, {
    headers: async () => ({ authorization: `Bearer ${++tokens}` }),
    fetch: (input, init) => {
      seen.push(new Headers(init?.headers).get('authorization'))
      return fetch(input, init)
    },
  })
  reader.on('message', () => undefined)
  await until('it to be open', () => reader.state === 'open')
  proxy.cut()
  await until('it to be open again', () => tokens === 2 && reader.state === 'open')
  expect(seen).toEqual(['Bearer 1', 'Bearer 2'])
})

test('a slow reader holds the connection up, and loses nothing', async () => {
  const server = await Server.start()
  const COUNT = 5_000
  await server.publish('n', Array.from({ length: COUNT }, (_, data) => ({ data })))
  const reader = open(`${server.origin}/streams/n`, { from: 'earliest' })
  const got: unknown[] = []
  let pauses = 0
  for await (const { data } of reader) {
    if (got.length % 500 === 0) await until('the pause', () => reader.state === 'paused' || got.length > COUNT - 1_100).then(() => (pauses += 1))
    if (got.push(data) === COUNT) break
  }
  expect(got).toEqual(Array.from({ length: COUNT }, (_, i) => i))
  expect(pauses).toBeGreaterThan(2)
})

test.each(BY)('streams come and go on a live connection without a gap, by %s', async (transport) => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, none)
  const reader = open(`${proxy.origin}/streams/a`, { transport: [transport] })
  const got: string[] = []
  reader.on('message', ({ stream, data }) => got.push(`${stream} ${data}`))
  await until('it to be open', () => reader.state === 'open')
  let count = 0
  const more = async (...names: string[]): Promise<void> => {
    for (const end = count + 30; count < end; count++) for (const name of names) await server.publish(name, [{ data: count }])
  }
  const publishing = more('a', 'b')
  for (const names of [['b'], ['c/*', 'd']]) {
    subscribe(reader, ...names)
    await until('some more', () => got.length > 5 * names.length && reader.state === 'open')
  }
  await publishing
  await more('a', 'b', 'c/d')
  await until('all of it', () => got.includes('c/d 59'))
  const of = (name: string): number[] => got.filter((text) => text.startsWith(`${name} `)).map((text) => +text.slice(name.length + 1))
  expect(of('a')).toEqual(Array.from({ length: 60 }, (_, i) => i))
  expect(of('b')).toEqual(Array.from({ length: of('b').length }, (_, i) => i + 60 - of('b').length))
  expect(of('c/d')).toEqual(Array.from({ length: 30 }, (_, i) => i + 30))
  unsubscribe(reader, 'a', 'c/*')
  await until('it to be open', () => reader.state === 'open')
  await more('a', 'b')
  await until('the last', () => got.includes('b 89'))
  expect(of('a').length).toBe(60)
  // One that would read nothing stays as it is.
  unsubscribe(reader, 'b', 'd')
  await server.publish('b', [{ data: 'still' }])
  await until('it', () => got.includes('b still'))
  if (transport === 'websocket') expect(proxy.upgrades).toBe(1)
})

test('where tabs cannot share, a stream connects alone', async () => {
  const server = await Server.start()
  await server.publish('a', [{ data: 1 }])
  const reader = open(`${server.origin}/streams/a`, { share: true, from: 'earliest' })
  expect((await take(reader, 1)).map(({ data }) => data)).toEqual([1])
  expect(reader.transport).toBe('fetch')
})
