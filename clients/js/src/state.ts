// When to connect, by which transport, and when to give up: pure functions, one for each thing that happens. They must not know
// time, chance, fetch or the DOM: whoever acts for them does what belongs to the place that is entered.

import type { RiachoError } from './error.js'

export type Transport = 'eventsource' | 'fetch' | 'long-poll' | 'websocket' | 'shared'

/**
 * Where a connection is: `idle` before its first reader, `connecting`, `open`, `waiting` before a reconnection, `offline`,
 * `paused` while a reader catches up with what it has, `closed` for good.
 */
export type Place = 'idle' | 'connecting' | 'open' | 'waiting' | 'offline' | 'paused' | 'closed'

export interface State {
  readonly place: Place
  /** Differs whenever a place was entered, also the same one anew. */
  readonly _turn: number
  /** The best first. */
  readonly _order: readonly [Transport, ...Transport[]]
  /** Which of them is used. */
  readonly _by: Transport
  /** Connections in a row that were not healthy. */
  readonly _failures: number
  /** Why the place was entered, if something failed. */
  readonly _error?: RiachoError | undefined
}

/** Something that happens, and what becomes of a state by it: the same state where it does not count in that place. */
export type Step<V = void> = (state: State, value: V) => State

const at = <V = void>(places: string, rule: Step<V>): Step<V> => (state, value) => places.includes(state.place) ? rule(state, value) : state
const enter = (place: Place) => (state: State, _error?: unknown): State =>
  ({ ...state, place, _turn: state._turn + 1, _error: _error as RiachoError | undefined })
const connect = enter('connecting')

const BUSY = 'connecting open'
const BEGUN = `${BUSY} waiting`
const ANY = `${BEGUN} idle offline paused`

const first = (state: State): State => ({ ...state, _by: state._order[0] })
const next = ({ _order, _by }: State): Transport | undefined => _order[_order.indexOf(_by) + 1]
/** The same transport, where it may be used. */
const within = (state: State, _by = state._by): State => (state._order.includes(_by) ? { ...state, _by } : first(state))

/** There is a reader; which transport worked before. */
export const start: Step<Transport | undefined> = at('idle', (state, by) => connect(within(state, by)))

/** The first block is here, or the first page. */
export const opened: Step = at('connecting', enter('open'))

/**
 * The connection ended, and may be tried again. What opens and is cut, again and again, may be cut by something on the way: the
 * next transport may fare better.
 */
export const lost: Step<RiachoError> = at(BUSY, (state, error) =>
  wait(state, error, state.place === 'open' && state._failures >= CUTS ? next(state) : state._by))

/** This transport does not work here. The next at once; after the last one it is a failure like any other. */
export const unfit: Step<RiachoError> = at(BUSY, (state, error) => {
  const _by = next(state)
  return _by ? connect({ ...state, _by }, error) : wait(state, error)
})

const wait = (state: State, error: RiachoError, _by = state._order[0]): State =>
  enter('waiting')({ ...state, _by, _failures: state._failures + 1 }, error)

/** It ended for good. */
export const refused: Step<RiachoError> = at(ANY, enter('closed'))

/** It was open for a while. */
export const healthy: Step = at('open', (state) => ({ ...state, _failures: 0 }))

/** It is time to try a better transport. */
export const better: Step = at('open', (state) => connect(first(state)))

/** There is a network, or the time to wait is over. */
export const online: Step = at('waiting offline', connect)
export const offline: Step = at(`${BEGUN} idle`, enter('offline'))

/** The page was asleep, or away; or something else is to be asked for. */
export const wake: Step = at(BEGUN, connect)

/** A reader has more than it takes. */
export const pause: Step = at(`${BEGUN} offline`, enter('paused'))
export const resume: Step = at('paused', connect)

/** Other transports may be used from now on. What is connected begins anew only where it may not go on as it is. */
export const reorder: Step<State['_order']> = at(ANY, (was, _order) => {
  const state = within({ ...was, _order })
  return state._by === was._by ? state : at<unknown>(BUSY, connect)(state, undefined)
})

/** So many failures in a row are borne on one transport that opens and is cut. */
const CUTS = 3
