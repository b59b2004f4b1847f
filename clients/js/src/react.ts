// Hooks: what a table or stream has now, and a render when that changes. React's own store protocol, so nothing tears.

import { useCallback, useSyncExternalStore } from 'react'
import { stream, table, type RiachoError, type StreamEvent, type StreamOptions, type Table, type TableOptions } from './index.js'
import type { Stream } from './index.js'

/** A table as of one render: another object after each change, and only then. */
export interface TableState<R> {
  /** The rows by key, of the last complete transaction; empty until there are any. */
  readonly rows: ReadonlyMap<string, R>
  /** The rows are here. */
  readonly ready: boolean
  /** Why it ended; undefined while it goes on. */
  readonly error: RiachoError | undefined
}

/** A stream as of one render. */
export interface StreamState<T> {
  /** The newest events, the oldest first. A `riacho.reset` empties it, and is not in it. */
  readonly events: readonly StreamEvent<T>[]
  readonly error: RiachoError | undefined
}

export interface StreamHookOptions extends StreamOptions {
  /** How many events are kept: 100. */
  max?: number
}

/**
 * The rows of a table, and a render after each transaction. All components that name the same URL and terms share one
 * connection, which ends after the last of them; of `headers` and other functions those of the first are taken. A table of
 * one's own is neither opened nor closed.
 */
export function useTable<R = Record<string, unknown>>(url: string | URL | Table<R>, options: TableOptions = {}): TableState<R> {
  return use<Table<R>, TableState<R>>(TABLES, url, options, () => table<R>(url as string, options), watchTable)
}

/** The newest events of a stream, and a render after each; shared as tables are. */
export function useStream<T = unknown>(url: string | URL | Stream<T>, options: StreamHookOptions = {}): StreamState<T> {
  const { max = EVENTS_MAX, ...rest } = options
  return use<Stream<T>, StreamState<T>>(STREAMS, url, options, () => stream<T>(url as string, rest), (live, tell) => watchStream(live, tell, max))
}

/** What is shown of one table or stream, for all that show it. */
interface Shown<S> {
  /** As of the last render; undefined where it changed since. */
  state: S | undefined
  readonly now: () => S
  readonly listeners: Set<() => void>
  readonly close: () => void
  timer: ReturnType<typeof setTimeout> | undefined
}

/** Calls `tell` when what is returned would give something else. */
type Watch<L, S> = (live: L, tell: () => void) => () => S

interface Places {
  readonly byName: Map<string, Shown<never>>
  readonly byLive: WeakMap<object, Map<string, Shown<never>>>
  readonly nothing: unknown
}

const use = <L extends object, S>(places: Places, given: string | URL | L, options: object, open: () => L, watch: Watch<L, S>): S => {
  const own = typeof given === 'object' && !(given instanceof URL)
  // Functions and signals are not in it.
  const name = JSON.stringify([own ? 0 : `${given}`, options])
  const known = (): Map<string, Shown<never>> | undefined => (own ? places.byLive.get(given) : places.byName)
  const find = (): Shown<S> => {
    const shown = known()?.get(name) as Shown<S> | undefined
    if (shown) return shown
    const all = known() ?? new Map<string, Shown<never>>()
    if (own) places.byLive.set(given, all)
    const live = own ? given : open()
    const fresh: Shown<S> = {
      listeners: new Set(),
      timer: undefined,
      state: undefined,
      now: watch(live, () => {
        fresh.state = undefined
        for (const listener of fresh.listeners) listener()
      }),
      close: () => {
        all.delete(name)
        if (!own) (live as unknown as { close(): void }).close()
      },
    }
    all.set(name, fresh as Shown<never>)
    return fresh
  }
  const subscribe = useCallback(
    (listener: () => void) => {
      const shown = find()
      clearTimeout(shown.timer)
      shown.listeners.add(listener)
      return () => {
        shown.listeners.delete(listener)
        // Not at once: another component may come, or, in strict mode, the same.
        if (!shown.listeners.size && !own) shown.timer = setTimeout(shown.close, LINGER)
      }
    },
    [places, own ? given : 0, name],
  )
  const peek = (): S => {
    // Rendering opens nothing: a render may be thrown away.
    const shown = known()?.get(name) as Shown<S> | undefined
    return shown ? (shown.state ??= shown.now()) : (places.nothing as S)
  }
  return useSyncExternalStore(subscribe, peek, () => places.nothing as S)
}

const watchTable = <R>(live: Table<R>, tell: () => void): (() => TableState<R>) => {
  let ready = false
  live.ready.then(() => {
    ready = true
    tell()
  }, tell)
  live.subscribe(tell)
  void ended(live.changes(), tell)
  return () => ({ rows: new Map(live.rows), ready, error: live.error })
}

const watchStream = <T>(live: Stream<T>, tell: () => void, max: number): (() => StreamState<T>) => {
  let events: readonly StreamEvent<T>[] = []
  void ended(live[Symbol.asyncIterator](), tell, (event) => {
    events = event.type === 'riacho.reset' ? [] : [...events, event].slice(-max)
    tell()
  })
  return () => ({ events, error: live.error })
}

/** Reads to the end, and says when that is there. */
const ended = async <T>(items: AsyncIterable<T>, done: () => void, each?: (item: T) => void): Promise<void> => {
  try {
    for await (const item of items) each?.(item)
  } catch {
    // It is the table's or stream's `error`.
  }
  done()
}

const EVENTS_MAX = 100
/** Milliseconds that a connection outlives its last component. */
const LINGER = 1_000
const TABLES: Places = { byName: new Map(), byLive: new WeakMap(), nothing: { rows: new Map(), ready: false, error: undefined } }
const STREAMS: Places = { byName: new Map(), byLive: new WeakMap(), nothing: { events: [], error: undefined } }
