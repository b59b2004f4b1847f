// An EventSource without its transport: WHATWG HTML, "Server-sent events", "Processing model", as far as a script can be. It
// runs in browsers of ES5, so it must not use what came later (Promise, Map, URL). It must not know what carries the bytes.

/** What one request says, in this order: its head, pieces of its body, its end. After the end nothing. */
export interface Taker {
  /** Whether the body is wanted. `url` is where redirects led. */
  head(status: number, contentType: string, url: string): boolean
  /** An event with data. */
  event(event: { type: string; data: string; id: string }): void
  /** A block without data. */
  block(id: string): void
  retry(ms: number): void
  /** The body ended, or there was no answer. */
  end(): void
}

/** Asks once; `id` is what `Last-Event-ID` says, or empty. What is returned ends it, and nothing more may be told then. */
export type Ask = (id: string, taker: Taker) => () => void

/** Who hears of it. */
export interface Ears {
  open(): void
  error(): void
  message(type: string, data: string, id: string, url: string): void
}

/** `CONNECTING`, `OPEN`, `CLOSED`. */
export type ReadyState = 0 | 1 | 2

export const source = (ask: Ask, ears: Ears) => {
  let state: ReadyState = 0
  let lastEventId = ''
  let reconnectionTime = RECONNECTION_TIME
  let failures = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  let abort: (() => void) | undefined

  const connect = (): void => {
    timer = undefined
    let url = ''
    let over = false
    const done = (): boolean => over || state === CLOSED
    const stop = ask(lastEventId, {
      head: (status, contentType, from) => {
        if (done()) return false
        // Of 204 too: by it a server says that nobody shall come back.
        if (status !== 200 || !EVENT_STREAM.test(contentType)) {
          over = true
          fail()
          return false
        }
        url = from
        state = OPEN
        failures = 0
        ears.open()
        return !done()
      },
      event: ({ type, data, id }) => {
        if (done()) return
        lastEventId = id
        ears.message(type, data, id, url)
      },
      block: (id) => {
        if (!done()) lastEventId = id
      },
      retry: (ms) => {
        if (!done()) reconnectionTime = Math.min(ms, TIMER_MAX)
      },
      end: () => {
        if (done()) return
        over = true
        abort = undefined
        reestablish()
      },
    })
    if (!done()) abort = stop
    else if (state === CLOSED) stop()
  }

  const reestablish = (): void => {
    state = CONNECTING
    ears.error()
    if (isClosed()) return
    // As the standard allows, longer after failures; and never sooner than the server said.
    const span = Math.min(reconnectionTime * Math.pow(2, failures), BACKOFF_MAX)
    failures = Math.min(failures + 1, 16)
    timer = setTimeout(connect, Math.max(reconnectionTime, span * (0.5 + Math.random() / 2)))
  }

  const fail = (): void => {
    close()
    ears.error()
  }
  const close = (): void => {
    state = CLOSED
    clearTimeout(timer)
    const stop = abort
    abort = undefined
    if (stop) stop()
  }
  const isClosed = (): boolean => state === CLOSED

  connect()
  return { state: () => state, close }
}

export const CONNECTING = 0
export const OPEN = 1
export const CLOSED = 2
/** Of a MIME type its essence counts; parameters do not, a charset either: it is always UTF-8. */
const EVENT_STREAM = /^[\t\n\r ]*text\/event-stream[\t\n\r ]*(;|$)/i
/** Milliseconds until the server says otherwise. */
const RECONNECTION_TIME = 3_000
const BACKOFF_MAX = 30_000
/** Timers know no more. */
const TIMER_MAX = 2 ** 31 - 1
