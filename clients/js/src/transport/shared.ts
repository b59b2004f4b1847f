// The tab's side of a connection that all tabs share: a SharedWorker where there is one, else the tab that holds a lock leads, and
// all talk over a BroadcastChannel. Where there is neither, it is unfit, and the next transport serves this tab alone.

import type { Link } from '../connect.js'
import { RiachoError } from '../error.js'
import { wake } from '../state.js'
import { hub, revive, type FromHub, type ToHub, type ToMember } from './hub.js'

interface Member {
  take(message: ToMember): void
  /** The hub says that it told so many messages; undefined where it knows nothing of this member. */
  told(count: number | undefined): void
  again(): void
}

interface Channel {
  post(message: ToHub): void
  /** What members are told, by their name. */
  readonly members: Map<string, Member>
  hear(message: FromHub): void
  close(): void
}

export const run = async (link: Link, signal: AbortSignal): Promise<void> => {
  const { _options: options, _sink: sink, _timing: timing } = link
  const { headers, withCredentials, timing: times, reconnectionTime } = options
  // By an EventSource a hub would not hear all types.
  const transport = options.transport?.filter((transport) => transport !== 'eventsource')
  if (typeof headers === 'function' || options.fetch) throw new RiachoError('unfit')
  current ??= connect(timing.first / 2).then((channel) => (live = channel), (err) => {
    current = undefined
    throw err
  })
  const { members, post } = await current
  signal.throwIfAborted()
  const join = crypto.randomUUID()
  const url = link._from()
  url.searchParams.delete('last_event_id')
  const passed = JSON.parse(JSON.stringify({ headers, withCredentials, timing: times, reconnectionTime, ...(transport?.length && { transport }) })) as Link['_options']
  await new Promise<void>((_, end) => {
    let next = 0
    const again = (): void => link._tell(wake)
    const take = (message: ToMember): void => {
      // Something was lost on the way here: from the own cursor on it comes again.
      if (message.nth !== next++) return again()
      if (message.say === 'changed') {
        const { place, error } = message
        if (place === 'open') {
          // After the first time, only whoever listens is told: nothing changed for this tab.
          if (link._state.place === 'open') sink.changed('open')
          link._came()
        } else if (error) {
          if (place === 'closed') end(revive(error))
          else sink.changed('waiting', revive(error))
        }
        return
      }
      // That is before anything came.
      if (message.say === 'begin') return sink.begin?.()
      link._came()
      if (message.say === 'mark') sink.mark(message.id)
      else if (message.say === 'snapshot') sink.snapshot?.(message.body)
      else link._take(message.type, message.body, message.id)
    }
    const told = (count: number | undefined): void => {
      link._alive()
      if (count !== next) again()
    }
    const safely = (message: ToMember): void => {
      try {
        take(message)
      } catch (err) {
        // It was not taken, so nothing after it may be.
        end(err)
      }
    }
    members.set(join, { take: safely, told, again })
    post({ join, url: url.href, cursor: sink.cursor, table: !!sink.snapshot, options: passed })
    signal.addEventListener('abort', () => {
      members.delete(join)
      post({ leave: join })
    })
  })
}

/** Of this page; absent while nothing is shared, and while the page is away. */
let current: Promise<Channel> | undefined
let live: Channel | undefined

/** A channel to the hub, whoever that is. @throws RiachoError `unfit` where tabs cannot share */
const connect = (patience: number): Promise<Channel> => worker(patience).catch(() => lead(patience))

/** Hears the hub. Where that is another one, or does not know this tab, or is `dead`, all members begin anew. */
const listen = (post: Channel['post'], end: () => void, dead: () => void): Channel => {
  const members: Channel['members'] = new Map()
  let unanswered = 0
  let name = ''
  const again = (): void => {
    for (const member of [...members.values()]) member.again()
  }
  const close = (): void => {
    clearInterval(timer)
    removeEventListener('pagehide', close)
    if (live === channel) current = live = undefined
    post({ bye: true })
    end()
  }
  const timer = setInterval(() => {
    if (unanswered++ < PINGS_MAX) return post({ ping: [...members.keys()] })
    unanswered = 0
    dead()
    again()
  }, PING)
  // A page that is kept for a return must not lead, nor be counted; when it returns its members begin anew.
  addEventListener('pagehide', close)
  const channel: Channel = {
    members,
    post,
    close,
    hear: (message) => {
      unanswered = 0
      if ('to' in message) members.get(message.to)?.take(message)
      else if ('pong' in message) {
        for (const [name, count] of Object.entries(message.pong)) members.get(name)?.told(count)
      } else if (message.hub !== name) {
        name = message.hub
        again()
      }
    },
  }
  return channel
}

const worker = async (patience: number): Promise<Channel> => {
  const shared = new SharedWorker(new URL('./worker.js', import.meta.url), { type: 'module', name: NAME })
  const { port } = shared
  const close = (): void => channel.close()
  const channel = listen((message) => port.postMessage(message), () => port.close(), close)
  return new Promise<Channel>((ready, failed) => {
    shared.onerror = failed
    setTimeout(failed, patience)
    port.onmessage = ({ data }: MessageEvent<FromHub>) => {
      channel.hear(data)
      ready(channel)
    }
  }).catch((err) => {
    close()
    throw err
  })
}

/** A message on the line: to the hub of this name, or to a tab, or to all. */
interface OnLine {
  hub?: string
  tab?: string
  toHub?: ToHub
  toTab?: FromHub
}

const lead = async (patience: number): Promise<Channel> => {
  const locks = globalThis.navigator?.locks as LockManager | undefined
  if (!locks || typeof BroadcastChannel === 'undefined') throw new RiachoError('unfit')
  const line = new BroadcastChannel(NAME)
  const tab = crypto.randomUUID()
  const waits = new AbortController()
  let name = ''
  let release: (() => void) | undefined

  /** Leads for as long as the lock is held: until the page goes, or another takes it from a page that does not answer. */
  const held = (): Promise<void> =>
    new Promise((done) => {
      const own = new BroadcastChannel(NAME)
      const post = (message: OnLine): void => own.postMessage(message)
      const served = hub((tab, toTab) => post({ tab, toTab }))
      own.onmessage = ({ data }: MessageEvent<OnLine>) => {
        if (data.toHub && data.tab && data.hub === served.name) served.take(data.tab, data.toHub)
        else if (data.hub === '') post({ toTab: { hub: served.name } })
      }
      release = () => {
        release = undefined
        served.end()
        own.close()
        done()
      }
      post({ toTab: { hub: served.name } })
    })
  const ask = (options: LockOptions): void => {
    locks.request(NAME, options, held).catch(() => {
      release?.()
      if (!waits.signal.aborted) queue()
    })
  }
  const queue = (): void => ask({ signal: waits.signal })
  const steal = (): void => ask({ steal: true })

  const channel = listen(
    (toHub) => line.postMessage({ hub: name || '-', tab, toHub } satisfies OnLine),
    () => {
      waits.abort()
      release?.()
      line.close()
    },
    steal,
  )
  return new Promise((ready) => {
    line.onmessage = ({ data: { tab: to, toTab } }: MessageEvent<OnLine>) => {
      if (!toTab || (to && to !== tab)) return
      if ('hub' in toTab) name = toTab.hub
      channel.hear(toTab)
      ready(channel)
    }
    queue()
    line.postMessage({ hub: '' } satisfies OnLine)
    // Whoever holds the lock and does not answer is frozen.
    setTimeout(() => name || waits.signal.aborted || steal(), patience)
  })
}

/** The number is another where what is said is: pages of an older build share among themselves. */
const NAME = 'riacho/2'
/** How often, in milliseconds, the hub is asked whether it is there, and how often it may not answer. */
const PING = 2_000
const PINGS_MAX = 3
