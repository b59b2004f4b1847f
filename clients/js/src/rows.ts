// The rows of a table as messages of the State Protocol change them: a group at a time, never half of one. Pure: it must not
// know connections.

/** A message about a table, as spec/protocol.md has it. */
export interface Message {
  readonly key?: string
  readonly value?: unknown
  readonly old_value?: unknown
  readonly headers: {
    readonly operation?: 'insert' | 'update' | 'delete'
    readonly control?: string
    readonly txid?: string
    readonly last?: boolean
  }
}

/** What became of one row. */
export type Change<R> =
  | { readonly operation: 'insert'; readonly key: string; readonly value: R }
  | { readonly operation: 'update'; readonly key: string; readonly value: R; readonly old: R }
  | { readonly operation: 'delete'; readonly key: string; readonly old: R }

export class Rows<R> {
  /** As of the last complete group. */
  readonly map = new Map<string, R>()
  /** A snapshot was complete. */
  ready = false
  /** Messages of the group that is not complete. */
  #group: Message[] = []
  #snapshot = false

  /** Whether a group has begun and is not complete. */
  get pending(): boolean {
    return this.#snapshot || this.#group.length > 0
  }

  /** Drops what is not complete: it will come again. */
  begin(): void {
    this.#group = []
    this.#snapshot = false
  }

  /**
   * Takes a message, and returns the changes of the group where it completes one.
   *
   * That is told by the message alone, not by its `id`: of a native EventSource nobody sees whether a message had one, since
   * heartbeats move the last id.
   */
  take(message: Message): Change<R>[] | undefined {
    const { control, txid, last } = message.headers
    if (control === 'snapshot-start') {
      this.begin()
      this.#snapshot = true
      return
    }
    if (control === 'snapshot-end') return this.#snapshot ? this.#replace() : undefined
    if (control || message.key === undefined) return
    this.#group.push(message)
    if (this.#snapshot || (txid !== undefined && !last)) return
    const group = this.#group
    this.#group = []
    return group.flatMap((message) => this.#apply(message))
  }

  /** The rows are these: what differs is applied at once, and what is equal stays the same object. */
  replace(rows: Iterable<Pick<Message, 'key' | 'value'>>): Change<R>[] {
    const gone = new Set(this.map.keys())
    const changes: Change<R>[] = []
    for (const { key, value } of rows) {
      if (key === undefined) continue
      gone.delete(key)
      if (this.map.has(key) && same(this.map.get(key), value)) continue
      changes.push(...this.#apply({ key, value, headers: { operation: 'update' } }))
    }
    for (const key of gone) changes.push(...this.#apply({ key, headers: { operation: 'delete' } }))
    this.ready = true
    return changes
  }

  #replace(): Change<R>[] {
    const group = this.#group
    this.begin()
    return this.replace(group)
  }

  /** `insert` and `update` both say what the row is now; to delete what is not there is nothing. */
  #apply({ key = '', value, headers }: Message): Change<R>[] {
    const had = this.map.has(key)
    const old = this.map.get(key) as R
    if (headers.operation === 'delete') {
      this.map.delete(key)
      return had ? [{ operation: 'delete', key, old }] : []
    }
    this.map.set(key, value as R)
    return [had ? { operation: 'update', key, value: value as R, old } : { operation: 'insert', key, value: value as R }]
  }
}

/** Whether two JSON values are equal; the order of members counts, as it does for the server. */
export const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)
