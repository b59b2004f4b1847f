// Connections: the only module that touches fetch, EventSource and timers, all of them injected (`World`). It acts on what
// state.ts decides and tells it what happened. It must not know what events mean beyond `riacho.goodbye`.

import { ProblemError, RiachoError, type Problem } from './error.js'
import { parser } from './parse.js'
import { step, type Effect, type Event, type Place, type State, type Transport, type Watch } from './state.js'

/** What the client needs of its surroundings: a part of `globalThis`. */
export interface World {
  fetch: typeof fetch
  EventSource?: typeof EventSource
  setTimeout(act: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
  /** Wall-clock time: it goes on while the machine sleeps. */
  Date: { now(): number }
  Math: { random(): number }
  navigator?: { onLine?: boolean }
  location?: { href: string }
  /** Hears `online`, `offline` and `pageshow`. */
  addEventListener?(type: string, listener: (event: globalThis.Event) => void, options: { signal: AbortSignal }): void
}

/** How to reach the server; the same for streams and tables. */
export interface ConnectOptions {
  /** Headers for each request, or a function that gives them, asked anew for each (a token). Excludes a native EventSource. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>)
  /** Send cookies to another origin. */
  withCredentials?: boolean
  /** Ends it, with the code `aborted`. */
  signal?: AbortSignal
  /** Used in place of the global one. Excludes a native EventSource. */
  fetch?: typeof fetch
  /**
   * The transports that may be used, the best first. Default: what fits, of `eventsource`, `fetch`, `long-poll`. By
   * `eventsource` a `for await` gets only types that `on` was called with, and `message`.
   */
  transport?: readonly Transport[]
  /** The span of the first reconnection, in milliseconds; it doubles with each failure. The server's `retry:` is the minimum. */
  reconnectionTime?: number
  timing?: Partial<Timing>
}

/** Times in milliseconds, for unusual networks and for tests. */
export interface Timing {
  /** Until the head of an answer comes: 10 s. */
  head: number
  /** Until the first block comes after the head: 5 s. */
  first: number
  /** Of silence until a connection is taken for dead: 45 s, three heartbeats. */
  silence: number
  /** Until an open connection counts as healthy: 10 s. */
  healthy: number
  /** Until a better transport is tried again: 2 min. */
  better: number
  /** How long a long-poll is held: 25 s. */
  poll: number
  /** The shortest time and the longest span of a reconnection: 100 ms and 30 s. */
  floor: number
  cap: number
}

/** Who is connected: a stream or a table. */
export interface Sink {
  /** The newest cursor, or empty. */
  cursor: string
  /** The types of events that are wanted, for a native EventSource. */
  types(): Iterable<string>
  /** Adds what selects events, and the start, to a request's URL. */
  select(params: URLSearchParams): void
  /** A connection begins: what is incomplete will come again. */
  begin?(): void
  /** An event; `body` is its JSON. */
  event(type: string, body: unknown, id: string): void
  /** `id` is a cursor, between events. */
  mark(id: string): void
  /** Takes what is read as JSON without a cursor. Where it is absent, that is a page. */
  snapshot?(body: unknown): void
  /** It is open, or `error` says why not. */
  changed(place: Place, error?: RiachoError): void
}

/** An event in a page: of a stream, of a table, or the server's own. */
interface PageEvent {
  id?: string
  type?: string
  data?: unknown
  headers?: object
}

interface Page {
  events: PageEvent[]
  cursor: string
  more: boolean
}

/** Requests to the server of one URL. */
export interface Requests {
  readonly url: URL
  readonly ask: (url: URL, accept: string, init?: RequestInit & { headers?: Record<string, string> }) => Promise<Response>
}

export type Connection = ReturnType<typeof connection>

/** @throws TypeError where `url` is relative and there is no page */
export const requests = (url: string | URL, options: ConnectOptions, world: World = globalThis): Requests => ({
  url: new URL(url, world.location?.href),
  /**
   * Asks, and gives the answer where it is a success of the type `accept`.
   *
   * @throws RiachoError with the server's code, `stream_closed` for 204, `http` for what is not the server's, `network`
   */
  ask: async (url, accept, init = {}) => {
    const { headers, signal = null, withCredentials, fetch = world.fetch.bind(world) } = options
    let response
    try {
      const own = typeof headers === 'function' ? await headers() : headers
      const credentials = withCredentials ? 'include' : 'same-origin'
      response = await fetch(url, { cache: 'no-store', credentials, signal, ...init, headers: { ...own, accept, ...init.headers } })
    } catch (cause) {
      throw new RiachoError('network', 'no answer', true, cause)
    }
    const { status } = response
    const type = response.headers.get('content-type') ?? ''
    if (response.ok && type.startsWith(accept)) return response
    if (status === 204) throw new RiachoError('stream_closed', 'the stream is closed', false)
    const problem = (await response.json().catch(() => 0)) as Problem
    if (problem?.code) throw new ProblemError(status, problem)
    // Of a proxy's 4xx those that pass by themselves are tried again.
    throw new RiachoError('http', `${status} ${type}`, !/^4(?!08|25|29)/.test(`${status}`))
  },
})

/** Keeps `sink` connected, by whatever transport works, from `start` until it is closed. */
export const connection = ({ url, ask }: Requests, options: ConnectOptions, sink: Sink, world: World = globalThis) => {
  const timing: Timing = { ...TIMING, ...options.timing }
  const timers: Partial<Record<'watch' | 'wait' | 'alarm', unknown>> = {}
  const now = (): number => world.Date.now()
  const events: Event[] = []
  let session = new AbortController()
  let source: EventSource | undefined
  /** When something last came, and whether something came after this connection was open. */
  let alive = 0
  let beaten = false
  /** What an EventSource is silent about was asked for, and is not answered yet. */
  let probing = false
  /** The least time before a reconnection, in milliseconds, if the server told it. */
  let retry: number | undefined
  /** Ends listening. */
  const ended = new AbortController()

  const order = (native: unknown): readonly Transport[] =>
    options.transport ?? (native && !options.headers && !options.fetch ? ALL : ALL.slice(1))
  let state: State = { place: 'idle', order: order(world.EventSource), index: 0, failures: 0 }

  /** One event after the other, also where acting on one causes the next. */
  const tell = (event: Event): void => {
    if (events.push(event) > 1) return
    for (let next; (next = events[0]); events.shift()) {
      const [after, effects] = step(state, next)
      state = after
      effects.forEach(act)
    }
  }

  const act = (effect: Effect): void => {
    switch (effect[0]) {
      case 'connect':
        disconnect()
        connect(effect[1])
        break
      case 'disconnect':
        disconnect()
        break
      case 'watch':
        watch(timing[effect[1]])
        break
      case 'wait': {
        const span = Math.min(timing.cap, (options.reconnectionTime ?? 1000) * 2 ** effect[1].failures)
        const ms = Math.max(retry ?? timing.floor, world.Math.random() * span)
        later('wait', ms, () => tell({ on: 'due' }))
        break
      }
      case 'probe':
        probe(session.signal).catch(fail(session.signal))
        break
      case 'alarm':
        later('alarm', timing[effect[1]], () => tell({ on: effect[1] }))
        break
      case 'remember':
        remembered.set(url.origin, [effect[1], now()])
        break
      case 'say':
        if (state.place === 'closed') ended.abort()
        sink.changed(state.place, effect[1])
    }
  }

  /** Acts later, unless the timer is set anew; without an act it is stopped. */
  const later = (name: keyof typeof timers, ms = 0, act?: () => void): void => {
    world.clearTimeout(timers[name])
    timers[name] = act && world.setTimeout(act, ms)
  }

  const disconnect = (): void => {
    session.abort()
    source?.close()
    source = undefined
    later('watch')
    later('wait')
    later('alarm')
  }

  /** From now on `patience` may pass between two signs of life. */
  const watch = (patience: number): void => {
    alive = now()
    const look = (): void => {
      const left = alive + patience - now()
      // Looked at often and by the wall clock, since timers stop while a machine sleeps.
      if (left > 0) later('watch', Math.min(left, LOOK), look)
      else if (state.place === 'open' && source && !probing) tell({ on: 'silent' })
      // So late a timer means that the machine slept.
      else if (left < -LOOK) tell({ on: 'wake' })
      // Where heartbeats had come the path is dead; where they never did, something on it holds them back.
      else tell({ on: beaten || probing ? 'lost' : 'unfit', error: new RiachoError('silent', 'nothing came in time') })
    }
    look()
  }

  const connect = (transport: Transport): void => {
    const { signal } = (session = new AbortController())
    beaten = probing = false
    sink.begin?.()
    const by = { eventsource: native, fetch: read, 'long-poll': poll }
    by[transport](signal).catch(fail(signal))
  }

  /** What an error means for the connection. */
  const fail = (signal: AbortSignal) => (err: unknown): void => {
    if (signal.aborted) return
    const error = err instanceof RiachoError ? err : new RiachoError('protocol', `${err}`, true, err)
    tell({ on: error.code === 'unfit' ? 'unfit' : error.retry ? 'lost' : 'refused', error })
  }

  /** The URL from the cursor or the start on. */
  const from = (): URL => {
    const target = new URL(url)
    sink.select(target.searchParams)
    if (sink.cursor) target.searchParams.set('last_event_id', sink.cursor)
    return target
  }

  const came = (): void => {
    alive = now()
    if (state.place === 'connecting') tell({ on: 'opened' })
    else beaten = true
  }

  const take = (type: string, body: unknown, id: string): void => {
    if (type !== GOODBYE) return sink.event(type, body, id)
    if (id) sink.mark(id)
    retry = (body as { retry_ms: number }).retry_ms
    throw new RiachoError('drain', 'the server restarts')
  }

  /** Reads events by fetch; where `first`, only to the end of the first block: where it begins, and how long to wait. */
  const read = async (signal: AbortSignal, first?: boolean): Promise<void> => {
    const { body } = await ask(from(), EVENT_STREAM, { signal })
    signal.throwIfAborted()
    tell({ on: 'head' })
    const reader = body?.getReader()
    let over = false
    const found = (then: () => void): void => {
      if (over || signal.aborted) return
      over = !!first
      if (!first) came()
      then()
    }
    const push = parser({
      event: ({ type, data, id }) => found(() => first || take(type, JSON.parse(data), id)),
      block: (id) => found(() => id && sink.mark(id)),
      retry: (ms) => {
        retry = ms
      },
    })
    while (!over) {
      const { value } = (await reader?.read()) ?? {}
      signal.throwIfAborted()
      if (!value) throw new RiachoError('network', 'the connection ended')
      alive = now()
      push(value)
    }
    drop(reader)
  }

  const native = async (signal: AbortSignal): Promise<void> => {
    // An EventSource does not show the first block. Without its cursor, what comes until the first event could be lost.
    if (retry === undefined || !(sink.cursor || sink.snapshot)) {
      await read(signal, true)
      signal.throwIfAborted()
      watch(timing.head)
    }
    const target = from()
    const opened = (source = new (world.EventSource as typeof EventSource)(target, options))
    opened.onopen = came
    opened.onerror = () => {
      // It would come back by itself, but at a fixed pace and also while offline. Where it gave up, it does not say why.
      const fatal = opened.readyState > 1
      opened.close()
      const why = async (): Promise<void> => {
        if (!fatal) throw new RiachoError('network', 'the connection ended')
        drop((await ask(target, EVENT_STREAM, { signal })).body)
        throw new RiachoError('unfit', 'fetch is given what EventSource is not')
      }
      why().catch(fail(signal))
    }
    for (const type of [...sink.types(), GOODBYE]) listen(type)
  }

  const listen = (type: string): void => source?.addEventListener(type, heard)
  const heard = ({ target, type, data, lastEventId }: MessageEvent<string>): void => {
    if (target !== source) return
    came()
    try {
      take(type, JSON.parse(data), lastEventId)
    } catch (err) {
      fail(session.signal)(err)
    }
  }

  const page = async (target: URL, signal: AbortSignal): Promise<Page> => {
    const body: unknown = await (await ask(target, 'application/json', { signal })).json()
    signal.throwIfAborted()
    return body as Page
  }

  const poll = async (signal: AbortSignal): Promise<void> => {
    for (let first = true; ; first = false) {
      const { cursor, snapshot } = sink
      const target = from()
      const began = now()
      // The first is answered at once: then it is known that the way is open.
      const wait = cursor && !first ? timing.poll : 0
      if (wait) target.searchParams.set('wait', `${wait}ms`)
      watch(wait + timing.head)
      const got = await page(target, signal)
      came()
      if (!cursor && snapshot) {
        snapshot(got)
        continue
      }
      for (const event of got.events) {
        const type = typeOf(event)
        take(type, type.startsWith(OWN) ? event.data : event, event.id ?? '')
        signal.throwIfAborted()
      }
      sink.mark(got.cursor)
      // A server that drains does not hold requests; it is not asked again and again.
      if (!got.events.length && now() - began < wait / 2) throw new RiachoError('drain', 'the server restarts')
    }
  }

  /** An EventSource was silent: of heartbeats it says nothing. Is anything missing? */
  const probe = async (signal: AbortSignal): Promise<void> => {
    const { cursor } = sink
    probing = true
    watch(timing.head)
    const { events, cursor: after } = await page(from(), signal)
    probing = false
    watch(timing.silence)
    if (cursor !== sink.cursor) return
    if (events.some((event) => [...sink.types()].includes(typeOf(event)))) throw new RiachoError('unfit', 'events did not come')
    sink.mark(after)
  }

  const sign = ({ type, persisted }: { type: string; persisted?: boolean }): void => {
    if (type === 'abort') close(new RiachoError('aborted', 'its signal was aborted', false))
    else if (type !== 'pageshow') tell({ on: type as 'online' | 'offline' })
    else if (persisted) tell({ on: 'wake' })
  }
  const close = (error: RiachoError): void => tell({ on: 'refused', error })

  return {
    state: () => state,
    tell,
    close,
    start: (): void => {
      if (state.place !== 'idle') return
      const [transport, at] = remembered.get(url.origin) ?? []
      const known = at && now() - at < timing.better ? state.order.indexOf(transport as Transport) : 0
      for (const type of ['online', 'offline', 'pageshow']) world.addEventListener?.(type, sign, ended)
      options.signal?.addEventListener('abort', sign, ended)
      if (options.signal?.aborted) sign({ type: 'abort' })
      tell({ on: 'start', online: world.navigator?.onLine !== false, index: Math.max(known, 0) })
    },
    /** One more type is wanted, or all types, which an EventSource cannot give. */
    want: (type?: string): void => (type ? listen(type) : tell({ on: 'order', order: order(0) })),
  }
}

/** Reads no further. */
const drop = (body: { cancel(): Promise<void> } | null | undefined): void => void body?.cancel().catch(() => undefined)

/** The type of an event in a page, as SSE would name it: changes of tables have none, and `type` is their table. */
const typeOf = ({ headers, type }: PageEvent): string => (!headers && type) || 'message'

/** What worked and when, by origin. */
const remembered = new Map<string, [Transport, number]>()

const TIMING: Record<Watch, number> & Timing = {
  head: 10_000, first: 5_000, silence: 45_000, healthy: 10_000, better: 120_000, poll: 25_000, floor: 100, cap: 30_000,
}
const ALL: readonly Transport[] = ['eventsource', 'fetch', 'long-poll']
const EVENT_STREAM = 'text/event-stream'
/** How types of the server's own events begin. */
export const OWN = 'riacho.'
const GOODBYE = 'riacho.goodbye'
/** How often, in milliseconds, it is looked whether anything came. */
const LOOK = 5_000
