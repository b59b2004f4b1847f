// Rows that outlive the page: IndexedDB holds those of each selection, with their cursor. Where it is absent, full, broken or
// silent nothing is kept, and nothing is said.
//
// Rows and cursor are written in one transaction, so what is kept is one moment of the table. Pages share the database: each
// transaction leaves a mark, and a page that does not find its own leaves the writing to the other, until that one is gone;
// then it writes all rows.

import type { Keeper, Kept, Persist } from './extend.js'

/** For `table(url, { persist })`. */
export const persist: Persist = (url, rows, live) => keeper(` ${url}`, rows, live, TAKEOVER)

/** As `persist`, apart from what others kept in this browser: where who is signed in decides what a table shows. */
export const persistAs =
  (scope: string, { takeover = TAKEOVER }: { /** Milliseconds until a silent page is taken for gone. */ takeover?: number } = {}): Persist =>
  (url, rows, live) =>
    keeper(`${scope} ${url}`, rows, live, takeover)

/** Throws away all that was kept for this origin. Pages that are open keep nothing more. */
export const forget = async (): Promise<void> => {
  database = undefined
  // Where another page does not let go of it: as soon as it does.
  await within(PATIENCE, () => wait(indexedDB.deleteDatabase(DATABASE))).catch(() => undefined)
}

const keeper = <R>(table: string, rows: ReadonlyMap<string, R>, live: { readonly cursor: string }, takeover: number): Keeper<R> => {
  /** The mark of the last transaction of which this page has all; empty where it must write all rows. */
  let mark = ''
  /** The mark of another page that writes. */
  let other = ''
  let saved = ''
  let dirty = new Set<string>()
  let writing = false

  const load = async (): Promise<[Head, Row<R>[]] | undefined> => {
    const transaction = (await open()).transaction([TABLES, ROWS])
    const [head, rows] = await Promise.all([
      wait<Head | undefined>(transaction.objectStore(TABLES).get(table)),
      wait<Row<R>[]>(transaction.objectStore(ROWS).getAll(all(table))),
    ])
    return head && [head, rows]
  }

  /** Writes what changed; how long to wait before the next time. */
  const write = async (): Promise<number> => {
    const transaction = (await open()).transaction([TABLES, ROWS], 'readwrite')
    const over = ended(transaction)
    // Rows and cursor of one moment, though the requests are made later.
    const { cursor } = live
    if (!cursor) return PACE
    const changed = dirty
    dirty = new Set()
    const [tables, store] = [transaction.objectStore(TABLES), transaction.objectStore(ROWS)]
    const next = `${Math.random()}`
    const whole = mark ? undefined : new Map(rows)
    const part = mark ? [...changed].map((key) => [key, rows.get(key)] as const) : []
    let found = ''
    const asked = tables.get(table)
    asked.onsuccess = () => {
      found = (asked.result as Head | undefined)?.mark ?? ''
      // Another page wrote since this one looked last, or, for the first time, before it.
      if (mark ? found !== mark : other && found !== other) return
      try {
        if (whole) store.delete(all(table))
        for (const [key, value] of whole ?? part) {
          if (value === undefined) store.delete([table, key])
          else store.put({ table, key, value } satisfies Row<R>)
        }
        tables.put({ table, cursor, mark: next } satisfies Head)
        found = next
      } catch {
        transaction.abort()
      }
    }
    await over
    if (found === next) {
      mark = found
      other = ''
      saved = cursor
      return PACE
    }
    mark = ''
    other = found || NONE
    return takeover * (1 + Math.random())
  }

  const run = async (): Promise<void> => {
    try {
      while (live.cursor && (dirty.size || live.cursor !== saved)) {
        const pause = await within(PATIENCE, write)
        await new Promise((go) => setTimeout(go, pause))
      }
      writing = false
    } catch {
      // What is kept is as it was: one moment. `writing` stays, so nothing more is tried.
      mark = ''
      dirty.clear()
    }
  }

  return {
    load: async (): Promise<Kept<R> | undefined> => {
      const kept = await within(PATIENCE, load).catch(() => undefined)
      if (!kept) return
      const [head, rows] = kept
      mark = head.mark
      saved = head.cursor
      return { rows, cursor: saved }
    },
    keep: (changes) => {
      for (const { key } of changes) dirty.add(key)
      if (writing) return
      writing = true
      void run()
    },
  }
}

interface Row<R> {
  readonly table: string
  readonly key: string
  readonly value: R
}

interface Head {
  readonly table: string
  readonly cursor: string
  readonly mark: string
}

let database: Promise<IDBDatabase> | undefined

const open = (): Promise<IDBDatabase> => {
  database ??= (async () => {
    const request = indexedDB.open(DATABASE, VERSION)
    request.onupgradeneeded = () => {
      request.result.createObjectStore(TABLES, { keyPath: 'table' })
      request.result.createObjectStore(ROWS, { keyPath: ['table', 'key'] })
    }
    const db = await wait(request)
    // Another page forgets it.
    db.onversionchange = () => db.close()
    return db
  })()
  return database
}

const wait = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((done, failed) => {
    request.onsuccess = () => done(request.result)
    request.onerror = () => failed(request.error)
  })

const ended = (transaction: IDBTransaction): Promise<void> =>
  new Promise((done, failed) => {
    transaction.oncomplete = () => done()
    transaction.onabort = () => failed(transaction.error)
  })

/** @throws whatever `act` does, or where it takes longer: there are browsers whose IndexedDB never answers */
const within = async <T>(ms: number, act: () => Promise<T>): Promise<T> => {
  let timer
  const late = new Promise<never>((_, failed) => {
    timer = setTimeout(() => failed(new Error('IndexedDB does not answer')), ms)
  })
  try {
    return await Promise.race([act(), late])
  } finally {
    clearTimeout(timer)
  }
}

/** All rows of a table: an array is after every string. */
const all = (table: string): IDBKeyRange => IDBKeyRange.bound([table], [table, []])

const DATABASE = 'riacho'
const VERSION = 1
const TABLES = 'tables'
const ROWS = 'rows'
/** Milliseconds between two transactions: what changes meanwhile is written together. */
const PACE = 100
/** Milliseconds for IndexedDB to answer. */
const PATIENCE = 2_000
const TAKEOVER = 30_000
/** No mark is so. */
const NONE = '-'
