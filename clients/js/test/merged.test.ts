// What a hub reads by fetch: one connection for all streams of all tabs, whoever comes and goes, and nobody misses or repeats anything.

import { expect, onTestFinished, test } from 'vitest'
import type { Transport } from '../src/index.js'
import { hub, type FromHub } from '../src/transport/hub.js'
import { Proxy, type Fault } from './support/proxy.js'
import { Server } from './support/server.js'
import { seeded, until } from './support/wait.js'

const TIMING = { head: 3000, first: 1000, silence: 10_000, healthy: 300, cap: 200 }

type Event = { id: string; type: string; stream: string; data: unknown }

/** A hub, and what its members are told. */
function opened(proxy: Proxy, transport: Transport[]) {
  const members = new Map<string, Member>()
  const served = hub((_, message: FromHub) => 'to' in message && members.get(message.to)?.take(message))
  let count = 0
  onTestFinished(() => served.end())
  class Member {
    readonly got: Event[] = []
    readonly said: string[] = []
    cursor = ''
    #name = ''

    constructor(readonly path: string) {
      this.join()
    }

    /** Again, it goes on from its cursor. */
    join(): void {
      members.set((this.#name = `${++count}`), this)
      const url = new URL(this.path, proxy.origin)
      url.searchParams.set('envelope', '1')
      served.take('tab', { join: this.#name, url: url.href, cursor: this.cursor, table: false, options: { transport, timing: TIMING, reconnectionTime: 20 } })
    }

    leave(): void {
      members.delete(this.#name)
      served.take('tab', { leave: this.#name })
    }

    take(message: FromHub): void {
      if (!('say' in message)) return
      if (message.say === 'changed') this.said.push(message.error?.code ?? message.place)
      if (message.say === 'mark') this.cursor = message.id
      if (message.say !== 'event') return
      this.cursor = message.id
      const { stream = '', data = message.body } = message.body as Partial<Event>
      this.got.push({ id: message.id, type: message.type, stream, data })
    }

    data(): unknown[] {
      return this.got.map(({ data }) => data)
    }
  }
  return { served, read: (path: string) => new Member(path) }
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

test('streams of many tabs are on one connection, also those that come later, and by patterns', async () => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const { read } = opened(proxy, ['fetch'])
  await server.publish('a/0', [{ data: 0 }])
  const members = [read('/streams/a%2F0?from=earliest'), read('/streams?stream=a/1&stream=b'), read('/streams?stream=a/*'), read('/streams')]
  await until('all to be open', () => members.every(({ said }) => said.includes('open')))
  for (let n = 1; n < 5; n++) await server.publish('a/0', [{ data: n }])
  members.push(read('/streams/a/2?from=earliest'))
  await server.publish('a/1', [{ data: 'x', type: 't' }])
  await server.publish('a/2', [{ data: { y: 1 } }])
  await server.publish('c', [{ data: 'c' }])
  await server.publish('b', [{ data: 'end' }])
  const [zero, one, under, all, two] = members
  await until('the last', () => all?.data().at(-1) === 'end' && one?.data().at(-1) === 'end' && two?.got.length)
  await until('the rest', () => zero?.got.length === 5 && under?.got.length === 6)
  expect(zero?.data()).toEqual(numbers(5))
  expect(one?.got.map(({ type, stream, data }) => [type, stream, data])).toEqual([['t', 'a/1', 'x'], ['message', 'b', 'end']])
  expect(under?.data()).toEqual([1, 2, 3, 4, 'x', { y: 1 }])
  expect(all?.data()).toEqual([1, 2, 3, 4, 'x', { y: 1 }, 'c', 'end'])
  expect(proxy.streaming.size).toBe(1)
})

test('a stream that is refused or closed ends its reader alone, and one that was emptied is told to its readers', async () => {
  const server = await Server.start('create = false\n[[stream]]\nmatch = "a"\n[[stream]]\nmatch = "b"\n[[stream]]\nmatch = "shut"\nclosed = true\n')
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const { read } = opened(proxy, ['fetch'])
  await server.publish('a', [{ data: 0 }])
  const [a, b, none, shut] = [read('/streams/a'), read('/streams/b'), read('/streams/none'), read('/streams/shut')]
  await until('answers', () => none.said.length && shut.said.length && a.said.includes('open') && b.said.includes('open'))
  expect([none.said.at(-1), shut.said.at(-1)]).toEqual(['stream_unknown', 'stream_closed'])
  await server.publish('a', [{ data: 1 }])
  await until('it', () => a.got.length)
  await server.ask('DELETE', '/streams/a')
  await server.publish('b', [{ data: 2 }])
  await until('the reset, and the other', () => a.got.length === 2 && b.got.length)
  expect(a?.got[1]).toMatchObject({ type: 'riacho.reset', data: { reason: 'deleted', streams: ['a'] } })
  expect(b.data()).toEqual([2])
})

test('a tab that says whom it has: those that left unheard are gone, and it hears who is not known', async () => {
  const server = await Server.start()
  const pongs: FromHub[] = []
  const { take, end } = hub((_, message) => 'pong' in message && pongs.push(message))
  onTestFinished(end)
  const join = (name: string): void =>
    take('tab', { join: name, url: `${server.origin}/streams/${name}?envelope=1`, cursor: '', table: false, options: { transport: ['fetch'], timing: TIMING } })
  const subscribers = async (): Promise<number> =>
    ((await server.ask('GET', '/streams')) as { streams: { subscribers: number }[] }).streams.reduce((sum, stream) => sum + stream.subscribers, 0)
  await server.publish('a', [{ data: 0 }])
  await server.publish('b', [{ data: 0 }])
  for (const name of ['a', 'b']) join(name)
  await until('both to be read', async () => (await subscribers()) === 2)
  take('tab', { ping: ['a', 'c'] })
  await until('one to be left', async () => (await subscribers()) === 1)
  expect(pongs).toEqual([{ pong: { a: expect.any(Number) as number, c: undefined } }])
  take('other', { ping: [] })
  take('tab', { ping: ['a', 'b'] })
  expect(pongs.at(-1)).toEqual({ pong: { a: expect.any(Number) as number, b: undefined } })
})

test('a proxy that holds streams back: all of them by one poll', async () => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, () => ({ kind: 'hold', head: true }))
  const { read } = opened(proxy, ['fetch', 'long-poll'])
  const members = numbers(10).map((n) => read(`/streams/n${n}`))
  await until('a poll', () => proxy.asked.filter((accept) => accept === 'text/event-stream').length === 1 && members.every(({ said }) => said.includes('open')))
  for (const n of numbers(10)) await server.publish(`n${n}`, numbers(20).map((data) => ({ data })))
  await until('all of it', () => members.every(({ got }) => got.length === 20))
  for (const member of members) expect(member.data()).toEqual(numbers(20))
})

test('members come, go and come again over random faults, and each has everything once', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed)
  const below = (n: number): number => Math.floor(random() * n)
  const server = await Server.start()
  let calm = false
  const faults: (() => Fault)[] = [
    () => ({ kind: 'none' }), () => ({ kind: 'none' }), () => ({ kind: 'delay', ms: below(20) }), () => ({ kind: 'cut', bytes: below(20_000) }), () => ({ kind: 'status', status: 502 }),
  ]
  const proxy = await Proxy.start(server, () => (calm ? { kind: 'none' } : (faults[below(faults.length)]?.() ?? { kind: 'none' })))
  const { read } = opened(proxy, ['fetch'])
  const [members, away] = [[] as ReturnType<typeof read>[], new Set<ReturnType<typeof read>>()]
  const counts = numbers(6).map(() => 0)
  const publish = async (): Promise<void> => {
    const batch = numbers(1 + below(30)).map(() => {
      const n = below(6)
      return { stream: `n/${n}`, data: (counts[n] = (counts[n] as number) + 1) - 1 }
    })
    await server.ask('POST', '/streams', batch.map((event) => JSON.stringify(event)).join('\n'), 'application/x-ndjson')
  }
  for (let round = 0; round < 300; round++) {
    await publish()
    const one = members[below(members.length)]
    if (members.length < 12 && below(8) === 0) members.push(read(below(4) ? `/streams/n/${below(6)}?from=earliest` : '/streams?stream=n/*&from=earliest'))
    else if (one && below(6) === 0) {
      if (away.delete(one)) one.join()
      else {
        one.leave()
        away.add(one)
      }
    }
    if (below(40) === 0) proxy.cut()
    if (below(3) === 0) await new Promise((next) => setTimeout(next, below(30)))
  }
  calm = true
  proxy.cut()
  for (const member of away) member.join()
  await publish()
  const total = counts.reduce((sum, count) => sum + count, 0)
  const wanted = ({ path }: { path: string }): number => (/\*/.test(path) ? total : (counts[Number(path[11])] as number))
  await until(`all of it (seed ${seed})`, () => members.every((member) => member.got.length >= wanted(member)))
  for (const member of members) {
    const next = counts.map(() => 0)
    expect(member.got.length, `seed ${seed}, ${member.path}`).toBe(wanted(member))
    for (const { stream, data } of member.got) {
      const n = Number(stream[2])
      expect(data, `seed ${seed}, ${member.path}`).toBe(next[n])
      next[n] = (next[n] as number) + 1
    }
  }
  await until('one connection', () => proxy.streaming.size === 1)
})
