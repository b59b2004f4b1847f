// Streams: events in order, to listeners and to `for await`. It must not know transports.

import { OWN, type ConnectOptions, type Link } from './connect.js'
import { call, Live, MESSAGE, RESET } from './live.js'
import { wake } from './state.js'

/** Where a stream begins, and how it is reached. */
export interface StreamOptions extends ConnectOptions {
  /** Default: the next event. `earliest`, a time ago (`1h`), a time (RFC 3339), or a cursor. */
  from?: string
  /** The last so many events, and then the next. */
  tail?: number
}

/** One event. */
export interface StreamEvent<T = unknown> {
  /** Its cursor: what `from` takes to go on after it. */
  readonly id: string
  /** `message` where it was published without a type; `riacho.reset` where continuity was lost. */
  readonly type: string
  /** What was published: a JSON value, or text. Of `riacho.reset`: a `Reset`. */
  readonly data: T
  /** The stream it is of; of `riacho.reset` empty. */
  readonly stream: string
}

/** The data of `riacho.reset`: throw away what you made of these streams; what is still kept of them follows. */
export interface Reset {
  readonly reason: string
  readonly streams: readonly string[]
  readonly cursor: string
}

/** Reads a stream (`/streams/chat/lobby`) or several (`/streams?stream=a&stream=b*`). It connects with its first reader. */
export const stream = <T = unknown>(url: string | URL, options: StreamOptions = {}): Stream<T> => new Stream<T>(url, options)

export class Stream<T = unknown> extends Live<StreamEvent<T>> implements AsyncIterable<StreamEvent<T>> {
  #listeners: Map<string, Set<(event: StreamEvent<T>) => void>>

  constructor(url: string | URL, { from, tail, ...options }: StreamOptions) {
    const listeners = new Map([MESSAGE, RESET].map((type) => [type, new Set<(event: StreamEvent<T>) => void>()]))
    super(url, options, {
      cursor: '',
      types: () => listeners.keys(),
      select: (params) => {
        // With the envelope data is what was published, by any transport: JSON or text, with its own line breaks.
        params.set('envelope', '1')
        if (from) params.set('from', from)
        if (tail !== undefined) params.set('tail', `${tail}`)
      },
      event: (type, body, id) => this.#event(type, body, id),
      mark: (id) => {
        this.sink.cursor = id
      },
    })
    this.#listeners = listeners
  }

  /** Calls `listener` for events of a type; `message` is the type of those without one. What is returned ends it. */
  on(type: 'riacho.reset', listener: (event: StreamEvent<Reset>) => void): () => void
  on(type: string, listener: (event: StreamEvent<T>) => void): () => void
  on(type: string, listener: (event: StreamEvent<never>) => void): () => void {
    const listeners = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, listeners.add(listener as (event: StreamEvent<T>) => void))
    this.start(type)
    return () => void listeners.delete(listener as (event: StreamEvent<T>) => void)
  }

  /** All events of all types, and `riacho.reset`. It ends when the stream is closed, and throws where it cannot go on. */
  [Symbol.asyncIterator](): AsyncGenerator<StreamEvent<T>, void, void> {
    this.start(true)
    return this.read()
  }

  #event(type: string, body: unknown, id: string): void {
    this.sink.cursor = id
    const own = type.startsWith(OWN)
    if (own && type !== RESET) return
    const { data, stream } = (own ? { data: body, stream: '' } : body) as { data: T; stream: string }
    const event = { id, type, data, stream }
    for (const listener of this.#listeners.get(type) ?? []) void call(listener, event)
    this.push(event)
  }
}

/**
 * Reads more streams (names or patterns) on the same connection; their events begin where the stream is. Nothing of the others
 * is lost or repeated. To be used with a `stream` that was opened with names: one that reads all cannot read more.
 */
export const subscribe = <T>(stream: Stream<T>, ...names: string[]): void => change(stream, (had) => new Set([...had, ...names]))

/** Reads these streams no more. One that would read nothing stays as it is: close it. */
export const unsubscribe = <T>(stream: Stream<T>, ...names: string[]): void =>
  change(stream, (had) => new Set([...had].filter((name) => !names.includes(name))))

const change = <T>(stream: Stream<T>, to: (had: Set<string>) => Set<string>): void => {
  const { requests: link } = stream as unknown as { requests: Link }
  const { _url: url } = link
  const { searchParams } = url
  const [, base, name] = /^(.*?\/streams)(?:\/(.+))?$/.exec(url.pathname) ?? []
  const had = new Set([...searchParams.getAll('stream'), ...(name ? [decodeURIComponent(name)] : [])])
  const next = to(had)
  // Without a name it would read all.
  if (!base || !had.size || !next.size || (next.size === had.size && [...next].every((name) => had.has(name)))) return
  url.pathname = base
  searchParams.delete('stream')
  for (const name of next) searchParams.append('stream', name)
  link._tell(wake)
}
