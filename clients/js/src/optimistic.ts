// Writes that are shown at once: the rows of the server with what was asked for on top, until it comes back or is refused.

import type { ProblemError } from './error.js'
import type { Inside, Layer } from './extend.js'
import { landing } from './landing.js'
import { merge, patchOf } from './patch.js'
import { same, type Change } from './rows.js'
import type { Patch, Table, Written } from './table.js'

/** One write of a row, from the call until it has landed. */
interface Write<R> {
  /** What it makes of the row that is shown below it. */
  apply(row: R | undefined): R | undefined
}

/** For `table(url, { optimistic })`: what is written is shown at once, and taken back where the server refuses it. */
export const optimistic = <R>(inside: Inside<R>): Layer<R> => {
  const map = new Map<string, R>(inside.rows.map)
  /** By key, in the order of the calls. */
  const writes = new Map<string, Write<R>[]>()
  /** The last write of a row that was sent: those of one row go one after the other. */
  const tails = new Map<string, Promise<unknown>>()
  const landings = landing(inside)
  /** Rows of which writes have just landed, while a group is applied. */
  let landed: string[] | undefined

  /** Shows the row as it is now, and says what became of it. */
  const show = (key: string): Change<R>[] => {
    let row = inside.rows.map.get(key)
    for (const { apply } of writes.get(key) ?? []) row = apply(row)
    const old = map.get(key)
    if (row === undefined) return map.delete(key) ? [{ operation: 'delete', key, old: old as R }] : []
    if (old === undefined) {
      map.set(key, row)
      return [{ operation: 'insert', key, value: row }]
    }
    // What came back as it was shown stays the same object, for whoever compares.
    if (old === row || same(old, row)) return []
    map.set(key, row)
    return [{ operation: 'update', key, value: row, old }]
  }

  const tell = (key: string): void => {
    // Before the first rows nothing is shown; with them comes this.
    if (inside.rows.ready) inside.show(show(key))
  }

  const drop = (key: string, write: Write<R>): void => {
    const left = (writes.get(key) ?? []).filter((other) => other !== write)
    if (left.length) writes.set(key, left)
    else writes.delete(key)
    if (landed) landed.push(key)
    else tell(key)
  }

  /** @throws whatever `send` does; the row is then as if it had never been asked for */
  const write = async (key: string, one: Write<R>, send: () => Promise<Response>): Promise<Written> => {
    writes.set(key, [...(writes.get(key) ?? []), one])
    tell(key)
    const before = tails.get(key)
    const sent = (async () => {
      await before
      landings.send()
      try {
        return ((await (await send()).json()) as Written).cursor
      } catch (err) {
        landings.refused()
        drop(key, one)
        throw err
      }
    })()
    const tail = sent.catch(() => undefined)
    tails.set(key, tail)
    try {
      const cursor = await sent
      landings.answered(cursor, [key], () => drop(key, one))
      return { cursor }
    } finally {
      if (tails.get(key) === tail) tails.delete(key)
    }
  }

  /** Asks for the row, and for its change on condition that nobody else changed it; anew where somebody did. */
  const change = async (key: string, one: Write<R>, by: (row: R) => R): Promise<Response> => {
    for (let left = UPDATES_MAX; ; left--) {
      const answer = await inside.ask('GET', key)
      const row = (await answer.json()) as R & object
      const next = by(row) as R & object
      // From now on it is this, whatever comes: what comes may be this already.
      one.apply = () => next
      tell(key)
      const patch = patchOf(row as never, next as never)
      const condition = { 'if-match': answer.headers.get('etag') ?? '*' }
      try {
        return await inside.ask(patch ? 'PATCH' : 'PUT', key, patch ?? next, condition)
      } catch (err) {
        if ((err as ProblemError).code !== 'condition_failed' || left <= 1) throw err
      }
    }
  }

  const own: Pick<Table<R>, 'insert' | 'update' | 'delete'> = {
    insert: (key, value) => {
      const body = [{ key, value, headers: { operation: 'insert' } }]
      return write(key, { apply: () => value }, () => inside.ask('POST', '', body))
    },
    update: (key, given) => {
      if (typeof given !== 'function') {
        const apply = (row: R | undefined): R | undefined => row && (merge(row, given as Patch<R>) as R)
        return write(key, { apply }, () => inside.ask('PATCH', key, given))
      }
      const by = given as (row: R) => R
      const one: Write<R> = { apply: (row) => row && attempt(by, row) }
      return write(key, one, () => change(key, one, by))
    },
    delete: (key) => write(key, { apply: () => undefined }, () => inside.ask('DELETE', key)),
  }
  Object.assign(inside.live, own)

  return {
    map,
    take: (changes) => {
      landed = []
      landings.applied()
      const keys = new Set([...changes.map(({ key }) => key), ...landed, ...writes.keys()])
      landed = undefined
      return [...keys].flatMap(show)
    },
  }
}

/** Where it throws the row stays; that is told when it is asked for. */
const attempt = <R>(by: (row: R) => R, row: R): R => {
  try {
    return by(row)
  } catch {
    return row
  }
}

/** How often `update` with a function begins anew. */
const UPDATES_MAX = 10
