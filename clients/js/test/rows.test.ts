// Groups of messages become rows: the messages of spec/vectors, and what is dropped.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Rows, type Message } from '../src/rows.js'

const message = (operation: 'insert' | 'update' | 'delete', key: string, value?: unknown, txid?: string, last?: boolean): Message => ({
  key,
  ...(value !== undefined && { value }),
  headers: { operation, ...(txid && { txid }), ...(last && { last }) },
})
const START = { headers: { control: 'snapshot-start' } }
const END = { headers: { control: 'snapshot-end' } }

test('each message that the server writes is understood', () => {
  const path = join(import.meta.dirname, '../../../spec/vectors/table-changes.json')
  const { cases } = JSON.parse(readFileSync(path, 'utf8')) as { cases: { name: string; out: string | null }[] }
  let taken = 0
  for (const { name, out } of cases) {
    if (!out) continue
    const parsed = JSON.parse(out) as Message
    if (!parsed.headers.operation || parsed.key === undefined) continue
    const rows = new Rows<unknown>()
    const changes = rows.take(parsed)
    const half = parsed.headers.txid !== undefined && !parsed.headers.last
    expect(changes === undefined, name).toBe(half)
    const stays = !half && parsed.headers.operation !== 'delete'
    expect([...rows.map], name).toEqual(stays ? [[parsed.key, parsed.value]] : [])
    taken += 1
  }
  expect(taken).toBeGreaterThan(5)
})

test('a transaction is applied when it is complete, and dropped where it never was', () => {
  const rows = new Rows<unknown>()
  expect(rows.take(message('insert', 'a', 1, 't'))).toBeUndefined()
  expect(rows.map.size).toBe(0)
  rows.begin()
  expect(rows.take(message('insert', 'b', 1, 'u', true))?.map(({ key }) => key)).toEqual(['b'])
  expect([...rows.map]).toEqual([['b', 1]])
})

test('a snapshot replaces the rows at its end, and tells the difference', () => {
  const rows = new Rows<unknown>()
  const [a, b] = [{ n: 1 }, { n: 1 }]
  for (const one of [START, message('insert', 'a', a), message('insert', 'b', b), message('insert', 'c', 1)]) {
    expect(rows.take(one)).toBeUndefined()
  }
  expect(rows.ready).toBe(false)
  expect(rows.take(END)).toHaveLength(3)
  expect(rows.ready).toBe(true)
  for (const one of [START, message('insert', 'a', { n: 1 }), message('insert', 'b', { n: 2 })]) rows.take(one)
  expect(rows.map.get('c')).toBe(1)
  expect(rows.take(END)).toEqual([
    { operation: 'update', key: 'b', value: { n: 2 }, old: { n: 1 } },
    { operation: 'delete', key: 'c', old: 1 },
  ])
  expect(rows.map.get('a')).toBe(a)
})

test('a snapshot that is cut begins anew', () => {
  const rows = new Rows<unknown>()
  for (const one of [START, message('insert', 'a', 1)]) rows.take(one)
  expect(rows.pending).toBe(true)
  rows.begin()
  for (const one of [START, message('insert', 'b', 1)]) rows.take(one)
  rows.take(END)
  expect([...rows.map.keys()]).toEqual(['b'])
})

test('to delete what is not there is nothing, and what is not known is passed over', () => {
  const rows = new Rows<unknown>()
  expect(rows.take(message('delete', 'a'))).toEqual([])
  expect(rows.take({ headers: { control: 'later' } })).toBeUndefined()
  expect(rows.take({ headers: {} })).toBeUndefined()
})
