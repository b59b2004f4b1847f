// A collection of TanStack DB over a table: its rows come in by transactions, its mutations go out as one batch each.

import type {
  BaseCollectionConfig, Collection, CollectionConfig, DeleteMutationFnParams, InsertMutationFnParams, PendingMutation, SyncConfig,
  UpdateMutationFnParams,
} from '@tanstack/db'
import type { Inside, Layer, Layers } from './extend.js'
import { table, type Change, type Table, type TableOptions, type Written } from './index.js'
import { landing, type Landing } from './landing.js'
import { patchOf } from './patch.js'

type Key = string | number

/** A collection's usual options, and where its rows are. */
export interface RiachoCollectionConfig<T extends object, K extends Key = Key>
  extends Omit<BaseCollectionConfig<T, K>, 'getKey' | 'syncMode' | 'schema' | 'utils'> {
  /** The table: `/tables/orders`. */
  url: string | URL
  /** Which rows, and how they are reached: `where`, `params`, `columns`, `headers`, `persist`, …; the collection is optimistic by itself. */
  table?: Omit<TableOptions, 'optimistic'>
  /**
   * The key of an item, which as text is the row's key. Default: its `id`. Rows that have no `id` are given their key as `id`.
   */
  getKey?: (item: T) => K
}

/** What a collection has besides. */
export interface RiachoCollectionUtils {
  /** The live table, while the collection syncs: its `state`, `transport`, `error`. */
  table(): Table<object> | undefined
  [name: string]: (...args: never[]) => unknown
}

/**
 * Options for `createCollection`. A mutation is shown at once, sent as one batch, which is made as a whole or not at all, and
 * is persisted when the collection has it from the server. Handlers (`onInsert`, …) of one's own replace the sending.
 */
export function riachoCollectionOptions<T extends object = Record<string, unknown>, K extends Key = Key>(
  config: RiachoCollectionConfig<T, K>,
): CollectionConfig<T, K, never, RiachoCollectionUtils> & { schema?: never; utils: RiachoCollectionUtils } {
  const { url, table: options = {}, getKey: given, ...rest } = config
  const getKey = given ?? ((item: T) => (item as { id: K }).id)
  const running = new Map<unknown, Running>()

  const item = (key: string, row: T): T => (given || (row as { id?: unknown }).id !== undefined ? row : { ...row, id: key })

  const sync: SyncConfig<T, K> = {
    // What comes is the row, not what changed of it.
    rowUpdateMode: 'full',
    sync: ({ collection, begin, write, commit, markReady, markError }) => {
      const run = start(url, options)
      running.set(collection, run)
      const live = run.table as unknown as Table<T>
      const apply = (changes: readonly Change<T>[]): void => {
        begin()
        for (const change of changes) {
          if (change.operation === 'delete') write({ type: 'delete', key: getKey(item(change.key, change.old)) })
          else write({ type: change.operation, value: item(change.key, change.value) })
        }
        commit()
      }
      live.subscribe((_, changes) => {
        if (changes.length) apply(changes)
      })
      live.ready.then(markReady, markError)
      return () => {
        running.delete(collection)
        live.close()
      }
    },
  }

  const send = async (
    { transaction, collection }: { transaction: { mutations: readonly PendingMutation<T>[] }; collection: Collection<T, K, never> },
  ): Promise<void> => {
    const run = running.get(collection) ?? start(url, options)
    await run.send(transaction.mutations.map((mutation) => ({ ...changeOf(mutation), key: String(getKey(mutation.modified)) })))
  }

  return {
    onInsert: (params: InsertMutationFnParams<T, K, never>) => send(params as never),
    onUpdate: (params: UpdateMutationFnParams<T, K, never>) => send(params as never),
    onDelete: (params: DeleteMutationFnParams<T, K, never>) => send(params as never),
    ...rest,
    getKey,
    sync,
    utils: { table: () => [...running.values()].at(-1)?.table },
  } as never
}

interface Running {
  readonly table: Table<object>
  /** Sends changes as one batch, and waits until they are in the rows. @throws RiachoError */
  send(changes: readonly { readonly key: string }[]): Promise<void>
}

const start = (url: string | URL, options: TableOptions): Running => {
  let ask: Inside<object>['ask'] | undefined
  let landings: Landing | undefined
  const through: Layers = <R>(given: Inside<R>): Layer<R> => {
    ask = given.ask
    landings = landing(given)
    return {
      map: given.rows.map,
      take: (changes) => {
        landings?.applied()
        return changes
      },
    }
  }
  const live = table<object>(url, { ...options, optimistic: through })
  const send = async (changes: readonly { readonly key: string }[]): Promise<void> => {
    landings?.send()
    let cursor: string
    try {
      cursor = ((await (await ask?.('POST', '', changes))?.json()) as Written).cursor
    } catch (err) {
      landings?.refused()
      throw err
    }
    await new Promise<void>((landed) => landings?.answered(cursor, changes.map(({ key }) => key), landed))
  }
  return { table: live, send }
}

/** A mutation as a batch has it. Of what was not changed nothing is sent, where a patch can say so. */
const changeOf = ({ type, original, modified }: Pick<PendingMutation<object>, 'type' | 'original' | 'modified'>): object => {
  if (type === 'delete') return { headers: { operation: 'delete' } }
  if (type === 'insert') return { value: modified, headers: { operation: 'insert' } }
  // As they will be sent: dates are text then.
  const [before, after] = JSON.parse(JSON.stringify([original, modified])) as [Record<string, unknown>, Record<string, unknown>]
  const patch = patchOf(before, after)
  return patch ? { value: patch, headers: { operation: 'patch' } } : { value: after, headers: { operation: 'update' } }
}
