// The hooks in Chromium, with React in strict mode, against the real server.

import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { openPage, script } from './support/page.js'
import { Server } from './support/server.js'

interface Shown {
  text: string
  renders: number
}
declare const window: { app: { show(parts: string[]): void; shown(name: string): Shown; own: { state: string }; torn: string[] } }

const APP = `
import { StrictMode, useMemo, memo } from 'react'
import { createRoot } from 'react-dom/client'
import { flushSync } from 'react-dom'
import { useStream, useTable } from '../../src/react.js'
import { table } from '../../src/index.js'

const renders = {}
export const torn = []
const counted = (name) => { renders[name] = (renders[name] ?? 0) + 1 }
export let own
const OPTIONS = { reconnectionTime: 50, timing: { cap: 100 } }

const text = ({ rows, ready, error }) => JSON.stringify([[...rows].map(([key, { n }]) => key + n).sort(), ready, error?.code])
const Part = ({ name, of }) => {
  counted(name)
  const state = of()
  const memoed = useMemo(() => [...(state.rows ?? [])].length, [state.rows])
  if (state.rows && memoed !== state.rows.size) torn.push(name)
  return <p id={name}>{state.events ? JSON.stringify([state.events.map(({ data, type }) => [type, data]), state.error?.code]) : text(state)}</p>
}
const PARTS = {
  all: () => useTable('/tables/t', OPTIONS),
  again: () => useTable('/tables/t', { ...OPTIONS }),
  some: () => useTable('/tables/t', { ...OPTIONS, where: 'n > $1', params: [5] }),
  bad: () => useTable('/tables/t', { where: 'n > ' }),
  own: () => useTable(own ??= table('/tables/t', OPTIONS)),
  chat: () => useStream('/streams/chat', { ...OPTIONS, from: 'earliest', max: 3 }),
}
const root = createRoot(document.body.appendChild(document.createElement('div')))
export const show = (parts) => flushSync(() => root.render(<StrictMode>{parts.map((name) => <Part key={name} name={name} of={PARTS[name]} />)}</StrictMode>))
export const shown = (name) => ({ text: document.getElementById(name)?.textContent ?? '', renders: renders[name] })
`

async function openApp(server: Server): Promise<Page> {
  const page = await openPage(server.origin)
  await page.evaluate(`${await script('app', APP)}; window.app = app`)
  return page
}

const until = (page: Page, name: string, text: unknown) =>
  page.waitForFunction(([name, text]) => window.app.shown(name ?? '').text === text, [name, JSON.stringify(text)])
const subscribers = async (server: Server): Promise<number> =>
  ((await server.ask('GET', '/tables')) as { tables: { subscribers: number }[] }).tables[0]?.subscribers ?? 0

test('rows, renders and connections: one for all that ask for the same', async () => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1}')
  const page = await openApp(server)
  const show = (parts: string[], look: string) =>
    page.evaluate(([parts, look]) => (window.app.show(parts as string[]), window.app.shown(look as string).text), [parts, look] as const)
  expect(await show(['all', 'again', 'some', 'bad'], 'all')).toBe('[[],false,null]')
  await until(page, 'all', [['a1'], true, null])
  await until(page, 'again', [['a1'], true, null])
  await until(page, 'some', [[], true, null])
  await until(page, 'bad', [[], false, 'where_invalid'])
  await expect.poll(() => subscribers(server)).toBe(2)
  await server.ask('PUT', '/tables/t/b', '{"n":9}')
  for (const name of ['all', 'again']) await until(page, name, [['a1', 'b9'], true, null])
  await until(page, 'some', [['b9'], true, null])
  // What is not of its rows renders nothing.
  const before = await page.evaluate(() => [window.app.shown('some').renders, window.app.shown('bad').renders])
  await server.ask('PUT', '/tables/t/a', '{"n":2}')
  await until(page, 'all', [['a2', 'b9'], true, null])
  expect(await page.evaluate(() => [window.app.shown('some').renders, window.app.shown('bad').renders])).toEqual(before)
  // Who comes later has the rows with the first look; who is last ends the connection.
  await page.evaluate(() => window.app.show(['some', 'all']))
  expect(await show(['some', 'all', 'again'], 'again')).toBe('[["a2","b9"],true,null]')
  await page.evaluate(() => window.app.show(['some']))
  await expect.poll(() => subscribers(server), { timeout: 60_000 }).toBe(1)
  await page.evaluate(() => window.app.show(['all']))
  await until(page, 'all', [['a2', 'b9'], true, null])
  expect(await page.evaluate(() => window.app.torn)).toEqual([])
})

test('a table of one\'s own is neither opened twice nor closed', async () => {
  const server = await Server.start()
  await server.ask('PUT', '/tables/t/a', '{"n":1}')
  const page = await openApp(server)
  await page.evaluate(() => window.app.show(['own']))
  await until(page, 'own', [['a1'], true, null])
  await page.evaluate(() => window.app.show(['all']))
  await until(page, 'all', [['a1'], true, null])
  await server.ask('PUT', '/tables/t/a', '{"n":2}')
  await until(page, 'all', [['a2'], true, null])
  await page.evaluate(() => window.app.show(['own']))
  await until(page, 'own', [['a2'], true, null])
  expect(await page.evaluate(() => window.app.own.state)).toBe('open')
})

test('the newest events, and nothing of before a reset', async () => {
  const server = await Server.start()
  await server.publish('chat', [{ data: 1 }, { data: 2 }])
  const page = await openApp(server)
  await page.evaluate(() => window.app.show(['chat']))
  await until(page, 'chat', [[['message', 1], ['message', 2]], null])
  await server.publish('chat', [{ data: 3, type: 'x' }, { data: 4 }])
  await until(page, 'chat', [[['message', 2], ['x', 3], ['message', 4]], null])
  await server.ask('DELETE', '/streams/chat')
  await until(page, 'chat', [[], null])
  await server.publish('chat', [{ data: 5 }])
  await until(page, 'chat', [[['message', 5]], null])
})
