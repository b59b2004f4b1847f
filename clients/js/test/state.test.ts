// The machine: one event after the other, no time and no network.

import { expect, test } from 'vitest'
import { RiachoError } from '../src/error.js'
import { step, type Effect, type Event, type Place, type State } from '../src/state.js'
import { seeded } from './support/wait.js'

const error = new RiachoError('network', 'x')
const idle: State = { place: 'idle', order: ['eventsource', 'fetch', 'long-poll'], index: 0, failures: 0 }
const start: Event = { on: 'start', online: true, index: 0 }

/** The state after all events, and what the last one did. */
function after(...events: Event[]): [State, string[]] {
  let state = idle
  let done: readonly Effect[] = []
  for (const event of events) [state, done] = step(state, event)
  return [state, done.map(([what, value]) => (typeof value === 'string' ? `${what} ${value}` : what))]
}

const unfit: Event = { on: 'unfit', error }

test('from the first reader to an open connection', () => {
  expect(after(start)[1]).toEqual(['connect eventsource', 'watch head'])
  expect(after(start, { on: 'head' })[1]).toEqual(['watch first'])
  expect(after(start, { on: 'head' }, { on: 'opened' })[1]).toEqual(['watch silence', 'alarm healthy', 'say'])
  expect(after({ ...start, index: 2 })[1][0]).toBe('connect long-poll')
})

test('failures count until a connection was healthy', () => {
  const lost: Event[] = [{ on: 'lost', error }, { on: 'due' }, { on: 'opened' }, { on: 'lost', error }]
  const [state, done] = after(start, ...lost)
  expect([state.failures, state.place]).toEqual([2, 'waiting'])
  expect(done).toEqual(['disconnect', 'say', 'wait'])
  const [healthy] = after(start, ...lost, { on: 'due' }, { on: 'opened' }, { on: 'healthy' })
  expect(healthy.failures).toBe(0)
})

test('what does not answer is left for the next transport, and after the last it waits', () => {
  expect(after(start, unfit)[1]).toEqual(['say', 'connect fetch', 'watch head'])
  expect(after(start, unfit, unfit)[1]).toEqual(['say', 'connect long-poll', 'watch head'])
  const [state, done] = after(start, unfit, unfit, unfit)
  expect([state.index, done]).toEqual([0, ['disconnect', 'say', 'wait']])
})

test('an open connection: the same transport again where it was lost, the next where it proves unfit', () => {
  expect(after(start, { on: 'opened' }, { on: 'lost', error }, { on: 'due' })[1][0]).toBe('connect eventsource')
  expect(after(start, { on: 'opened' }, unfit)[1][1]).toBe('connect fetch')
  expect(after(start, { on: 'opened' }, { on: 'silent' })[1]).toEqual(['probe'])
})

test('a transport that is not the best is remembered, and a better one tried later', () => {
  const open: Event[] = [{ ...start, index: 2 }, { on: 'opened' }] as Event[]
  expect(after(...open, { on: 'healthy' })[1]).toEqual(['remember long-poll', 'alarm better'])
  expect(after(...open, { on: 'better' })[1][0]).toBe('connect eventsource')
  expect(after(start, { on: 'opened' }, { on: 'healthy' })[1]).toEqual(['remember eventsource'])
})

test('offline is waited out, and online, a page that returns and a wait that is over connect at once', () => {
  expect(after({ ...start, online: false } as Event)[0].place).toBe('offline')
  expect(after(start, { on: 'opened' }, { on: 'offline' })[1]).toEqual(['disconnect'])
  expect(after(start, { on: 'offline' }, { on: 'due' })[0].place).toBe('offline')
  for (const on of ['online', 'wake', 'due'] as const) {
    expect(after(start, { on: 'lost', error }, { on })[1][0]).toBe('connect eventsource')
  }
  expect(after(start, { on: 'opened' }, { on: 'wake' })[1][0]).toBe('connect eventsource')
  expect(after(start, { on: 'opened' }, { on: 'online' })[1]).toEqual([])
})

test('a reader that wants all types makes an EventSource give way, and nothing else', () => {
  const order: Event = { on: 'order', order: ['fetch', 'long-poll'] }
  expect(after(order, start)[1][0]).toBe('connect fetch')
  expect(after(start, { on: 'opened' }, order)[1][0]).toBe('connect fetch')
  const [state, done] = after({ ...start, index: 2 } as Event, { on: 'opened' }, order)
  expect([state.index, done]).toEqual([1, []])
})

test('random events: closed is closed, and only one thing goes on', () => {
  const all: Event[] = [
    start, { on: 'head' }, { on: 'opened' }, { on: 'lost', error }, { on: 'silent' }, unfit, { on: 'due' }, { on: 'healthy' }, { on: 'better' }, { on: 'online' }, { on: 'offline' },
    { on: 'wake' }, { on: 'pause' }, { on: 'resume' }, { on: 'order', order: ['fetch'] }, { on: 'refused', error },
  ]
  const seen = new Set<Place>()
  for (let seed = 0; seed < 3000; seed++) {
    const random = seeded(seed)
    let state = idle
    let connected = false
    let waits = false
    for (let i = 0; i < 40; i++) {
      const event = all[Math.floor(random() * (i < 25 ? all.length - 1 : all.length))] ?? start
      const was = state.place
      const [next, effects] = step(state, event)
      for (const [what] of effects) {
        if (what === 'connect') [connected, waits] = [true, false]
        if (what === 'disconnect') [connected, waits] = [false, false]
        if (what === 'wait') waits = true
      }
      state = next
      seen.add(state.place)
      const text = `seed ${seed}: ${event.on} in ${was}`
      expect(connected, text).toBe(['connecting', 'open'].includes(state.place))
      expect(waits, text).toBe(state.place === 'waiting')
      expect(state.index, text).toBeLessThan(state.order.length)
      if (was === 'closed') expect([state.place, effects], text).toEqual(['closed', []])
    }
  }
  expect(seen.size).toBe(7)
})
