// Pages: for where streams are held back, and to ask whether anything is missing.

import { OWN, type Link } from '../connect.js'
import { RiachoError } from '../error.js'

/** An event in a page: of a stream, of a table, or the server's own. */
export interface PageEvent {
  id?: string
  type?: string
  data?: unknown
  headers?: object
}

interface Page {
  events: PageEvent[]
  cursor: string
  more: boolean
  /** The stream is configured closed, and this was all of it. */
  closed?: boolean
  /** The server drains: when to come back. */
  retry_ms?: number
}

/** Takes an event of a page, or a message of a WebSocket, which has the same form. */
export const takeJson = (link: Pick<Link, '_take'>, event: PageEvent): void => {
  const type = typeOf(event)
  link._take(type, type.startsWith(OWN) ? event.data : event, event.id ?? '')
}

/** The type as SSE would name it: changes of tables have none, and `type` is their table. */
export const typeOf = ({ headers, type }: PageEvent): string => (!headers && type) || 'message'

const get = async (link: Link, target: URL, signal: AbortSignal): Promise<Page> => {
  const { pathname, searchParams } = target
  // Without a name, JSON is the list of streams.
  if (pathname.endsWith('/streams') && !searchParams.has('stream') && !searchParams.has('table')) searchParams.set('stream', '**')
  const body: unknown = await (await link._ask(target, 'application/json', { signal })).json()
  signal.throwIfAborted()
  return body as Page
}

/** Asks for one page, takes it and returns it; undefined where it was all rows. */
export const page = async (link: Link, signal: AbortSignal, wait = 0): Promise<Page | undefined> => {
  const { _sink: sink } = link
  const { cursor, snapshot } = sink
  const target = link._from()
  if (wait) target.searchParams.set('wait', `${wait}ms`)
  const got = await get(link, target, signal)
  link._came()
  if (!cursor && snapshot) {
    snapshot(got)
    return undefined
  }
  for (const event of got.events) {
    takeJson(link, event)
    signal.throwIfAborted()
  }
  sink.mark(got.cursor)
  if (got.closed) throw new RiachoError('stream_closed', false)
  if (got.retry_ms !== undefined) {
    link._retry = got.retry_ms
    throw new RiachoError('drain')
  }
  return got
}

export const run = async (link: Link, signal: AbortSignal): Promise<void> => {
  const { _sink: sink, _timing: timing } = link
  for (let first = true; ; first = false) {
    const began = link._world.Date.now()
    // The first is answered at once: then it is known that the way is open.
    const wait = sink.cursor && !first ? hold(link) : 0
    link._watch(wait + timing.head)
    try {
      const got = await page(link, signal, wait)
      // A server that drains does not hold requests; it is not asked again and again.
      if (got && !got.more && !got.events.length && link._world.Date.now() - began < wait / 2) throw new RiachoError('drain')
    } catch (err) {
      // Something on the way does not wait so long: it is asked for less.
      const { code, retry } = err as RiachoError
      if (signal.aborted || wait < HOLD_MIN || !retry || code === 'drain') throw err
      held.set(link, Math.max((link._world.Date.now() - began) / 2, HOLD_MIN / 2))
    }
  }
}

/** An EventSource was silent: of heartbeats it says nothing. Is anything missing? */
export const probe = async (link: Link, signal: AbortSignal): Promise<void> => {
  const { _sink: sink } = link
  const { cursor } = sink
  const { events, cursor: after } = await get(link, link._from(), signal)
  if (cursor !== sink.cursor) return
  if (events.some((event) => [...sink.types()].includes(typeOf(event)))) throw new RiachoError('unfit')
  sink.mark(after)
}

const hold = (link: Link): number => held.get(link) ?? link._timing.poll
/** How long requests are held, where that is less than usual. */
const held = new WeakMap<Link, number>()
/** Requests that were held for less than this, in milliseconds, are not held for even less. */
const HOLD_MIN = 2_000
