// The connection in a world of the test's own: its clock, its timers, its chance, its network.

import { expect, test } from 'vitest'
import { connection, type ConnectOptions, type Sink, type World } from '../src/connect.js'
import { RiachoError } from '../src/error.js'
import { online, refused } from '../src/state.js'
// Loaded here, so that it takes no time later.
import '../src/refusal.js'
import '../src/transport/poll.js'

/** What surrounds one connection; time passes when the test says so. */
class Surroundings {
  clock = 0
  timers = new Map<number, { at: number; act: () => void }>()
  listeners = new Map<string, (event: { persisted?: boolean }) => void>()
  asked: { url: URL; at: number }[] = []
  online = true
  /** Answers each request. */
  answer: (url: URL) => Promise<Response> = () => Promise.reject(new Error('refused'))
  log: string[] = []
  #next = 1

  readonly world: World = {
    fetch: (input) => {
      const url = new URL(String(input))
      this.asked.push({ url, at: this.clock })
      return this.answer(url)
    },
    setTimeout: (act, ms) => {
      this.timers.set(this.#next, { at: this.clock + ms, act })
      return this.#next++
    },
    clearTimeout: (timer) => void this.timers.delete(timer as number),
    Date: { now: () => this.clock },
    Math: { random: () => 1 },
    navigator: Object.defineProperty({}, 'onLine', { get: () => this.online }),
    addEventListener: (type, listener, { signal }) => {
      this.listeners.set(type, listener)
      signal.addEventListener('abort', () => this.listeners.delete(type))
    },
  }

  connect(options: ConnectOptions = {}) {
    const sink: Sink = {
      cursor: '',
      types: () => [],
      select: () => undefined,
      event: (type, body, id) => {
        sink.cursor = id
        this.log.push(`${type} ${JSON.stringify(body)}`)
      },
      mark: (id) => (sink.cursor = id),
      changed: (place, error?: RiachoError) => this.log.push(error ? `${place} ${error.code}` : place),
    }
    // Each its own origin: what worked is remembered by origin.
    const made = connection(`http://${crypto.randomUUID()}.test/streams/a`, { transport: ['fetch'], ...options }, sink, this.world)
    made._start()
    return made
  }

  /** Lets promises settle. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise<void>((next) => setImmediate(next))
  }

  /** Lets `ms` pass, timer after timer. */
  async pass(ms: number): Promise<void> {
    const end = this.clock + ms
    for (await this.settle(); ; await this.settle()) {
      const [id, timer] = [...this.timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? []
      if (!id || !timer || timer.at > end) break
      this.clock = Math.max(this.clock, timer.at)
      this.timers.delete(id)
      timer.act()
    }
    this.clock = end
  }
}

/** An event stream that begins with `text` and goes on. */
function endless(text: string): { response: Response; say: (text: string) => void; end: () => void } {
  let controller!: ReadableStreamDefaultController<Uint8Array>
  const body = new ReadableStream<Uint8Array>({ start: (made) => void (controller = made) })
  const say = (text: string): void => controller.enqueue(new TextEncoder().encode(text))
  say(text)
  return { response: new Response(body, { headers: { 'content-type': 'text/event-stream' } }), say, end: () => controller.close() }
}

test('the span doubles with each failure up to the cap, and the server\'s time is the least', async () => {
  const around = new Surroundings()
  around.connect({ timing: { cap: 5_000 } })
  await around.pass(30_000)
  const gaps = around.asked.map(({ at }, i) => at - (around.asked[i - 1]?.at ?? 0))
  expect(gaps.slice(0, 6)).toEqual([0, 1_000, 2_000, 4_000, 5_000, 5_000])
  expect(around.log.slice(0, 2)).toEqual(['waiting network', 'waiting network'])

  const told = new Surroundings()
  told.world.Math.random = () => 0
  told.answer = () => {
    const { response, end } = endless('id: 1-1\nretry: 700\n\n')
    end()
    return Promise.resolve(response)
  }
  told.connect()
  await told.pass(2_200)
  expect(told.asked.map(({ at }) => at)).toEqual([0, 700, 1_400, 2_100])
  expect(told.asked.map(({ url }) => url.searchParams.get('last_event_id'))).toEqual([null, '1-1', '1-1', '1-1'])
})

test('after a healthy while failures are forgotten, before it they are not', async () => {
  const connected = async (open: number): Promise<(number | undefined)[]> => {
    const around = new Surroundings()
    let last = endless('')
    around.answer = () => Promise.resolve((last = endless('id: 1-1\n\n')).response)
    around.connect()
    for (let i = 0; i < 2; i++) {
      await around.pass(0)
      last.end()
      await around.pass(open)
    }
    await around.pass(0)
    last.end()
    await around.pass(10_000)
    return around.asked.map(({ at }) => at)
  }
  expect((await connected(30_000)).slice(0, 3)).toEqual([0, 1_000, 31_000])
  expect((await connected(5_000)).slice(0, 4)).toEqual([0, 1_000, 7_000, 14_000])
})

test('silence ends a connection, and heartbeats keep it', async () => {
  const around = new Surroundings()
  const stream = endless('id: 1-1\n\n')
  around.answer = () => Promise.resolve(stream.response)
  around.connect()
  for (let i = 0; i < 10; i++) {
    await around.pass(30_000)
    stream.say(':\n\n')
  }
  await around.settle()
  expect(around.log).toEqual(['open'])
  await around.pass(44_000)
  expect(around.log).toEqual(['open'])
  await around.pass(1_000)
  expect(around.log).toEqual(['open', 'waiting silent'])
})

test('after the machine slept it connects at once', async () => {
  const around = new Surroundings()
  around.answer = () => Promise.resolve(endless('id: 1-1\n\n').response)
  around.connect()
  await around.pass(1_000)
  // Timers stop while it sleeps: the next one is late by hours.
  around.clock += 8 * 3_600_000
  await around.pass(0)
  expect(around.asked.map(({ at }) => at)).toEqual([0, 8 * 3_600_000 + 1_000])
})

test('offline nothing is tried; online, and a page that comes back, connect at once', async () => {
  const around = new Surroundings()
  around.online = false
  const made = around.connect()
  await around.pass(100_000)
  expect([made._state.place, around.asked.length]).toEqual(['offline', 0])
  around.answer = () => Promise.resolve(endless('id: 1-1\n\n').response)
  around.listeners.get('online')?.({})
  await around.pass(0)
  expect([made._state.place, around.asked.length]).toEqual(['open', 1])
  around.listeners.get('pageshow')?.({ persisted: false })
  expect(around.asked.length).toBe(1)
  around.listeners.get('pageshow')?.({ persisted: true })
  await around.pass(0)
  expect([made._state.place, around.asked.length]).toEqual(['open', 2])
  around.listeners.get('offline')?.({})
  expect(made._state.place).toBe('offline')
  made._tell(online)
  await around.settle()
  made._tell(refused, new RiachoError('closed', false))
  expect([around.listeners.size, around.timers.size]).toEqual([0, 0])
})

test('an answer that is no event stream is tried again, and data that is no JSON is told', async () => {
  const around = new Surroundings()
  around.answer = () => Promise.resolve(new Response('<html>', { headers: { 'content-type': 'text/html' } }))
  around.connect()
  await around.pass(0)
  expect(around.log).toEqual(['waiting http'])
  around.answer = () => Promise.resolve(endless('id: 1-1\n\ndata: {\n\n').response)
  await around.pass(1_000)
  expect(around.log.slice(1)).toEqual(['open', 'waiting protocol'])
})

test('polls that something on the way ends early are held for less, and those that fail at once are not asked again and again', async () => {
  const around = new Surroundings()
  const page = (): Response => new Response('{"events":[],"cursor":"1-1","more":false}', { headers: { 'content-type': 'application/json' } })
  const waits: (string | null)[] = []
  around.answer = (url) => {
    const wait = url.searchParams.get('wait')
    waits.push(wait)
    // It waits for 8 s.
    return new Promise((answer) => {
      around.world.setTimeout(() => answer(wait && parseInt(wait) > 8_000 ? new Response('', { status: 504 }) : page()), wait ? Math.min(parseInt(wait), 8_000) : 0)
    })
  }
  around.connect({ transport: ['long-poll'] })
  await around.pass(19_000)
  expect([waits, around.log]).toEqual([[null, '25000ms', '4000ms', '4000ms', '4000ms'], ['open']])

  const broken = new Surroundings()
  broken.answer = (url) => Promise.resolve(url.searchParams.has('wait') ? new Response('', { status: 502 }) : page())
  broken.connect({ transport: ['long-poll'] })
  await broken.pass(500)
  expect(broken.asked.length).toBe(3)
  expect(broken.log).toEqual(['open', 'waiting http'])
})
