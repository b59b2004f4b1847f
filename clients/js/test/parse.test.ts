// The parser: the cases of spec/vectors, and any way to cut the bytes.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EVENT_CHARS_MAX, parser } from '../src/parse.js'
import { seeded } from './support/wait.js'

interface Outcome {
  events: { id: string; type: string; data: string }[]
  last_id: string
  retry?: number
}

const vectors = <T>(name: string): T[] =>
  (JSON.parse(readFileSync(join(import.meta.dirname, '../../../spec/vectors', name), 'utf8')) as { cases: T[] }).cases

function parse(chunks: Uint8Array[]): Outcome {
  const outcome: Outcome = { events: [], last_id: '' }
  const push = parser({
    event: (event) => {
      outcome.events.push(event)
      outcome.last_id = event.id
    },
    block: (id) => (outcome.last_id = id),
    retry: (ms) => (outcome.retry = ms),
  })
  chunks.forEach(push)
  return outcome
}

type Piece = string | { hex: string }
const bytes = (piece: Piece): Buffer =>
  typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece.hex, 'hex')

/** Cuts at random places. */
function cut(whole: Uint8Array, random: () => number, mean: number): Uint8Array[] {
  const chunks = []
  for (let at = 0; at < whole.length; ) {
    const next = at + Math.floor(random() * 2 * mean)
    chunks.push(whole.subarray(at, next))
    at = next
  }
  return chunks
}

const cases = vectors<{ name: string; in: Piece[]; out: Outcome }>('sse_parse.json')

test.each(cases)('$name', ({ in: pieces, out }) => {
  expect(parse(pieces.map(bytes))).toEqual(out)
})

test('any cut of the bytes gives the same events', () => {
  for (const { name, in: pieces, out } of cases) {
    const whole = Buffer.concat(pieces.map(bytes))
    expect(parse([...whole].map((byte) => Uint8Array.of(byte))), name).toEqual(out)
    for (let seed = 0; seed < 50; seed++) {
      expect(parse(cut(whole, seeded(seed), 4)), `${name}, seed ${seed}`).toEqual(out)
    }
  }
})

test('random text of the grammar, cut anywhere', () => {
  const parts = ['data', 'id', 'event', 'retry', ':', ' ', '\r', '\n', '\r\n', '\n\n', 'a', '7', '\0', 'é', '🐟', '\ufeff']
  for (let seed = 0; seed < 2000; seed++) {
    const random = seeded(seed)
    const text = Array.from({ length: 60 }, () => parts[Math.floor(random() * parts.length)]).join('')
    const whole = Buffer.from(text)
    expect(parse(cut(whole, random, 3)), `seed ${seed}`).toEqual(parse([whole]))
  }
})

interface Written {
  event?: { id: string; stream: string; type?: string; data?: unknown; json?: boolean; envelope?: boolean }
  opening?: { id: string; retry_ms?: number; retry?: number }
}

test('what the server writes is read', () => {
  let checked = 0
  for (const { name, in: { event, opening }, out } of vectors<{ name: string; in: Written; out: string }>('sse.json')) {
    if (!out.startsWith('id:') || out.includes('\r')) continue
    const { events, last_id } = parse([Buffer.from(out)])
    if (opening) expect([events.length, last_id], name).toEqual([0, opening.id])
    if (!event || events.length !== 1) continue
    checked += 1
    expect(events[0], name).toMatchObject({ id: event.id, type: event.type ?? 'message' })
    if (typeof event.data !== 'string') continue
    const data = events[0]?.data ?? ''
    if (event.envelope) {
      const inner = event.json ? (JSON.parse(event.data) as unknown) : event.data
      expect(JSON.parse(data), name).toEqual({ stream: event.stream, data: inner })
    }
    else expect(data, name).toBe(event.data.replace(/\r\n?/g, '\n'))
  }
  expect(checked).toBeGreaterThan(20)
})

test('an event without end is refused, not kept', () => {
  const push = parser({ event: () => undefined })
  const chunk = Buffer.alloc(2 ** 24, 'a')
  expect(() => {
    for (let size = 0; size <= EVENT_CHARS_MAX; size += chunk.length) push(chunk)
  }).toThrow(RangeError)
})
