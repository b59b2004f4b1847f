// Tables: the rows as they are, and requests that change them. It must not know transports.

import { OWN, type ConnectOptions } from './connect.js'
import { RiachoError, type ProblemError } from './error.js'
import { call, Live, MESSAGE, RESET } from './live.js'
import { Rows, type Change, type Message } from './rows.js'
import type { Layer, Layers, Keeper, Persist } from './extend.js'

/** Which rows of a table, what of them, and how it is reached. */
export interface TableOptions extends ConnectOptions {
  /** A predicate of SQL: `status = $1 AND total > 100`. */
  where?: string
  /** The values of `$1` and so on. */
  params?: readonly (string | number | boolean | null)[]
  /** Members of the row, paths with dots. */
  columns?: readonly string[]
  /** At most one change of a row in so many milliseconds, with its newest state. */
  minInterval?: number
  /** `false`: each change one by one, also after having been away. Default: the newest state of each row. */
  conflate?: boolean
  /** Keeps the rows for the next time: `persist` of `riacho/persist`. */
  persist?: Persist
  /** Shows writes at once: `optimistic` of `riacho/optimistic`. */
  optimistic?: Layers
}

/** What was applied together. */
export type Changes<R> = readonly Change<R>[]

/** Called after a group was applied: with all rows, and what became of them. */
export type Subscriber<R> = (rows: ReadonlyMap<string, R>, changes: Changes<R>) => void

/** Where a write went: `cursor` is its place, and comes with the change. */
export interface Written {
  readonly cursor: string
}

/** A live table (`/tables/orders`). It connects with its first reader. */
export const table = <R = Record<string, unknown>>(url: string | URL, options: TableOptions = {}): Table<R> =>
  new Table<R>(url, options)

export class Table<R = Record<string, unknown>> extends Live<Changes<R>> {
  #rows = new Rows<R>()
  #subscribers = new Set<Subscriber<R>>()
  #ready: Promise<this> | undefined
  #settle: [(table: this) => void, (error: RiachoError) => void] | undefined
  /** What is shown. */
  #map: ReadonlyMap<string, R> = this.#rows.map
  /** Makes what is shown of the rows as the server has them. */
  #layer: Layer<R> | undefined
  /** Keeps rows; until it has given those of the last time nothing is asked for. */
  #keeper: Keeper<R> | undefined
  #kept: Promise<void> | undefined

  constructor(url: string | URL, options: TableOptions) {
    super(url, options, {
      cursor: '',
      types: () => [MESSAGE, RESET],
      select: (params) => select(params, options),
      begin: () => this.#rows.begin(),
      event: (type, body, id) => this.#event(type, body, id),
      mark: (id) => {
        // After a reset there is none until the rows are here, and within a group none at all.
        if (this.cursor && !this.#rows.pending) this.sink.cursor = id
      },
      snapshot: (body) => {
        const { rows, cursor } = body as { rows: { key: string; value: R }[]; cursor: string }
        const first = !this.#rows.ready
        this.sink.cursor = cursor
        this.#applied(this.#rows.replace(rows), first)
      },
    })
    const { persist, optimistic } = options
    if (!persist && !optimistic) return
    const place = new URL(this.requests._url)
    select(place.searchParams, options)
    this.#layer = optimistic?.({
      live: this, rows: this.#rows, place,
      read: (url) => this.requests._ask(url, JSON_TYPE),
      ask: this.#ask.bind(this),
      show: this.#show.bind(this),
    })
    this.#map = this.#layer?.map ?? this.#map
    this.#keeper = persist?.(place.href, this.#rows.map, this)
  }

  protected override start(want?: string | true): void {
    if (!this.#keeper) return super.start(want)
    this.#kept ??= this.#keeper.load().then((kept) => {
      if (!kept || this.error) return
      this.sink.cursor = kept.cursor
      this.#arrived(this.#rows.replace(kept.rows), true)
    })
    void this.#kept.then(() => super.start(want))
  }

  /** The rows by key, as of the last complete transaction: always the same map. */
  get rows(): ReadonlyMap<string, R> {
    this.start()
    return this.#map
  }

  /** Fulfilled when the rows are here for the first time; rejected where it ends before. */
  get ready(): Promise<this> {
    this.start()
    this.#ready ??= new Promise((resolve, reject) => {
      if (this.#rows.ready) resolve(this)
      else if (this.error) reject(this.error)
      else this.#settle = [resolve, reject]
    })
    return this.#ready
  }

  /** The row with this key. */
  get(key: string): R | undefined {
    return this.rows.get(key)
  }

  /** Calls `subscriber` after each group; at once, and without changes, if there are rows already. What is returned ends it. */
  subscribe(subscriber: Subscriber<R>): () => void {
    this.#subscribers.add(subscriber)
    this.start()
    if (this.#rows.ready) call(subscriber, this.#map, [])
    return () => void this.#subscribers.delete(subscriber)
  }

  /** Each group of changes from now on; with the first rows as inserts, if they are not here yet. */
  changes(): AsyncGenerator<Changes<R>, void, void> {
    this.start()
    return this.read()
  }

  /** Adds a row. @throws ProblemError `row_exists` where there is one with this key */
  insert(key: string, value: R): Promise<Written> {
    return this.#write('POST', '', [{ key, value, headers: { operation: 'insert' } }])
  }

  /**
   * Changes members of a row: a JSON merge patch (`null` takes a member away), or a function from the row to the new row. The
   * function is called again where somebody else changed the row meanwhile, and must not change what it is given.
   *
   * @throws ProblemError `row_unknown` where there is no such row, `condition_failed` where others were faster ten times
   */
  async update(key: string, change: Patch<R> | ((row: R) => R)): Promise<Written> {
    if (typeof change !== 'function') return this.#write('PATCH', key, change)
    for (let left = UPDATES_MAX; ; left--) {
      const answer = await this.#ask('GET', key)
      const row = change((await answer.json()) as R)
      try {
        return await this.#write('PUT', key, row, { 'if-match': answer.headers.get('etag') ?? '*' })
      } catch (err) {
        if ((err as ProblemError).code !== 'condition_failed' || left <= 1) throw err
      }
    }
  }

  /** Takes a row away. @throws ProblemError `row_unknown` where there is none */
  delete(key: string): Promise<Written> {
    return this.#write('DELETE', key)
  }

  async #write(method: string, key: string, body?: unknown, headers?: Record<string, string>): Promise<Written> {
    const answer = await this.#ask(method, key, body, headers)
    return { cursor: ((await answer.json()) as Written).cursor }
  }

  async #ask(method: string, key: string, body?: unknown, headers?: Record<string, string>): Promise<Response> {
    // A URL has no such segments, and `%2E` is the same to it.
    if (key === '.' || key === '..') throw new RiachoError('key_invalid', false)
    const url = new URL(this.requests._url)
    url.search = ''
    if (key) url.pathname += `/${encodeURIComponent(key)}`
    const json = body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': JSON_TYPE, ...headers } }
    return this.requests._ask(url, JSON_TYPE, { method, ...json })
  }

  #event(type: string, body: unknown, id: string): void {
    if (type === RESET) {
      // The old rows stay until the new ones are complete.
      this.#rows.begin()
      this.sink.cursor = ''
    }
    if (type.startsWith(OWN)) return
    const first = !this.#rows.ready
    const changes = this.#rows.take(body as Message)
    if (!changes) return
    this.sink.cursor = id
    this.#applied(changes, first)
  }

  #applied(changes: Changes<R>, first: boolean): void {
    this.#keeper?.keep(changes)
    this.#arrived(changes, first)
  }

  #arrived(changes: Changes<R>, first: boolean): void {
    if (first) this.#settle?.[0](this)
    this.#show(this.#layer?.take(changes) ?? changes, first)
  }

  #show(changes: Changes<R>, first = false): void {
    if (!first && !changes.length) return
    for (const subscriber of this.#subscribers) call(subscriber, this.#map, changes)
    this.push(changes)
  }

  protected override ended(error: RiachoError): void {
    super.ended(error)
    this.#settle?.[1](error)
  }
}

/** A JSON merge patch (RFC 7396): members that are not there stay as they are. */
export type Patch<R> = { readonly [M in keyof R]?: R[M] extends object ? Patch<R[M]> | R[M] | null : R[M] | null }

const select = (params: URLSearchParams, { where, params: values, columns, minInterval, conflate }: TableOptions): void => {
  if (where !== undefined) params.set('where', where)
  if (values) params.set('params', JSON.stringify(values))
  if (columns) params.set('columns', columns.join(','))
  if (minInterval) params.set('min_interval', `${minInterval}ms`)
  if (conflate === false) params.set('conflate', '0')
}

const JSON_TYPE = 'application/json'
/** How often `update` with a function begins anew. */
const UPDATES_MAX = 10
