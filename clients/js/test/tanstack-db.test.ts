// TanStack DB itself, on a table of the real server.

import { createCollection, createLiveQueryCollection, eq } from '@tanstack/db'
import { expect, onTestFinished, test } from 'vitest'
import { riachoCollectionOptions, type RiachoCollectionConfig } from '../src/tanstack-db.js'
import { Proxy } from './support/proxy.js'
import { Server } from './support/server.js'
import { until } from './support/wait.js'

interface Todo {
  id: string
  text: string
  done: boolean
  deep?: { a: number; b?: number }
}

function open(server: Server, config: Partial<RiachoCollectionConfig<Todo, string>> = {}) {
  const options = riachoCollectionOptions<Todo, string>({
    url: `${server.origin}/tables/todos`, table: { reconnectionTime: 20, timing: { cap: 100 } }, ...config,
  })
  const todos = createCollection(options)
  onTestFinished(() => todos.cleanup())
  return todos
}

const texts = (rows: Iterable<Todo>) => [...rows].map(({ id, text }) => `${id} ${text}`).sort()

test('a collection is the table, and live queries are live', async () => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/todos/1', '{"text":"a","done":false}')
  await server.ask('PUT', '/tables/todos/2', '{"id":"2","text":"b","done":true}')
  const todos = open(server)
  await todos.preload()
  expect(texts(todos.values())).toEqual(['1 a', '2 b'])
  expect(todos.get('1')).toMatchObject({ id: '1', text: 'a' })
  const open_ = createLiveQueryCollection((q) => q.from({ todo: todos }).where(({ todo }) => eq(todo.done, false)).select(({ todo }) => ({ id: todo.id, text: todo.text })))
  onTestFinished(() => open_.cleanup())
  await open_.preload()
  expect(open_.toArray.map(({ text }) => text)).toEqual(['a'])
  await server.ask('PATCH', '/tables/todos/2', '{"done":false}')
  await until('the change', () => open_.size === 2)
  await server.ask('DELETE', '/tables/todos/1')
  await until('the delete', () => open_.toArray.map(({ text }) => text).join() === 'b')
  expect(texts(todos.values())).toEqual(['2 b'])
  await server.ask('DELETE', '/tables/todos')
  await until('no rows', () => todos.size === 0 && open_.size === 0)
  expect(todos.utils.table()?.state).toBe('open')
})

test('mutations are shown at once, sent, and stay when they have come back', async () => {
  const server = await Server.start()
  // What comes is late; what is sent goes past that.
  const proxy = await Proxy.start(server, () => ({ kind: 'delay', ms: 100 }))
  const late: typeof fetch = (url, init) => fetch(init?.method === 'POST' ? String(url) : String(url).replace(server.origin, proxy.origin), init)
  const todos = open(server, { table: { reconnectionTime: 20, fetch: late } })
  await todos.preload()
  const seen: string[][] = []
  todos.subscribeChanges(() => seen.push(texts(todos.values())))
  const insert = todos.insert({ id: '1', text: 'a', done: false, deep: { a: 1, b: 2 } })
  expect(texts(todos.values())).toEqual(['1 a'])
  await insert.isPersisted.promise
  expect(await server.rows('/tables/todos')).toEqual(new Map([['1', { id: '1', text: 'a', done: false, deep: { a: 1, b: 2 } }]]))
  // Another's change of another member is not overwritten.
  await server.ask('PATCH', '/tables/todos/1', '{"done":true}')
  const update = todos.update('1', (todo) => {
    todo.text = 'b'
    todo.deep = { a: 3 }
  })
  expect(todos.get('1')).toMatchObject({ text: 'b', deep: { a: 3 } })
  await update.isPersisted.promise
  expect(await server.rows('/tables/todos')).toEqual(new Map([['1', { id: '1', text: 'b', done: true, deep: { a: 3 } }]]))
  expect(todos.get('1')).toMatchObject({ text: 'b', done: true, deep: { a: 3 } })
  await todos.insert([{ id: '2', text: 'x', done: false }, { id: '3', text: 'y', done: false }]).isPersisted.promise
  const remove = todos.delete(['1', '3'])
  expect(texts(todos.values())).toEqual(['2 x'])
  await remove.isPersisted.promise
  expect(texts(todos.values())).toEqual(['2 x'])
  expect((await server.rows('/tables/todos')).size).toBe(1)
  // No state was shown twice with another in between.
  const lines = seen.map((rows) => rows.join()).filter((line, i, all) => line !== all[i - 1])
  expect(lines).toEqual(['1 a', '1 b', '1 b,2 x,3 y', '2 x'])
})

test('what is refused is rolled back, all of it', async () => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/todos/1', '{"id":"1","text":"a","done":false}')
  const todos = open(server, { table: { where: 'done = false' } })
  await todos.preload()
  await server.ask('PUT', '/tables/todos/2', '{"id":"2","text":"hidden","done":true}')
  const insert = todos.insert([{ id: '9', text: 'z', done: false }, { id: '2', text: 'z', done: false }])
  expect(todos.size).toBe(3)
  await expect(insert.isPersisted.promise).rejects.toMatchObject({ code: 'row_exists' })
  expect(texts(todos.values())).toEqual(['1 a'])
  expect((await server.rows('/tables/todos')).size).toBe(2)
  // A row that the terms do not want any more never comes back; that it is gone is enough.
  await todos.update('1', (todo) => void (todo.done = true)).isPersisted.promise
  expect(todos.size).toBe(0)
  await todos.insert({ id: '5', text: 'never of these', done: true }).isPersisted.promise
  expect(todos.size).toBe(0)
})

test('what cannot be read is an error, and after a cleanup it begins anew', async () => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/todos/1', '{"text":"a","done":false}')
  const bad = open(server, { table: { where: 'done = ' } })
  await expect(bad.preload()).rejects.toMatchObject({ code: 'where_invalid' })
  const todos = open(server, { getKey: ({ text }) => text })
  await todos.preload()
  expect(todos.get('a')).toMatchObject({ text: 'a' })
  await todos.cleanup()
  expect(todos.utils.table()).toBeUndefined()
  await todos.preload()
  expect(todos.get('a')).toMatchObject({ text: 'a' })
})
