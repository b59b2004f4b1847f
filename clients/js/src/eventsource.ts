// An EventSource where the platform has none, or none that sends headers: Node, Deno, Bun, and pages. Reads by fetch.

import { parser } from './parse.js'
import { CLOSED, CONNECTING, OPEN, source, type ReadyState } from './source.js'

/** Beyond the standard's `withCredentials`: how it is asked. */
export interface EventSourceOptions {
  /** Send cookies to another origin. */
  withCredentials?: boolean
  /** Headers for each request, or a function that gives them, asked anew for each (a token). */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>)
  /** Used in place of the global one. */
  fetch?: typeof fetch
}

type Handler<E extends Event> = ((this: EventSource, event: E) => unknown) | null
type Listener = EventListenerOrEventListenerObject | null

/**
 * The interface of WHATWG HTML, "Server-sent events", and its behaviour, over `fetch`. It reconnects after what a new request
 * can mend, waiting longer after each failure in a row; another status than 200, 204 too, and another type end it.
 */
export class EventSource extends EventTarget {
  static readonly CONNECTING = CONNECTING
  static readonly OPEN = OPEN
  static readonly CLOSED = CLOSED
  declare readonly CONNECTING: typeof CONNECTING
  declare readonly OPEN: typeof OPEN
  declare readonly CLOSED: typeof CLOSED
  readonly url: string
  readonly withCredentials: boolean
  #source: { state(): ReadyState; close(): void }
  #handlers: { [type: string]: { handler: Handler<never>; listener: (event: Event) => void } | undefined } = {}

  /** @throws DOMException `SyntaxError` where `url` is none */
  constructor(url: string | URL, { withCredentials = false, headers, fetch: asks, ...init }: EventSourceOptions = {}) {
    super()
    this.url = absolute(`${url}`)
    this.withCredentials = withCredentials
    const request: RequestInit = { ...init, cache: 'no-store', credentials: withCredentials ? 'include' : 'same-origin' }
    this.#source = source(
      (id, taker) => {
        const abort = new AbortController()
        const push = parser(taker)
        const read = async (): Promise<void> => {
          const own = new Headers(typeof headers === 'function' ? await headers() : headers)
          own.set('accept', 'text/event-stream')
          if (id) own.set('last-event-id', bytesOf(id))
          abort.signal.throwIfAborted()
          const answer = await (asks ?? fetch)(this.url, { ...request, headers: own, signal: abort.signal })
          if (!taker.head(answer.status, answer.headers.get('content-type') ?? '', answer.url || this.url)) return abort.abort()
          const reader = answer.body?.getReader()
          for (let part; (part = await reader?.read()) && !part.done; ) push(part.value)
        }
        // What fails here is the network, or what was asked for headers: both are tried again.
        read().catch(() => abort.abort()).then(() => taker.end())
        return () => abort.abort()
      },
      {
        open: () => void this.dispatchEvent(new Event('open')),
        error: () => void this.dispatchEvent(new Event('error')),
        message: (type, data, lastEventId, url) => {
          this.dispatchEvent(new MessageEvent(type, { data, lastEventId, origin: new URL(url).origin }))
        },
      },
    )
  }

  get readyState(): ReadyState {
    return this.#source.state()
  }

  close(): void {
    this.#source.close()
  }

  get onopen(): Handler<Event> {
    return this.#handler('open')
  }
  set onopen(handler: Handler<Event>) {
    this.#handle('open', handler)
  }
  get onmessage(): Handler<MessageEvent> {
    return this.#handler('message')
  }
  set onmessage(handler: Handler<MessageEvent>) {
    this.#handle('message', handler)
  }
  get onerror(): Handler<Event> {
    return this.#handler('error')
  }
  set onerror(handler: Handler<Event>) {
    this.#handle('error', handler)
  }

  // What comes is a MessageEvent for any type but these two.
  override addEventListener(type: 'open' | 'error', listener: Listener, options?: AddEventListenerOptions | boolean): void
  override addEventListener(type: string, listener: ((event: MessageEvent) => void) | Listener, options?: AddEventListenerOptions | boolean): void
  override addEventListener(type: string, listener: unknown, options?: AddEventListenerOptions | boolean): void {
    super.addEventListener(type, listener as Listener, options)
  }
  override removeEventListener(type: string, listener: ((event: MessageEvent) => void) | Listener, options?: EventListenerOptions | boolean): void {
    super.removeEventListener(type, listener as Listener, options)
  }

  #handler<E extends Event>(type: string): Handler<E> {
    return (this.#handlers[type]?.handler as Handler<E> | undefined) ?? null
  }

  /** Another handler keeps the place of the one before among the listeners; none gives it up (HTML, "event handlers"). */
  #handle(type: string, given: Handler<never>): void {
    const handler = typeof given === 'function' ? given : null
    const known = this.#handlers[type]
    if (known && handler) known.handler = handler
    else if (known) {
      super.removeEventListener(type, known.listener)
      delete this.#handlers[type]
    } else if (handler) {
      const fresh = { handler: handler as Handler<never>, listener: (event: Event): void => void fresh.handler?.call(this, event as never) }
      this.#handlers[type] = fresh
      super.addEventListener(type, fresh.listener)
    }
  }
}

Object.assign(EventSource.prototype, { CONNECTING, OPEN, CLOSED })

const absolute = (url: string): string => {
  try {
    return new URL(url, (globalThis as { location?: { href: string } }).location?.href).href
  } catch {
    throw new DOMException(`\`${url}\` is no URL`, 'SyntaxError')
  }
}

/** As UTF-8, one character a byte, which is what a header takes. */
const bytesOf = (id: string): string => unescape(encodeURIComponent(id))
