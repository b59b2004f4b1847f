// The polyfill and the class do what Chromium's own EventSource does, and what it does not give away holds too.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { expect, onTestFinished, test, vi } from 'vitest'
import { EventSource as Source, type EventSourceOptions } from '../src/eventsource.js'
import { openPage, script } from './support/page.js'
import { Proxy } from './support/proxy.js'
import { Scripted, type Answer } from './support/scripted.js'
import { Server } from './support/server.js'
import { until } from './support/wait.js'

const POLYFILL = readFileSync(join(import.meta.dirname, '../dist/polyfill.js'), 'utf8')

interface Window {
  native: typeof EventSource
  ours: typeof Source
  EventSource: typeof EventSource
}
declare const window: Window

const STREAM = { 'content-type': 'text/event-stream' }
const ok = (...body: string[]): Answer => ({ status: 200, headers: STREAM, body })
const FAST = 'retry: 1\n'

/** What is answered, one connection after the other. The last one is 204, which ends each. */
const SCRIPTS: Record<string, Answer[]> = {
  'types, lines, ids': [ok(`${FAST}\n`, 'id: 1\ndata: a\ndata:b\r\ndata:  c\r\revent: x\ndata\n\n', ': no\nevent: y\n\nid: 2\n\ndata: d\n\n')],
  'a character in two pieces': [ok(FAST, 'data: \xc3', '\xa4\xe2\x82', '\xac\n\n')],
  'a byte order mark, and what is no UTF-8': [ok('\xef\xbb\xbfretry: 1\ndata: \xff\xef\xbb\xbfa\n\n')],
  'an id goes on over reconnections': [ok(`${FAST}id: \xc3\xa4 1\ndata: a\n\n`), ok('id: b\ndata: b\n\ndata: c\n\n'), ok('id\ndata: d\n\n'), ok('data: e\n\n')],
  'a block with an id alone counts': [ok(`${FAST}id: 7\n\n`), ok()],
  'an empty id forgets': [ok(`${FAST}id: 7\ndata: a\n\nid\ndata: b\n\n`), ok()],
  'an id with a NUL is none': [ok(`${FAST}id: 7\n\nid: 8\0\ndata: a\n\n`), ok()],
  'what is unfinished is dropped with its id': [ok(`${FAST}id: 1\ndata: a\n\nid: 2\ndata: b\n`), ok('id: 3\n\n')],
  'retry with other than digits': [ok(`${FAST}retry: 9e9\nretry: -1\n\n`), ok()],
  'no content': [{ status: 204 }],
  'another status': [{ status: 404, headers: STREAM, body: ['data: a\n\n'] }],
  'a success that is not 200': [{ status: 202, headers: STREAM, body: ['data: a\n\n'] }],
  'a server error after it was open': [ok(`${FAST}data: a\n\n`), { status: 500 }],
  'another type': [{ status: 200, headers: { 'content-type': 'text/plain' }, body: ['data: a\n\n'] }],
  'no type': [{ status: 200, body: ['data: a\n\n'] }],
  'a type that begins so': [{ status: 200, headers: { 'content-type': 'text/event-streams' }, body: ['data: a\n\n'] }],
  'a type with parameters, in capitals': [{ ...ok(`${FAST}data: \xc3\xa4\n\n`), headers: { 'content-type': 'Text/Event-Stream ; charset=utf-8' } }],
  'a redirect, and where it leads': [{ status: 307, headers: { location: '/events/elsewhere' } }, { status: 404 }],
  'types that are taken': [ok(`${FAST}event: open\ndata: a\n\nevent: error\ndata: b\n\nevent: message\ndata: c\n\n`)],
}

/** Everything that can be seen of a source until it is closed. */
const watch = ([name, url]: readonly ['native' | 'ours' | 'EventSource', string]): Promise<unknown[]> =>
  new Promise((done) => {
    const log: unknown[] = []
    const source = new window[name](url)
    log.push([source.url, source.readyState, source.withCredentials])
    source.onopen = () => log.push(['onopen', source.readyState])
    source.onmessage = (event) => log.push(['onmessage', event.data, event.lastEventId])
    for (const type of ['open', 'message', 'x', 'y', 'error']) {
      source.addEventListener(type, (event) => {
        const { data, lastEventId, origin } = event as MessageEvent
        log.push([event.type, source.readyState, data, lastEventId, origin, event.target === source])
        if (type === 'error' && source.readyState === 2) setTimeout(() => done(log))
      })
    }
  })

async function page(origin: string, name: 'native' | 'ours' | 'EventSource' = 'EventSource'): Promise<Page> {
  const opened = await openPage(origin)
  await opened.evaluate(`window.native = EventSource; ${await script('made', "export { EventSource } from '../../src/eventsource.js'")}; window.ours = made.EventSource`)
  // What the polyfill is for.
  if (name === 'EventSource') await opened.evaluate(`delete window.EventSource; delete window.fetch; delete window.ReadableStream; ${POLYFILL}`)
  return opened
}

test.each(Object.entries(SCRIPTS))('as Chromium does: %s', async (_, answers) => {
  const run = async (name: 'native' | 'ours' | 'EventSource') => {
    const server = await Scripted.start([...answers])
    const opened = await page(server.origin, name)
    const log = await opened.evaluate(watch, [name, '/events?a#b'] as const)
    return { log: JSON.parse(JSON.stringify(log).replaceAll(server.origin, 'ORIGIN')) as unknown, asked: server.asked }
  }
  const native = await run('native')
  expect(native.log).not.toEqual([])
  expect(await run('ours'), 'the class').toEqual(native)
  expect(await run('EventSource'), 'the polyfill').toEqual(native)
})

test('where Chromium does not do what the standard says, the standard is followed', async () => {
  const answers: Answer[] = [
    // Only the essence of the type counts, and it is UTF-8 whatever the type says.
    { ...ok(`${FAST}data: \xc3\xa4\n\n`), headers: { 'content-type': 'text/event-stream;charset=latin1' } },
    { status: 307, headers: { location: '/events/elsewhere' } }, ok('id: 1\ndata: b\n\n'),
    // Each stream has a last event ID of its own, which begins empty.
    ok('\n'), ok('id: 2\n\n'),
  ]
  for (const name of ['ours', 'EventSource'] as const) {
    const server = await Scripted.start([...answers])
    const log = (await (await page(server.origin, name)).evaluate(watch, [name, '/events'] as const)) as unknown[][]
    expect(log.filter(([type]) => type === 'onmessage').map(([, data]) => data)).toEqual(['ä', 'b'])
    // A reconnection begins at the URL it was given: what is on the way may have moved, and headers are for that one.
    expect(server.asked.map(({ url }) => url)).toEqual(['/events', '/events', '/events/elsewhere', '/events', '/events', '/events'])
    expect(server.asked.map(({ id }) => id)).toEqual([undefined, undefined, undefined, '1', undefined, '2'])
  }
})

test('constants, handlers, and URLs that are none, as Chromium has them', async () => {
  const server = await Scripted.start([])
  const opened = await page(server.origin)
  const look = (name: 'native' | 'ours' | 'EventSource') =>
    opened.evaluate((name) => {
      const log: unknown[] = []
      const Made = window[name]
      log.push([Made.CONNECTING, Made.OPEN, Made.CLOSED, Made.prototype.CONNECTING, Made.prototype.OPEN, Made.prototype.CLOSED])
      try {
        new Made('http://[')
      } catch (err) {
        log.push((err as Error).name)
      }
      try {
        ;(Made as unknown as (url: string) => void)('/events')
      } catch (err) {
        log.push((err as Error).name)
      }
      const source = new Made('/events', { withCredentials: true })
      log.push(source.withCredentials, source.onmessage, source.onerror)
      const called: string[] = []
      const first = (): void => void called.push('first')
      source.onmessage = first
      log.push(source.onmessage === first)
      const once = (): void => void called.push('once')
      source.addEventListener('message', once, { once: true })
      source.addEventListener('message', once)
      source.addEventListener('message', { handleEvent: () => called.push('object') })
      source.onmessage = () => called.push('second')
      source.dispatchEvent(new MessageEvent('message'))
      source.dispatchEvent(new MessageEvent('message'))
      source.addEventListener('message', once)
      source.removeEventListener('message', once)
      source.onmessage = 7 as never
      log.push(source.onmessage)
      source.dispatchEvent(new MessageEvent('message'))
      source.close()
      source.close()
      log.push(called, source.readyState)
      return log
    }, name)
  const native = await look('native')
  expect(native).toContainEqual(['second', 'once', 'object', 'second', 'object', 'object'])
  expect(await look('EventSource')).toEqual(native)
  await opened.reload()
  await opened.evaluate(`${await script('made', "export { EventSource } from '../../src/eventsource.js'")}; window.ours = made.EventSource`)
  expect(await look('ours')).toEqual(native)
})

test('a listener that closes hears nothing more, of the same packet neither', async () => {
  const server = await Scripted.start([{ ...ok('data: 1\n\ndata: 2\n\n'), then: 'open' }, { ...ok('data: 1\n\ndata: 2\n\n'), then: 'open' }])
  const opened = await page(server.origin)
  const heard = await opened.evaluate(
    () =>
      new Promise((done) => {
        const source = new window.EventSource('/events')
        const got: string[] = []
        source.onmessage = ({ data }) => {
          got.push(data as string)
          source.close()
          setTimeout(() => done(got))
        }
      }),
  )
  expect(heard).toEqual(['1'])
  await until('the connection to be given up', () => server.gone === 1)
  const got: string[] = []
  const source = new Source(`${server.origin}/events`)
  source.onmessage = ({ data }) => {
    got.push(data as string)
    source.close()
  }
  await until('the connection to be given up', () => server.gone === 2)
  expect(got).toEqual(['1'])
})

test('without anything newer than ES5 the polyfill is live against the real server, over cuts', async () => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const opened = await openPage(proxy.origin)
  // A realm of its own, so that the browser's driver keeps what it needs.
  const taken = await opened.evaluate((polyfill) => {
    const frame = document.body.appendChild(document.createElement('iframe'))
    const inner = frame.contentWindow as unknown as Record<string, { prototype: Record<string, unknown> } & Record<string, unknown>>
    const newer: Record<string, string[]> = {
      Array: ['from', 'of'], Object: ['assign', 'entries', 'values', 'fromEntries', 'is'], Number: ['isInteger', 'isFinite'],
      'Array.prototype': ['includes', 'find', 'findIndex', 'fill', 'flat', 'flatMap', 'at', 'keys', 'entries', 'values'],
      'String.prototype': ['includes', 'startsWith', 'endsWith', 'repeat', 'padStart', 'matchAll', 'replaceAll', 'at', 'codePointAt'],
    }
    const names = ['EventSource', 'fetch', 'ReadableStream', 'Promise', 'Map', 'Set', 'WeakMap', 'WeakSet', 'Symbol', 'Reflect', 'Proxy',
      'TextDecoder', 'TextEncoder', 'URL', 'URLSearchParams', 'AbortController', 'queueMicrotask', 'structuredClone', 'Headers', 'Response']
    for (const name of names) delete (inner as Record<string, unknown>)[name]
    for (const [name, members] of Object.entries(newer)) {
      const object = name.endsWith('.prototype') ? inner[name.split('.')[0] as string]?.prototype : inner[name]
      for (const member of members) delete object?.[member]
    }
    ;(window as unknown as { got: unknown[]; errors: unknown[] }).got = []
    const tell = frame.contentDocument?.createElement('script') as HTMLScriptElement
    tell.text = `${polyfill};
      var source = new EventSource('/streams/n?from=earliest', { padding: true });
      source.onmessage = function (e) { parent.got.push([e.type, e.data, e.origin]) };
      source.addEventListener('typed', function (e) { parent.got.push([e.type, e.data, e.origin]) });`
    frame.contentDocument?.body.append(tell)
    return names.filter((name) => name in inner && name !== 'EventSource')
  }, POLYFILL)
  expect(taken).toEqual([])
  const events = Array.from({ length: 300 }, (_, i) => ({ data: `${i}\nä€😀`, ...(i % 3 === 0 && { type: 'typed' }) }))
  for (let i = 0; i < 300; i += 20) {
    await server.publish('n', events.slice(i, i + 20))
    await opened.waitForFunction((length) => (window as unknown as { got: unknown[] }).got.length >= length, i + 20)
    proxy.cut()
  }
  expect(await opened.evaluate(() => (window as unknown as { got: unknown[] }).got)).toEqual(
    events.map(({ data, type }) => [type ?? 'message', data, proxy.origin]),
  )
  expect(proxy.count).toBeGreaterThan(10)
})

test('the polyfill asks for padding where it is told to, and in Internet Explorer', async () => {
  const server = await Scripted.start([])
  const opened = await page(server.origin)
  await opened.evaluate(async () => {
    const end = (url: string, init?: object) =>
      new Promise<void>((ended) => (new window.EventSource(url, init).onerror = () => ended()))
    await end('/events')
    await end('/events#a', { padding: true })
    await end('/events?b', { padding: true })
    Object.assign(document, { documentMode: 11 })
    await end('/events?c')
    await end('/events?d', { padding: false })
  })
  expect(server.asked.map(({ url }) => url)).toEqual([
    '/events', '/events?padding=true', '/events?b&padding=true', '/events?c&padding=true', '/events?d',
  ])
  const real = await Server.start()
  const body = await fetch(`${real.origin}/streams/n?padding=true`, { headers: { accept: 'text/event-stream' } })
  const { value } = (await body.body?.getReader().read()) ?? {}
  expect(value?.length).toBeGreaterThan(2048)
})

test('the polyfill asks anew before the text of an answer fills the memory, and nobody hears of it', async () => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const opened = await page(proxy.origin)
  await opened.evaluate(() => {
    const own = window as unknown as { lengths: number[]; states: string[] }
    Object.assign(window, { lengths: [], states: [] })
    const source = new window.EventSource('/streams/big?from=earliest')
    source.onmessage = ({ data }) => own.lengths.push((data as string).length)
    source.onopen = () => own.states.push('open')
    source.onerror = () => own.states.push('error')
  })
  for (let i = 0; i < 24; i++) await server.publish('big', [{ data: 'x'.repeat(900_000 + i) }])
  await opened.waitForFunction(() => (window as unknown as { lengths: number[] }).lengths.length >= 24)
  const { lengths, states } = await opened.evaluate(() => {
    const { lengths, states } = window as unknown as { lengths: number[]; states: string[] }
    return { lengths, states }
  })
  expect(lengths).toEqual(Array.from({ length: 24 }, (_, i) => 900_000 + i))
  expect(states).toEqual(['open'])
  expect(proxy.asked.filter((accept) => accept === 'text/event-stream').length).toBeGreaterThan(1)
})

function open(url: string, options: EventSourceOptions = {}) {
  const source = new Source(url, options)
  onTestFinished(() => source.close())
  return source
}

test('in Node: typed and multi-line events, and by itself after cuts and restarts', async () => {
  const server = await Server.start()
  const proxy = await Proxy.start(server, () => ({ kind: 'none' }))
  const source = open(`${proxy.origin}/streams/n?from=earliest`)
  const got: unknown[] = []
  source.onmessage = ({ data }) => got.push(data)
  source.addEventListener('typed', ({ data, type, origin }: MessageEvent) => got.push([type, data, origin]))
  for (let i = 0; i < 10; i++) {
    await server.publish('n', [{ data: `${i}\nb` }, { data: { i }, type: 'typed' }])
    await until('both', () => got.length === 2 * (i + 1))
    if (i === 5) {
      await server.stop('SIGKILL')
      await server.run()
    } else proxy.cut()
  }
  expect(got).toEqual(Array.from({ length: 10 }, (_, i) => [`${i}\nb`, ['typed', `{"i":${i}}`, proxy.origin]]).flat())
})

test('in Node: headers, asked anew each time, and a fetch of one\'s own', async () => {
  const server = await Scripted.start([ok(`${FAST}id: 1\ndata: a\n\n`), ok('data: b\n\n')])
  let tokens = 0
  const asked: string[] = []
  const source = open(`${server.origin}/events`, {
    headers: async () => {
      tokens += 1
      if (tokens === 2) throw new Error('the token server is away')
      return { authorization: `Bearer ${tokens}` }
    },
    fetch: (url, init) => {
      asked.push(String(url))
      return fetch(url, init)
    },
  })
  await until('the end', () => source.readyState === Source.CLOSED)
  expect(server.asked.map(({ authorization, id, accept }) => [authorization, id, accept])).toEqual([
    ['Bearer 1', undefined, 'text/event-stream'], ['Bearer 3', '1', 'text/event-stream'], ['Bearer 4', undefined, 'text/event-stream'],
  ])
  expect(asked).toHaveLength(3)
})

test('in Node: it waits no less than told, and longer after failures in a row', async () => {
  const server = await Scripted.start([ok('retry: 10\n\n'), { status: 204 }])
  const timers = vi.spyOn(globalThis, 'setTimeout')
  onTestFinished(() => timers.mockRestore())
  let times = 0
  const source = open(`${server.origin}/events`, {
    fetch: async (url, init) => {
      // Six times the network is away.
      if (times++ > 0 && times < 8) throw new TypeError('no network')
      return fetch(url, init)
    },
  })
  await until('the end', () => source.readyState === Source.CLOSED)
  const waits = timers.mock.calls.filter(([act]) => act?.name === 'connect').map(([, ms]) => ms ?? 0)
  expect(waits).toHaveLength(7)
  for (const [i, ms] of waits.entries()) {
    expect(ms).toBeGreaterThanOrEqual(Math.max(10, 5 * 2 ** i))
    expect(ms).toBeLessThanOrEqual(10 * 2 ** i)
  }
})
