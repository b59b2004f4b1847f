// What a hub reads by fetch: all streams of an origin on one connection, since browsers open six to a host on HTTP/1.1. Whoever reads
// keeps a cursor; all of a group share its connection, and so its place. Two cursors cannot be compared, so whoever comes is
// brought level: it reads pages to the end, then the group does, then it does once more. Now it is where the group is or ahead of
// it, by the events of its last pages; those are passed over when they come again. What is read of tables goes alone.

import { connection, OWN, type Link, type Run, type Sink } from '../connect.js'
import { RiachoError } from '../error.js'
import { better, pause, refused, resume, wake, type Transport } from '../state.js'
import { run as read } from './fetch.js'
import { page } from './poll.js'

/** Who reads on a connection with others. */
interface Member {
  readonly link: Link
  readonly signal: AbortSignal
  /** Names and patterns of streams. */
  readonly names: readonly string[]
  /** Ids of events that it has, and that may come again. */
  readonly passed: Set<string>
  end(error: unknown): void
}

interface Group {
  readonly key: string
  readonly link: Link
  readonly members: Set<Member>
  /** Those that are at the end of what they read, and wait to be brought level. */
  readonly waiting: Set<Member>
  /** Who reads a stream. */
  readonly readers: Map<string, Member[]>
  /** What the connection reads. */
  names: ReadonlySet<string>
  busy: boolean
}

const groups = new Set<Group>()

/** Reads streams with all others of their origin, by one of `ways`. */
export const merged = (ways: readonly Transport[]): Run => async (link, signal) => {
  const names = namesOf(link._url)
  if (!names || !fit(names)) return read(link, signal)
  while ((await page(link, signal))?.more);
  const { _timing: timing } = link
  const own = timing.better
  // All of a group try a better transport at the same time.
  timing.better = NEVER
  await new Promise<void>((_, end) => {
    const key = keyOf(link, ways)
    const fits = ({ key: other, members, waiting }: Group): boolean => other === key && fit(namesIn([...members, ...waiting, { names }]))
    const group = [...groups].find(fits) ?? open(key, link, ways, own)
    const member: Member = { link, signal, names, passed: new Set(), end }
    group.waiting.add(member)
    signal.addEventListener('abort', () => {
      timing.better = own
      group.waiting.delete(member)
      group.members.delete(member)
      group.readers.clear()
      // Whoever begins anew is back soon.
      setTimeout(() => leave(group), LINGER)
    })
    void settle(group)
  })
}

/** Brings those who wait level with the group, and has it read what all of them read. */
const settle = async (group: Group): Promise<void> => {
  const { link, members, waiting, readers } = group
  if (group.busy) return
  group.busy = true
  while (waiting.size) {
    link._tell(pause)
    const join = (member: Member): void => {
      if (waiting.delete(member)) members.add(member)
      readers.clear()
    }
    const joining = [...waiting]
    try {
      const [first] = joining
      if (!members.size && first) {
        link._sink.cursor = first.link._sink.cursor
        join(first)
        joining.shift()
      }
      if (joining.length) {
        const limit = AbortSignal.timeout(link._timing.head)
        while ((await page(link, limit))?.more);
        await Promise.all(joining.map((member) => pass(member).then(() => join(member), member.end)))
      }
    } catch (err) {
      for (const { end } of joining) end(err instanceof RiachoError ? err : new RiachoError('silent', true, err))
    }
    for (const member of joining) waiting.delete(member)
    link._start()
    link._tell(resume)
  }
  group.busy = false
  leave(group)
}

/** Reads what is new; all of it is after where the group is, or before: then it does not come again. */
const pass = async ({ link, signal, passed }: Member): Promise<void> => {
  for (;;) {
    const got = await page(link, signal)
    for (const { id } of got?.events ?? []) if (id) passed.add(id)
    if (!got?.more) return
  }
}

/** Reads less where somebody left, or nothing. */
const leave = (group: Group): void => {
  const { link, members, waiting, busy, names } = group
  if (busy || waiting.size) return
  if (!members.size) link._tell(refused, new RiachoError('closed', false))
  else if (namesIn(members).size < names.size) link._tell(wake)
}

const open = (key: string, { _url: { origin, pathname }, _options: options }: Link, ways: readonly Transport[], own: number): Group => {
  const [members, waiting, readers] = [new Set<Member>(), new Set<Member>(), new Map<string, Member[]>()]
  /** When all were last told where the group is. */
  let marked = 0
  let lost = false
  let timer: ReturnType<typeof setInterval>
  const give = ({ link, passed }: Member, type: string, body: unknown, id: string): void => {
    if (passed.delete(id)) return
    passed.clear()
    link._came()
    link._sink.event(type, body, id)
  }
  /** Everybody is where the group is; but not who is ahead of it. */
  const mark = (id: string): void => {
    marked = Date.now()
    for (const { link, passed, names } of members) {
      link._came()
      // Nobody is moved over what the connection does not read.
      if (!passed.size && names.every((name) => group.names.has(name))) link._sink.mark(id)
    }
  }
  const sink: Sink = {
    cursor: '',
    types: () => [],
    select: (params) => {
      params.set('envelope', '1')
      for (const name of (group.names = namesIn(members))) params.append('stream', name)
    },
    event: (type, body, id) => {
      sink.cursor = id
      for (const { link } of members) link._alive()
      if (type === RESET) {
        for (const member of members) {
          const { streams } = body as { streams: string[] }
          const own = streams.filter((name) => member.names.includes(name) || selects(member, name))
          if (!own.length) continue
          // What follows may be what it has.
          member.passed.clear()
          give(member, type, { ...(body as object), streams: own }, id)
        }
      } else if (!type.startsWith(OWN)) {
        const { stream } = body as { stream: string }
        const to = readers.get(stream) ?? [...members].filter((member) => selects(member, stream))
        if (readers.size >= READERS_MAX) readers.clear()
        readers.set(stream, to)
        for (const member of to) give(member, type, body, id)
      }
      if (Date.now() - marked > MARK) mark(id)
    },
    mark: (id) => {
      sink.cursor = id
      mark(id)
    },
    changed: (place, error) => {
      for (const { link, end } of [...members, ...(place === 'closed' ? waiting : [])]) {
        // Each asks for itself then, and hears whether it is meant.
        if (place === 'closed') end(new RiachoError(error?.code ?? '', true, error?.cause))
        else if (error) link._sink.changed('waiting', error)
        else if (lost) link._sink.changed('open')
        link._alive()
      }
      lost = !!error
      if (place !== 'closed') return
      clearInterval(timer)
      groups.delete(group)
    },
  }
  const link = connection(`${origin}${BASE.exec(pathname)}`, { ...options, transport: ways }, sink)
  const group: Group = { key, link, members, waiting, readers, names: new Set(), busy: false }
  timer = setInterval(() => {
    for (const { link } of [...members]) if (link._state._by !== link._state._order[0]) link._tell(better)
  }, own)
  groups.add(group)
  return group
}

/** The names and patterns that a URL reads; undefined where it reads tables, or in a way of its own. */
export const namesOf = ({ pathname, searchParams }: URL): readonly string[] | undefined => {
  const [found, name] = /\/streams(?:\/(.+))?$/.exec(pathname) ?? []
  const known = [...searchParams.keys()].every((key) => KNOWN.includes(key))
  if (found === undefined || !known) return undefined
  const names = searchParams.getAll('stream')
  try {
    return name ? [decodeURIComponent(name)] : names.length ? names : [ALL]
  } catch {
    return undefined
  }
}

const namesIn = (members: Iterable<Pick<Member, 'names'>>): Set<string> => new Set([...members].flatMap(({ names }) => names))

/** Whether one connection can read these. */
const fit = (names: Iterable<string>): boolean => {
  const all = [...names]
  return all.length <= NAMES_MAX && encodeURIComponent(all.join('')).length <= LENGTH_MAX
}

const keyOf = ({ _url: { origin, pathname }, _options: { headers, withCredentials } }: Link, ways: readonly Transport[]): string =>
  JSON.stringify([origin, BASE.exec(pathname)?.[0], headers, withCredentials, ways])

/** Whether a member reads a stream: by its name, or by a pattern as spec/protocol.md has it. */
const selects = ({ names }: Member, stream: string): boolean => {
  const parts = stream.split('/')
  return names.some((name) => {
    if (name === stream) return true
    if (!name.includes('*')) return false
    const pattern = name.split('/')
    const rest = pattern.at(-1) === ALL
    const fits = rest ? parts.length >= pattern.length : parts.length === pattern.length
    return fits && pattern.every((part, i) => part === '*' || (rest && i === pattern.length - 1) || part === parts[i])
  })
}

/** Up to the collection of streams, wherever the server is mounted. */
const BASE = /^.*?\/streams/
const RESET = 'riacho.reset'
const ALL = '**'
/** Parameters of streams; those of the start count for the first page only. */
const KNOWN = ['stream', 'envelope', 'from', 'tail', 'last_event_id']
/** On one connection; the server's limit `streams_per_subscription_max`. */
const NAMES_MAX = 100
/** The length of all their names in a URL. */
const LENGTH_MAX = 4_096
/** Names of streams whose readers are kept. */
const READERS_MAX = 10_000
/** How often, in milliseconds, those are told where the group is who read none of its events. */
const MARK = 15_000
/** How long, in milliseconds, a group goes on with what nobody reads any more. */
const LINGER = 1_000
/** The longest time of a timer, in milliseconds. */
const NEVER = 2 ** 31 - 1
