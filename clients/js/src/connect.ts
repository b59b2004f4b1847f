// Connections: requests and timers, injected (`World`). It acts on what state.ts decides and tells it what happened; how bytes
// come is in transport/. It must not know what events mean beyond `riacho.goodbye`.

import { RiachoError } from './error.js'
import * as to from './state.js'
import type { Place, State, Step, Transport } from './state.js'
import { run as read } from './transport/fetch.js'

/** What the client needs of its surroundings: a part of `globalThis`. */
export interface World {
  fetch: typeof fetch
  EventSource?: typeof EventSource
  WebSocket?: typeof WebSocket
  setTimeout(act: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
  /** Wall-clock time: it goes on while the machine sleeps. */
  Date: { now(): number }
  Math: { random(): number }
  navigator?: { onLine?: boolean }
  location?: { href: string }
  /** Hears `online`, `offline` and `pageshow`. */
  addEventListener?(type: string, listener: (event: { persisted?: boolean }) => void, options: { signal: AbortSignal }): void
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
   * The transports that may be used, the best first. Default: what fits, of `eventsource`, `fetch`, `long-poll`, `websocket`.
   * By `eventsource` a `for await` gets only types that `on` was called with, and `message`.
   */
  transport?: readonly Transport[]
  /**
   * One connection for all tabs of this origin that say so; its own where that cannot be, as with `headers` that are a function,
   * or with `fetch`. Default: `false`.
   */
  share?: boolean
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
  /** Other transports than usual. */
  readonly _ways?: Transports
}

/** What a transport has to work with. */
export interface Link extends Requests {
  readonly _options: ConnectOptions
  readonly _sink: Sink
  readonly _timing: Timing
  readonly _world: World
  _state: State
  /** Something happened. */
  _tell<V = void>(happened: Step<V>, value?: V): void
  /** The URL from the cursor or the start on. */
  _from(): URL
  /** From now on so many milliseconds may pass between two signs of life. */
  _watch(ms: number): void
  /** A sign of life, which is no block yet. */
  _alive(): void
  /** A block, a page or a message is here: the way is open. */
  _came(): void
  /** Takes an event; `body` is its JSON. */
  _take(type: string, body: unknown, id: string): void
  /** The least time before a reconnection, in milliseconds, if the server told it. */
  _retry?: number | undefined
  /** Finds out whether anything is missing after a silence that may mean nothing. */
  _quiet?: (() => void) | undefined
  /** One more type of events is wanted. */
  _listen?: ((type: string) => void) | undefined
  _start(): void
  /** One more type is wanted, or all, which an EventSource cannot give. */
  _want(type: string | true): void
}

/** Reads until the signal; where it returns, the connection ended. */
export type Run = (link: Link, signal: AbortSignal) => Promise<void>

/** How each transport is had. */
export type Transports = Readonly<Record<Transport, () => { run: Run } | Promise<{ run: Run }>>>

/** Requests to the server of one URL. */
export interface Requests {
  readonly _url: URL
  /**
   * Asks, and gives the answer where it is a success of the type `accept`.
   *
   * @throws RiachoError with the server's code, `stream_closed` for 204, `http` for what is not the server's, `network`
   */
  readonly _ask: (url: URL, accept: string, init?: RequestInit & { headers?: Record<string, string> }) => Promise<Response>
}

/**
 * Keeps `sink` connected, by whatever transport works, from `_start` until it is closed.
 *
 * @throws TypeError where `address` is relative and there is no page
 */
export const connection = (address: string | URL, options: ConnectOptions, sink: Sink, world: World = globalThis): Link => {
  const timing: Timing = { ...TIMING, ...options.timing }
  const timers: unknown[] = []
  const url = new URL(address, world.location?.href)
  let session = new AbortController()
  /** When something last came, and whether something came after this connection was open. */
  let alive = 0
  let beaten = false
  /** Ends listening. */
  const ended = new AbortController()

  const order = (native: unknown): State['_order'] => {
    const own = options.transport ?? ALL.slice(native && !options.headers && !options.fetch ? 0 : 1)
    return (options.share ? ['shared', ...own] : own) as [Transport]
  }
  const _order = order(world.EventSource)

  /** Does what belongs to a place. To say so comes last, since whoever hears it may change the place again. */
  const enter = ({ place, _error, _failures }: State): void => {
    if (place === 'open') {
      link._watch(timing.silence)
      later(ALARM, timing.healthy, healthy)
    } else {
      session.abort()
      later(WATCH)
      later(ALARM)
    }
    if (place === 'connecting') connect((session = new AbortController())).catch(fail(session))
    if (place === 'waiting') {
      const span = Math.min(timing.cap, (options.reconnectionTime ?? 1000) * 2 ** (_failures - 1))
      later(ALARM, Math.max(link._retry ?? timing.floor, world.Math.random() * span), () => link._tell(to.online))
    }
    if (place === 'closed') ended.abort()
    if (_error || place === 'open') sink.changed(place, _error)
  }

  const healthy = (): void => {
    link._tell(to.healthy)
    const { _by, _order } = link._state
    remembered.set(url.origin, _by)
    if (_by !== _order[0]) later(ALARM, timing.better, () => link._tell(to.better))
  }

  const connect = async ({ signal }: AbortController): Promise<void> => {
    beaten = false
    link._quiet = link._listen = undefined
    link._watch(timing.head)
    sink.begin?.()
    const { run } = await (sink._ways ?? TRANSPORTS)[link._state._by]()
    signal.throwIfAborted()
    await run(link, signal)
    throw new RiachoError('network')
  }

  /** What an error means for the connection. */
  const fail = ({ signal }: AbortController) => (err: unknown): void => {
    if (signal.aborted) return
    // A body that breaks off is a TypeError, what cannot be read in it is not.
    const error = err instanceof RiachoError ? err : new RiachoError(err instanceof TypeError ? 'network' : 'protocol', true, err)
    link._tell(error.code === 'unfit' ? to.unfit : error.retry ? to.lost : to.refused, error)
  }

  /** Acts later, unless the timer is set anew; without an act it is stopped. */
  const later = (timer: number, ms = 0, act?: () => void): void => {
    world.clearTimeout(timers[timer])
    timers[timer] = act && world.setTimeout(act, ms)
  }

  const link: Link = {
    _url: url,
    _ask: async (url, accept, init) => {
      const { headers, signal = null, withCredentials, fetch = world.fetch } = options
      const own = typeof headers === 'function' ? await headers() : headers
      const credentials = withCredentials && { credentials: 'include' as const }
      const asked = { signal, ...credentials, ...init, headers: { ...own, accept, ...init?.headers } }
      const response = await fetch(url, asked).catch((cause) => {
        throw new RiachoError('network', true, cause)
      })
      if (response.ok && response.headers.get('content-type')?.startsWith(accept)) return response
      throw await (await import('./refusal.js')).refusal(response)
    },
    _options: options,
    _sink: sink,
    _timing: timing,
    _world: world,
    _state: { place: 'idle', _turn: 0, _order, _by: _order[0], _failures: 0 },
    _tell: (happened, value) => {
      const { _turn } = link._state
      link._state = happened(link._state, value as never)
      if (link._state._turn !== _turn) enter(link._state)
    },
    _from: () => {
      const target = new URL(url)
      sink.select(target.searchParams)
      if (sink.cursor) target.searchParams.set('last_event_id', sink.cursor)
      return target
    },
    _watch: (patience) => {
      link._alive()
      const look = (): void => {
        const left = alive + patience - world.Date.now()
        // Looked at often and by the wall clock, since timers stop while a machine sleeps.
        if (left > 0) later(WATCH, Math.min(left, LOOK), look)
        else if (link._quiet) link._quiet()
        // So late a timer means that the machine slept.
        else if (left < -LOOK) link._tell(to.wake)
        // Where heartbeats had come the path is dead; where they never did, something on it holds them back.
        else link._tell(beaten ? to.lost : to.unfit, new RiachoError('silent'))
      }
      look()
    },
    _alive: () => {
      alive = world.Date.now()
    },
    _came: () => {
      link._alive()
      beaten = link._state.place === 'open'
      link._tell(to.opened)
    },
    _take: (type, body, id) => {
      if (type !== GOODBYE) return sink.event(type, body, id)
      if (id) sink.mark(id)
      link._retry = (body as { retry_ms: number }).retry_ms
      throw new RiachoError('drain')
    },
    _start: () => {
      const { signal } = options
      if (link._state.place !== 'idle') return
      const abort = (): void => link._tell(to.refused, new RiachoError('aborted', false))
      const on = (type: string, happened: Step): void =>
        world.addEventListener?.(type, ({ persisted = true }) => persisted && link._tell(happened), ended)
      on('online', to.online)
      on('offline', to.offline)
      on('pageshow', to.wake)
      signal?.addEventListener('abort', abort, ended)
      if (signal?.aborted) abort()
      if (world.navigator?.onLine === false) link._tell(to.offline)
      else link._tell(to.start, remembered.get(url.origin))
    },
    _want: (type) => (type === true ? link._tell(to.reorder, order(0)) : link._listen?.(type)),
  }
  return link
}

/** Those that are not in the first chunk are loaded when they are needed. */
export const TRANSPORTS: Transports = {
  eventsource: () => import('./transport/eventsource.js'),
  fetch: () => ({ run: read }),
  'long-poll': () => import('./transport/poll.js'),
  websocket: () => import('./transport/websocket.js'),
  shared: () => import('./transport/shared.js'),
}

/** What worked, by origin. */
const remembered = new Map<string, Transport>()

const TIMING: Timing = {
  head: 10_000, first: 5_000, silence: 45_000, healthy: 10_000, better: 120_000, poll: 25_000, floor: 100, cap: 30_000,
}
const ALL: readonly Transport[] = ['eventsource', 'fetch', 'long-poll', 'websocket']
const WATCH = 0
const ALARM = 1
/** How types of the server's own events begin. */
export const OWN = 'riacho.'
export const GOODBYE = 'riacho.goodbye'
/** How often, in milliseconds, it is looked whether anything came. */
const LOOK = 5_000
