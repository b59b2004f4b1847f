// The machine: one thing after the other, no time and no network.

import { expect, test } from 'vitest'
import { RiachoError } from '../src/error.js'
import * as to from '../src/state.js'
import type { Place, State, Step } from '../src/state.js'
import { seeded } from './support/wait.js'

const error = new RiachoError('network')
const idle: State = { place: 'idle', _turn: 0, _order: ['eventsource', 'fetch', 'long-poll'], _by: 'eventsource', _failures: 0 }

type Happened = (state: State) => State
const start: Happened = (state) => to.start(state, undefined)
const lost: Happened = (state) => to.lost(state, error)
const unfit: Happened = (state) => to.unfit(state, error)
const { opened, healthy, better, online, offline, wake, pause, resume } = Object.fromEntries(
  Object.entries(to as unknown as Record<string, Step>).map(([name, step]) => [name, ((state) => step(state)) as Happened]),
) as Record<'opened' | 'healthy' | 'better' | 'online' | 'offline' | 'wake' | 'pause' | 'resume', Happened>

const after = (...events: Happened[]): State => events.reduce((state, happened) => happened(state), idle)
const where = (...events: Happened[]): unknown[] => {
  const { place, _by, _failures } = after(...events)
  return [place, _by, _failures]
}

test('from the first reader to an open connection', () => {
  expect(where(start)).toEqual(['connecting', 'eventsource', 0])
  expect(where(start, opened)).toEqual(['open', 'eventsource', 0])
  expect(where((state) => to.start(state, 'long-poll'))).toEqual(['connecting', 'long-poll', 0])
  expect(where((state) => to.start(state, 'websocket'))).toEqual(['connecting', 'eventsource', 0])
})

test('failures count until a connection was healthy', () => {
  const twice = [start, lost, online, opened, lost]
  expect(where(...twice)).toEqual(['waiting', 'eventsource', 2])
  expect(after(...twice)._error).toBe(error)
  expect(where(...twice, online, opened, healthy)).toEqual(['open', 'eventsource', 0])
})

test('what does not answer is left for the next transport, and after the last it waits', () => {
  expect(where(start, unfit)).toEqual(['connecting', 'fetch', 0])
  expect(where(start, unfit, unfit)).toEqual(['connecting', 'long-poll', 0])
  expect(where(start, unfit, unfit, unfit)).toEqual(['waiting', 'eventsource', 1])
})

test('what opens and is cut again and again is left for the next transport; what never opened is not', () => {
  const cut = [opened, lost, online]
  expect(where(start, ...cut, ...cut, ...cut)).toEqual(['connecting', 'eventsource', 3])
  expect(where(start, ...cut, ...cut, ...cut, ...cut)).toEqual(['connecting', 'fetch', 4])
  expect(where(start, ...cut, ...cut, ...cut, ...cut, ...cut, ...cut)).toEqual(['connecting', 'eventsource', 6])
  expect(where(start, ...Array.from({ length: 9 }, () => [lost, online]).flat())).toEqual(['connecting', 'eventsource', 9])
})

test('an open connection: the same transport again where it was lost, the next where it proves unfit', () => {
  expect(where(start, opened, lost, online)).toEqual(['connecting', 'eventsource', 1])
  expect(where(start, opened, unfit)).toEqual(['connecting', 'fetch', 0])
  expect(where(start, unfit, opened, better)).toEqual(['connecting', 'eventsource', 0])
})

test('offline is waited out, and online, and a page that returns, connect at once', () => {
  expect(where(offline)).toEqual(['offline', 'eventsource', 0])
  expect(where(start, opened, offline, wake)).toEqual(['offline', 'eventsource', 0])
  for (const happened of [online, wake]) expect(where(start, lost, happened)).toEqual(['connecting', 'eventsource', 1])
  expect(after(start, opened, wake)._turn).toBe(3)
  expect(after(start, opened, online)).toEqual(after(start, opened))
})

test('a reader that wants all types makes an EventSource give way, and nothing else', () => {
  const all: Happened = (state) => to.reorder(state, ['fetch', 'long-poll'])
  expect(where(all, start)).toEqual(['connecting', 'fetch', 0])
  expect(where(start, opened, all)).toEqual(['connecting', 'fetch', 0])
  const polls = after(start, unfit, unfit, opened, all)
  expect([polls.place, polls._by, polls._turn]).toEqual(['open', 'long-poll', 4])
})

test('random events: closed is closed, and a place is entered or nothing happened', () => {
  const all: Happened[] = [
    start, opened, lost, unfit, healthy, better, online, offline, wake, pause, resume,
    (state) => to.reorder(state, ['fetch']), (state) => to.refused(state, error),
  ]
  const seen = new Set<Place>()
  for (let seed = 0; seed < 3000; seed++) {
    const random = seeded(seed)
    let state = idle
    for (let i = 0; i < 40; i++) {
      const was = state
      const index = Math.floor(random() * (i < 25 ? all.length - 1 : all.length))
      state = all[index]?.(state) ?? state
      seen.add(state.place)
      const text = `seed ${seed}: event ${index} in ${was.place}`
      expect(state._order, text).toContain(state._by)
      if (state.place !== was.place) expect(state._turn, text).toBe(was._turn + 1)
      if (state._turn === was._turn && state.place === 'open') expect(state._by, text).toBe(was._by)
      if (was.place === 'closed') expect(state, text).toBe(was)
    }
  }
  expect(seen.size).toBe(7)
})
