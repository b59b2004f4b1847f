// When a write has come back: what the server took at a cursor is in the rows. It must not know what the write was.
//
// Cursors cannot be compared, and a change need not come under its own: a reader that was away gets the newest state of each
// row as one group, one with a `where` perhaps nothing at all. So, where the cursor does not come, it is asked what has not
// come yet; if the row is not in it, the write has come, or never will.

import type { RiachoError } from './error.js'
import type { Inside } from './extend.js'

interface Waiting {
  readonly cursor: string
  readonly keys: readonly string[]
  readonly landed: () => void
  probes: number
  timer: ReturnType<typeof setTimeout>
}

export interface Landing {
  /** Must be told before a write is sent: its change may come before its answer. */
  send(): void
  /** The write was refused. */
  refused(): void
  /** The write of these rows was answered: calls back, at once or later, when the rows have it. */
  answered(cursor: string, keys: readonly string[], landed: () => void): void
  /** A group was applied. What landed with it is called before this returns. */
  applied(): void
}

export const landing = (inside: Pick<Inside<never>, 'place' | 'read'> & { live: { cursor: string; error: unknown } }): Landing => {
  /** Cursors of groups that came while writes were under way. */
  const seen = new Set<string>()
  const waiting = new Set<Waiting>()
  let sent = 0

  const done = (): void => {
    sent -= 1
    if (!sent) seen.clear()
  }

  const land = (one: Waiting): void => {
    if (!waiting.delete(one)) return
    clearTimeout(one.timer)
    one.landed()
  }

  const later = (one: Waiting): void => {
    one.timer = setTimeout(() => void probe(one), PROBE_AFTER * 2 ** one.probes)
  }

  const probe = async (one: Waiting): Promise<void> => {
    one.probes += 1
    // Shown for ever it would hide what others write.
    if (inside.live.error || one.probes > PROBES_MAX) return land(one)
    if (inside.live.cursor && (await hasCome(one))) land(one)
    else if (waiting.has(one)) later(one)
  }

  const hasCome = async ({ keys }: Waiting): Promise<boolean> => {
    try {
      const url = new URL(inside.place)
      url.searchParams.set('last_event_id', inside.live.cursor)
      const { events, more } = (await (await inside.read(url)).json()) as { events: { key?: string; type?: string }[]; more: boolean }
      return !more && events.every((event) => !keys.includes(event.key ?? '') && event.type !== RESET)
    } catch (err) {
      return (err as RiachoError).retry === false
    }
  }

  return {
    send: () => {
      sent += 1
    },
    refused: done,
    answered: (cursor, keys, landed) => {
      const has = seen.has(cursor) || !!inside.live.error
      done()
      if (has) return landed()
      const one: Waiting = { cursor, keys, landed, probes: 0, timer: undefined as never }
      waiting.add(one)
      later(one)
    },
    applied: () => {
      const cursor = inside.live.cursor
      if (sent && seen.size < SEEN_MAX) seen.add(cursor)
      for (const one of waiting) if (one.cursor === cursor) land(one)
    },
  }
}

/** Milliseconds until it is asked for the first time; each time it is twice as long. */
const PROBE_AFTER = 1_000
const PROBES_MAX = 6
/** Cursors kept while writes are under way; beyond that it is asked. */
const SEEN_MAX = 10_000
const RESET = 'riacho.reset'
