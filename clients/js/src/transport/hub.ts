// What tabs share: one connection for each distinct thing that is read, and all of these on one WebSocket where there can be
// one. It runs in a SharedWorker or in the tab that leads. It must not know rows; every tab keeps its own cursor.

import { connection, TRANSPORTS, type ConnectOptions, type Link, type Sink } from '../connect.js'
import { ProblemError, RiachoError } from '../error.js'
import { refused, type Place, type Transport } from '../state.js'
import { merged, namesOf } from './merged.js'

/** What a tab says; with `ping`, its members, of which it wants to know what they were told. */
export type ToHub =
  | { join: string; url: string; cursor: string; table: boolean; options: ConnectOptions }
  | { leave: string }
  | { ping: readonly string[] }
  | { bye: true }

/**
 * What the hub says; to a member what its sink is told, in order: `nth` counts what it was told, from 0. A channel may lose messages:
 * Chromium drops what comes over a BroadcastChannel while a page is paused (in the debugger). Who misses one joins anew, from its own cursor; by `pong`,
 * which has how many each member was told, also who misses the last.
 */
export type FromHub =
  | { hub: string }
  | { pong: Readonly<Record<string, number | undefined>> }
  | ToMember

export type ToMember = { to: string; nth: number } & Say

type Say =
  | { say: 'begin' }
  | { say: 'event'; type: string; body: unknown; id: string }
  | { say: 'mark'; id: string }
  | { say: 'snapshot'; body: unknown }
  | { say: 'changed'; place: Place; error?: PlainError }

/** An error as it passes between tabs. */
export interface PlainError {
  code: string
  retry: boolean
  cause?: unknown
  status?: number
  problem?: ProblemError['problem']
}

/** One connection, for all members that ask for the same and are at the same place. */
interface Shared {
  readonly key: string
  readonly sink: Sink
  readonly link: Link
  readonly members: Map<string, string>
  /** No group of changes of a table is incomplete. */
  whole: boolean
}

/** Serves tabs; `post` says something to one, `gone` is told when one is. What is returned takes what a tab says. */
export const hub = (post: (tab: string, message: FromHub) => void, gone?: (tab: string) => void) => {
  const name = crypto.randomUUID()
  const all = new Set<Shared>()
  /** When each tab last said something. */
  const tabs = new Map<string, number>()
  /** How many messages each member was told. */
  const told = new Map<string, number>()

  const tell = (tab: string, to: string, say: Say): void => {
    const nth = told.get(to) ?? 0
    told.set(to, nth + 1)
    post(tab, { to, nth, ...say })
  }
  const leave = (member: string): void => {
    told.delete(member)
    for (const shared of all) if (shared.members.delete(member)) close(shared)
  }
  const close = (shared: Shared): void => {
    if (shared.members.size) return
    all.delete(shared)
    shared.link._tell(refused, new RiachoError('closed', false))
  }
  const forget = (tab: string): void => {
    tabs.delete(tab)
    gone?.(tab)
    for (const shared of all) {
      for (const [member, of] of shared.members) {
        if (of !== tab) continue
        shared.members.delete(member)
        told.delete(member)
      }
      close(shared)
    }
  }

  const open = (key: string, { url, cursor, table, options }: Extract<ToHub, { join: string }>): Shared => {
    const members = new Map<string, string>()
    const { transport: order = ALL } = options
    const polls = order.filter((way) => way === 'fetch' || way === 'long-poll')
    // Streams share what is read by fetch, and that goes over to long-poll for all of them.
    const merges = !table && order.includes('fetch') && namesOf(new URL(url))
    const transport = merges ? order.filter((way) => way !== 'long-poll') : order
    const say = (message: Say): void => members.forEach((tab, to) => tell(tab, to, message))
    /** Where another connection is at the same place, one is enough. */
    const merge = (): void => {
      if (!shared.whole || !sink.cursor) return
      for (const other of all) {
        if (other === shared || other.key !== key || !other.whole || other.sink.cursor !== sink.cursor) continue
        members.forEach((tab, member) => other.members.set(member, tab))
        members.clear()
        close(shared)
        return
      }
    }
    const sink: Sink = {
      cursor,
      _ways: { ...TRANSPORTS, fetch: () => ({ run: merged(polls) }) },
      types: () => [],
      select: () => undefined,
      begin: () => {
        shared.whole = true
        inSnapshot = false
        say({ say: 'begin' })
      },
      event: (type, body, id) => {
        const { control, txid, last } = (body as { headers?: { control?: string; txid?: string; last?: boolean } }).headers ?? {}
        if (table && type !== RESET) {
          if (control) inSnapshot = control === 'snapshot-start'
          shared.whole = !inSnapshot && (!txid || !!last)
        }
        if (table && type === RESET) sink.cursor = ''
        else if (shared.whole) sink.cursor = id
        say({ say: 'event', type, body, id })
        merge()
      },
      mark: (id) => {
        if (table && !(sink.cursor && shared.whole)) return
        sink.cursor = id
        say({ say: 'mark', id })
        merge()
      },
      changed: (place, error) => {
        say({ say: 'changed', place, ...(error && { error: plain(error) }) })
        if (place !== 'closed') return
        all.delete(shared)
        for (const member of members.keys()) told.delete(member)
      },
      ...(table && {
        snapshot: (body: unknown) => {
          sink.cursor = (body as { cursor: string }).cursor
          say({ say: 'snapshot', body })
          merge()
        },
      }),
    }
    let inSnapshot = false
    const link = connection(url, { ...options, transport }, sink)
    const shared: Shared = { key, sink, link, members, whole: true }
    all.add(shared)
    return shared
  }

  return {
    name,
    take: (tab: string, message: ToHub): void => {
      tabs.set(tab, Date.now())
      for (const [other, at] of tabs) if (at < Date.now() - TAB_SILENCE) forget(other)
      if ('join' in message) {
        const { join, url, cursor, table, options } = message
        const what = new URL(url)
        for (const start of ['from', 'tail']) what.searchParams.delete(start)
        const key = JSON.stringify([what, table, options.headers, options.withCredentials, options.transport])
        // From the next event on is from here on; what begins elsewhere begins alone, and merges when it is at the same place.
        const anywhere = !cursor && !table && what.href === new URL(url).href
        const shared = [...all].find((other) =>
          other.key === key && other.whole && other.sink.cursor && (anywhere || other.sink.cursor === cursor)) ?? open(key, message)
        shared.members.set(join, tab)
        told.set(join, 0)
        if (shared.link._state.place === 'open') {
          tell(tab, join, { say: 'changed', place: 'open' })
          tell(tab, join, { say: 'mark', id: shared.sink.cursor })
        }
        shared.link._start()
      } else if ('leave' in message) leave(message.leave)
      else if ('bye' in message) forget(tab)
      else {
        const { ping } = message
        // Those that left, where that was lost on the way.
        for (const shared of [...all]) {
          for (const [member, of] of shared.members) if (of === tab && !ping.includes(member)) leave(member)
        }
        post(tab, { pong: Object.fromEntries(ping.map((member) => [member, told.get(member)])) })
      }
    },
    /** Ends all connections. */
    end: (): void => {
      for (const { members, link } of [...all]) {
        members.clear()
        link._tell(refused, new RiachoError('closed', false))
      }
      all.clear()
    },
  }
}

const plain = (error: RiachoError): PlainError => {
  const { code, retry, cause } = error
  if (error instanceof ProblemError) return { code, retry, status: error.status, problem: error.problem }
  return { code, retry, ...(cause !== undefined && { cause: `${cause}` }) }
}

/** The error that it was. */
export const revive = ({ code, retry, cause, status, problem }: PlainError): RiachoError =>
  problem && status ? new ProblemError(status, problem) : new RiachoError(code, retry, cause)

const ALL: readonly Transport[] = ['websocket', 'fetch', 'long-poll']
const RESET = 'riacho.reset'
/** A tab that said nothing for so long, in milliseconds, is gone; timers of hidden ones may run once a minute. */
const TAB_SILENCE = 150_000
