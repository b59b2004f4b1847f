// When to connect, by which transport, and when to give up: a pure function over a table. It must not know time, chance,
// fetch or the DOM; what it decides comes back as effects.

import type { RiachoError } from './error.js'

export type Transport = 'eventsource' | 'fetch' | 'long-poll'

/**
 * Where a connection is: `idle` before its first reader, `connecting`, `open`, `waiting` before a reconnection, `offline`,
 * `paused` while a reader catches up with what it has, `closed` for good.
 */
export type Place = 'idle' | 'connecting' | 'open' | 'waiting' | 'offline' | 'paused' | 'closed'

export interface State {
  readonly place: Place
  /** The best first. */
  readonly order: readonly Transport[]
  /** Which of `order` is used. */
  readonly index: number
  /** Connections in a row that were not healthy. */
  readonly failures: number
}

/** What happens, and what is known of it. */
export interface Events {
  /** There is a reader. `index`: which transport worked before. */
  start: { online: boolean; index: number }
  /** The head of the answer is here. */
  head: object
  /** The first block is here, or the first page. */
  opened: object
  /** The connection ended, and may be tried again. */
  lost: { error: RiachoError }
  /** It ended for good. */
  refused: { error: RiachoError }
  /** An EventSource was silent; of heartbeats it says nothing. */
  silent: object
  /** This transport does not work here. */
  unfit: { error: RiachoError }
  /** The time to wait is over. */
  due: object
  /** It was open for a while. */
  healthy: object
  /** It is time to try a better transport. */
  better: object
  online: object
  offline: object
  /** The page was asleep, or away. */
  wake: object
  /** A reader has more than it takes. */
  pause: object
  resume: object
  /** Other transports may be used from now on. */
  order: { order: readonly Transport[] }
}

export type Event = { [E in keyof Events]: { readonly on: E } & Events[E] }[keyof Events]

/** Times that the machine names and whoever acts for it knows. */
export type Watch = 'head' | 'first' | 'silence'

export type Effect =
  /** Ends what is open, and connects. */
  | readonly ['connect', Transport]
  /** Ends what is open, and what is waited for. */
  | readonly ['disconnect']
  /** Say what is wrong if nothing comes for so long. */
  | readonly ['watch', Watch]
  /** Say `due` after a random time: at least what the server told, and of a span that doubles with each failure. */
  | readonly ['wait', State]
  /** Ask whether anything is missing, and say so. */
  | readonly ['probe']
  /** Say so after a while. */
  | readonly ['alarm', 'healthy' | 'better']
  | readonly ['remember', Transport]
  /** Say so to whoever reads. */
  | readonly ['say', RiachoError?]

type Result = readonly [State, readonly Effect[]]
type Step<E extends keyof Events> = (state: State, event: Events[E]) => Result
type Steps = { readonly [E in keyof Events]: Step<E> }

/** What comes of `event` in `state`. */
export function step(state: State, event: Event): Result {
  return (TABLE[state.place][event.on] as Step<keyof Events>)(state, event as never)
}

const stay = (state: State): Result => [state, []]
const used = (state: State): Transport => state.order[state.index] ?? 'fetch'
const to = (place: Place, ...effects: Effect[]) => (state: State): Result => [{ ...state, place }, effects]

const connect = (state: State): Result => [
  { ...state, place: 'connecting' },
  [['connect', used(state)], ['watch', 'head']],
]
const lost: Step<'lost'> = (state, { error }) => [
  { ...state, place: 'waiting', failures: state.failures + 1 },
  [['disconnect'], ['say', error], ['wait', state]],
]
const refused: Step<'refused'> = (state, { error }) => [
  { ...state, place: 'closed' },
  [['disconnect'], ['say', error]],
]
/** The next transport at once; after the last one it is a failure like any other. */
const demote = (state: State, { error }: { error: RiachoError }): Result => {
  const index = state.index + 1
  if (index >= state.order.length) return lost({ ...state, index: 0 }, { error })
  const [next, effects] = connect({ ...state, index })
  return [next, [['say', error], ...effects]]
}
const offline = to('offline', ['disconnect'])
const pause = to('paused', ['disconnect'])
/** What was connected begins anew only where it may not go on as it is. */
const reorder = (again: (state: State) => Result): Step<'order'> => (state, { order }) => {
  const index = order.indexOf(used(state))
  return index < 0 ? again({ ...state, order, index: 0 }) : [{ ...state, order, index }, []]
}

const nothing: Steps = {
  start: stay, head: stay, opened: stay, lost: stay, refused, silent: stay, unfit: stay, due: stay, healthy: stay, better: stay,
  online: stay, offline: stay, wake: stay, pause: stay, resume: stay, order: reorder(stay),
}

const TABLE: Record<Place, Steps> = {
  idle: { ...nothing, start: (state, { online, index }) => (online ? connect : offline)({ ...state, index }) },
  connecting: {
    ...nothing,
    head: (state) => [state, [['watch', 'first']]],
    opened: to('open', ['watch', 'silence'], ['alarm', 'healthy'], ['say']),
    lost, unfit: demote, offline, pause, wake: connect, order: reorder(connect),
  },
  open: {
    ...nothing,
    lost, unfit: demote, offline, pause, wake: connect, order: reorder(connect),
    silent: (state) => [state, [['probe']]],
    healthy: (state) => [
      { ...state, failures: 0 },
      [['remember', used(state)], ...(state.index > 0 ? [['alarm', 'better'] as const] : [])],
    ],
    better: (state) => connect({ ...state, index: 0 }),
  },
  waiting: { ...nothing, due: connect, online: connect, wake: connect, offline, pause },
  offline: { ...nothing, online: connect, pause },
  paused: { ...nothing, resume: connect },
  closed: { ...nothing, refused: stay, order: stay },
}
