// Whatever stands between: the client ends live on some transport, and over random faults loses and repeats nothing.

import { expect, onTestFinished, test } from 'vitest'
import { stream, type Timing, type Transport } from '../src/index.js'
import { Proxy, type Fault } from './support/proxy.js'
import { startHaproxy, startNginx } from './support/real.js'
import { Server } from './support/server.js'
import { PATIENCE, seeded, until } from './support/wait.js'

const TIMING: Partial<Timing> = { head: 1500, first: 500, silence: 3000, healthy: 2000, better: 120_000, cap: 200 }
const BUFFERED = 'proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;'

interface Way {
  start: (server: Server) => Promise<number>
  transport?: Transport[]
  /** What it ends with. */
  ends: Transport
  heartbeat?: string
}

const WAYS: Record<string, Way> = {
  'nginx as it comes': { start: (server) => startNginx(server), ends: 'fetch' },
  'nginx that buffers whatever the server says': { start: (server) => startNginx(server, BUFFERED), ends: 'long-poll' },
  'nginx that passes Upgrade on, and buffers': {
    start: (server) => startNginx(server, BUFFERED, true), transport: ['fetch', 'websocket', 'long-poll'], ends: 'websocket',
  },
  'nginx that knows no Upgrade, asked for WebSocket': { start: (server) => startNginx(server), transport: ['websocket', 'fetch'], ends: 'fetch' },
  'HAProxy that waits for 1.5 s': { start: (server) => startHaproxy(server, '1500ms'), ends: 'long-poll', heartbeat: '60s' },
  'HAProxy that waits for longer than heartbeats take': { start: (server) => startHaproxy(server, '3s'), ends: 'fetch' },
  'HAProxy, asked for WebSocket': { start: (server) => startHaproxy(server, '3s'), transport: ['websocket', 'fetch'], ends: 'websocket' },
}

/** Faults of a network between the client and a real proxy. */
const faults = (random: () => number): (() => Fault)[] => [
  () => ({ kind: 'cut', bytes: Math.floor(random() ** 2 * 200_000) }),
  () => ({ kind: 'cut', bytes: Math.floor(random() * 2_000) }),
  () => ({ kind: 'stall', bytes: Math.floor(random() * 50_000) }),
  () => ({ kind: 'delay', ms: Math.floor(random() * 30) }),
  () => ({ kind: 'swallow' }),
  () => ({ kind: 'status', status: 502 }),
  () => ({ kind: 'strip' }),
]

test.each(Object.entries(WAYS))('%s', { timeout: 120_000 }, async (name, { start, transport, ends, heartbeat }) => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed)
  const server = await Server.start('', heartbeat)
  const port = await start(server)
  let calm = true
  const all = faults(random)
  const proxy = await Proxy.start({ port }, () => (calm ? { kind: 'none' } : (all[Math.floor(random() * all.length)]?.() ?? { kind: 'none' })))
  const reader = stream<number>(`${proxy.origin}/streams/n`, { from: 'earliest', timing: TIMING, reconnectionTime: 20, ...(transport && { transport }) })
  onTestFinished(() => reader.close())
  const got: number[] = []
  reader.on('message', ({ data }) => got.push(data))
  let count = 0
  const publish = async (more: number): Promise<void> => {
    const from = count
    count += more
    await server.publish('n', Array.from({ length: more }, (_, i) => ({ data: from + i })))
  }

  const began = Date.now()
  await until(`${ends}`, () => reader.state === 'open' && reader.transport === ends)
  const found = Date.now() - began
  // Live: each event is here before the next is published.
  for (let i = 0; i < 20; i++) {
    await publish(1)
    await until(`event ${i}`, () => got.length === count)
  }

  calm = false
  for (let i = 0; i < 200; i++) {
    await publish(100)
    if (i % 20 === 0) proxy.cut()
  }
  await until('faults, or all of it', () => proxy.count > 30 || got.length === count)
  calm = true
  proxy.cut()
  const calmed = Date.now()
  await until(`the last event (seed ${seed})`, () => got.at(-1) === count - 1)
  console.log(`${name}: ${ends} after ${found} ms; ${proxy.count} connections; all there ${Date.now() - calmed} ms after the last fault`)
  expect(got.length, `seed ${seed}`).toBe(count)
  expect(got.findIndex((number, i) => number !== i), `seed ${seed}`).toBe(-1)
  expect(Date.now() - calmed).toBeLessThan(PATIENCE)
})

/** A fault that begins while an event stream is open, and what the client says of it. */
const FAULTS: Record<string, { fault: Fault; code: string; ends: Transport }> = {
  'a cut': { fault: { kind: 'none' }, code: 'network', ends: 'fetch' },
  'an answer of a proxy in its place': { fault: { kind: 'status', status: 502 }, code: 'http', ends: 'fetch' },
  'a way that swallows what is asked': { fault: { kind: 'swallow' }, code: 'silent', ends: 'long-poll' },
  'a way that falls silent after the head': { fault: { kind: 'hold', head: true }, code: 'silent', ends: 'long-poll' },
  'a proxy that holds the answer back': { fault: { kind: 'hold', head: false }, code: 'silent', ends: 'long-poll' },
}

test.each(Object.entries(FAULTS))('live again after %s', async (name, { fault, code, ends }) => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const reader = stream<number>(`${proxy.origin}/streams/n`, { timing: TIMING, reconnectionTime: 20, transport: ['fetch', 'long-poll'] })
  onTestFinished(() => reader.close())
  const [got, codes] = [[] as number[], [] as string[]]
  reader.on('message', ({ data }) => got.push(data))
  reader.onerror = (error) => codes.push(error.code)
  await until('it to be open', () => reader.state === 'open')
  // The next connection has the fault, and those after it have none; a proxy that holds streams back does so always.
  let left = 1
  proxy.fault = () => (name.includes('holds') || left-- > 0 ? fault : { kind: 'none' })
  proxy.cut()
  await server.publish('n', [{ data: 1 }])
  const began = Date.now()
  await until('the event', () => got.length)
  console.log(`${name}: ${Date.now() - began} ms, ${codes.join(', ')}`)
  expect(codes).toContain(code)
  await until(ends, () => reader.state === 'open' && reader.transport === ends)
  await server.publish('n', [{ data: 2 }])
  await until('the next', () => got.length === 2)
  expect(got).toEqual([1, 2])
})
