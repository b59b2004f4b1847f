// What a table may be given beside its options, so that it costs nothing where it is not used. Types only.

import type { Change, Rows } from './rows.js'
import type { Changes, Table } from './table.js'

/** Keeps the rows of one table for the next time. It must not throw, nor be rejected: without it everything works, later. */
export interface Keeper<R> {
  /** What was kept; undefined where there is nothing. */
  load(): Promise<Kept<R> | undefined>
  /** The rows changed: these, since the last call. */
  keep(changes: readonly Pick<Change<R>, 'key'>[]): void
}

/** All rows at one moment; the cursor is that moment. */
export interface Kept<R> {
  readonly rows: Iterable<{ readonly key: string; readonly value: R }>
  readonly cursor: string
}

/**
 * Makes a keeper for one selection of rows, which `url` names: origin, table and terms. `rows` are those of the last complete
 * transaction, and `live` has their cursor; that is empty while there is none, and then nothing may be kept.
 */
export type Persist = <R>(url: string, rows: ReadonlyMap<string, R>, live: { readonly cursor: string }) => Keeper<R>

/** What a layer has of its table. */
export interface Inside<R> {
  /** The table. A layer may put methods of its own in the place of those that write. */
  readonly live: Table<R>
  /** The rows as the server has them, as far as is known. */
  readonly rows: Pick<Rows<R>, 'ready'> & { readonly map: ReadonlyMap<string, R> }
  /** The table's URL, with its terms. */
  readonly place: URL
  /** Reads JSON. @throws RiachoError */
  read(url: URL): Promise<Response>
  /** A request about a row, or, with an empty key, about the table. @throws RiachoError */
  ask(method: string, key: string, body?: unknown, headers?: Record<string, string>): Promise<Response>
  /** Tells all readers of what was changed in `map` beside `take`. */
  show(changes: Changes<R>): void
}

/** Stands between the rows as they come and the rows as they are shown. */
export interface Layer<R> {
  /** As shown: always the same map. */
  readonly map: ReadonlyMap<string, R>
  /** The rows have changed so; returned is how `map` was changed for it. */
  take(changes: Changes<R>): Changes<R>
}

export type Layers = <R>(inside: Inside<R>) => Layer<R>
