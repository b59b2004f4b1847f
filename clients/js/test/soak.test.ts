// Chromium for as long as one likes (`SOAK_MINUTES`; `cargo xtask soak`), and not with the other tests: tabs that come, go, crash and sleep, a network that fails, a server that is killed.
// No tab may miss or repeat anything, and neither page nor server may grow.

import { readFile } from 'node:fs/promises'
import type { CDPSession, Page } from 'playwright-core'
import { expect, test } from 'vitest'
import type * as riacho from '../src/index.js'
import { openPackage } from './support/page.js'
import { Proxy, type Fault } from './support/proxy.js'
import { Server } from './support/server.js'
import { PATIENCE, seeded, until } from './support/wait.js'

const MINUTES = Number(process.env.SOAK_MINUTES ?? 0)
const STREAMS = 8
const ROWS = 20
const TABS_MAX = 9
/** Bytes of a page's heap after a collection: by how much it may grow after the first third, and in all. */
const HEAP_GROWTH_MAX = 3 * 2 ** 20
const HEAP_MAX = 24 * 2 ** 20
/** Bytes of the server's memory, as the kernel has it. */
const SERVER_GROWTH_MAX = 64 * 2 ** 20
const SERVER_MAX = 400 * 2 ** 20

/** What a tab reads, and how. */
interface Way {
  kind: 'stream' | 'pattern' | 'table'
  n: number
  share: boolean
  worker: boolean
  transport?: riacho.Transport[]
}

interface Window {
  riacho: typeof riacho
  /** How many events of each stream it has, or the rows; and what was wrong. */
  has: Record<string, number>
  wrong: string[]
  /** The newest of what it said. */
  said: string[]
  live: { close(): void; state: string }
}
declare const window: Window

interface Tab {
  page: Page
  way: Way
  cdp: CDPSession
  asleep: boolean
}

test.runIf(MINUTES > 0)(`soak for ${MINUTES} min`, { timeout: MINUTES * 60_000 + 4 * PATIENCE }, async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed)
  const below = (n: number): number => Math.floor(random() * n)
  const { context, origin } = await openPackage()
  const server = await Server.start(`cors_origins = ["${origin}"]\n`)
  let calm = true
  const faults: (() => Fault)[] = [
    () => ({ kind: 'none' }), () => ({ kind: 'none' }), () => ({ kind: 'none' }), () => ({ kind: 'strip' }), () => ({ kind: 'strip' }),
    () => ({ kind: 'cut', bytes: below(50_000) }), () => ({ kind: 'delay', ms: below(50) }), () => ({ kind: 'stall', bytes: below(20_000) }),
    () => ({ kind: 'status', status: 502 }), () => ({ kind: 'swallow' }), () => ({ kind: 'hold', head: below(2) === 0 }),
  ]
  const proxy = await Proxy.start(server, () => (calm ? { kind: 'none' } : (faults[below(faults.length)]?.() ?? { kind: 'none' })))

  const tabs: Tab[] = []
  const done: Record<string, number> = {}
  const count = (what: string): void => void (done[what] = (done[what] ?? 0) + 1)
  const open = async (way: Way): Promise<Tab> => {
    const page = await context.newPage()
    await page.goto(origin)
    await page.waitForFunction(() => window.riacho)
    await page.evaluate(begin, [way, proxy.origin] as const)
    const tab = { page, way, cdp: await context.newCDPSession(page), asleep: false }
    await tab.cdp.send('Debugger.enable')
    tabs.push(tab)
    return tab
  }
  const ways = (): Way => ({
    kind: (['stream', 'stream', 'pattern', 'table'] as const)[below(4)] ?? 'stream',
    n: below(STREAMS), share: below(4) > 0, worker: below(2) > 0,
    ...(below(2) > 0 && { transport: (below(2) ? ['websocket', 'fetch', 'long-poll'] : ['fetch', 'long-poll']) as riacho.Transport[] }),
  })
  const gone = (tab: Tab): void => void tabs.splice(tabs.indexOf(tab), 1)
  const wake = async (tab: Tab): Promise<void> => {
    tab.asleep = false
    // Not only resumed: one that ran no script since would be paused at its next one, for ever.
    for (const method of ['Debugger.disable', 'Debugger.enable'] as const) await tab.cdp.send(method).catch(() => undefined)
  }

  // The first stays: it leads those that share by a lock.
  const resident = await open({ kind: 'pattern', n: 0, share: true, worker: false })
  const awake = (): Tab[] => tabs.filter((tab) => tab !== resident && !tab.asleep)
  const any = (): Tab | undefined => awake()[below(awake().length)]
  const acts: [number, string, () => Promise<void>][] = [
    [20, 'opened', async () => void (tabs.length < TABS_MAX && (await open(ways())))],
    [15, 'closed', async () => {
      const tab = any()
      if (tab) gone(tab), await tab.page.close()
    }],
    [3, 'crashed', async () => {
      const tab = any()
      if (!tab) return
      gone(tab)
      await Promise.race([tab.cdp.send('Page.crash').catch(() => undefined), new Promise((crashed) => tab.page.on('crash', crashed))])
      await tab.page.close()
    }],
    [8, 'asleep', async () => {
      const tab = below(6) ? any() : resident.asleep ? undefined : resident
      if (!tab) return
      tab.asleep = true
      await tab.cdp.send('Debugger.pause')
      // A few long enough for another to lead.
      setTimeout(() => void wake(tab), below(5) ? 200 + below(3_000) : 12_000)
    }],
    [6, 'offline', async () => {
      await context.setOffline(true)
      await new Promise((next) => setTimeout(next, 200 + below(2_000)))
      await context.setOffline(false)
    }],
    [12, 'cut', async () => proxy.cut()],
    [1, 'server killed', async () => server.stop('SIGKILL').then(() => server.run())],
    [1, 'server restarted', async () => server.stop('SIGTERM').then(() => server.run())],
  ]
  const total = acts.reduce((sum, [weight]) => sum + weight, 0)
  const act = async (): Promise<void> => {
    let left = below(total)
    const [, what, does] = acts.find(([weight]) => (left -= weight) < 0) ?? [0, '', async () => undefined]
    await within(what, does())
    count(what)
  }

  const counts = Array.from({ length: STREAMS }, () => 0)
  let n = 0
  let ended = false
  const publish = async (): Promise<void> => {
    const batch = Array.from({ length: 1 + below(20) }, () => {
      const to = below(STREAMS)
      return { stream: `n/${to}`, data: (counts[to] = (counts[to] as number) + 1) - 1 }
    })
    // A batch that got no answer is sent again: the key makes it one.
    const key = `${seed}-${n}`
    const body = batch.map((event) => JSON.stringify(event)).join('\n')
    await until('a batch to be taken', async () => {
      const headers = { 'content-type': 'application/x-ndjson', 'idempotency-key': key }
      return (await fetch(`${server.origin}/streams`, { method: 'POST', headers, body }).catch(() => null))?.status === 201
    })
    await server.ask('PUT', `/tables/rows/${below(ROWS)}`, JSON.stringify({ n: n++ }))
  }
  const publishing = (async () => {
    while (!ended) {
      await publish()
      await new Promise((next) => setTimeout(next, below(60)))
    }
  })()

  const memory = async (): Promise<{ heap: number; server: number }> => {
    await wake(resident)
    await resident.cdp.send('HeapProfiler.collectGarbage')
    const { usedSize: heap } = await resident.cdp.send('Runtime.getHeapUsage')
    const status = await readFile(`/proc/${server.pid}/status`, 'utf8')
    return { heap, server: 1024 * Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) }
  }
  const check = async (): Promise<void> => {
    for (const { page, asleep, way } of tabs) {
      if (!asleep) expect(await page.evaluate(() => window.wrong), `seed ${seed}, ${JSON.stringify(way)}`).toEqual([])
    }
  }

  calm = false
  const begun = Date.now()
  let early: Awaited<ReturnType<typeof memory>> | undefined
  while (Date.now() - begun < MINUTES * 60_000) {
    await act()
    await new Promise((next) => setTimeout(next, below(400)))
    if (!early && Date.now() - begun > MINUTES * 20_000) early = await within('a look at memory', memory())
    if (below(50) === 0) await within('a look at the tabs', check())
  }

  calm = true
  ended = true
  await publishing
  await Promise.all(tabs.map(wake))
  proxy.cut()
  const rows = await server.rows('/tables/rows')
  const newest = Math.max(...[...rows.values()].map((row) => (row as { n: number }).n))
  for (const { page, way } of tabs) {
    const wanted = way.kind === 'table' ? { rows: newest } : Object.fromEntries(counts.map((count, i) => [`n/${i}`, count]).filter(([name]) => way.kind === 'pattern' || name === `n/${way.n}`))
    await page.waitForFunction((wanted) => Object.entries(wanted).every(([name, count]) => (window.has[name] ?? -1) >= (count as number)), wanted)
      .catch(async (err) => {
        throw new Error(`seed ${seed}: ${JSON.stringify([way, wanted, await page.evaluate(() => [window.has, window.live.state, window.wrong, window.said])])}`, { cause: err })
      })
  }
  await check()
  const late = await memory()
  console.log(`seed ${seed}: ${JSON.stringify({ ...done, events: counts.reduce((sum, count) => sum + count, 0), writes: n, connections: proxy.count, early, late })}`)
  expect(late.heap).toBeLessThan(Math.min(HEAP_MAX, (early ?? late).heap + HEAP_GROWTH_MAX))
  expect(late.server).toBeLessThan(Math.min(SERVER_MAX, (early ?? late).server + SERVER_GROWTH_MAX))

  // Nothing is left of those that went.
  await context.close()
  await until('no subscriber to be left', async () => {
    const { streams } = (await server.ask('GET', '/streams')) as { streams: { subscribers: number }[] }
    return streams.every(({ subscribers }) => subscribers === 0)
  })
})

/** Names what hangs. */
const within = async <T>(what: string, done: Promise<T>): Promise<T> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, failed) => (timer = setTimeout(() => failed(new Error(`${what}: not done in ${PATIENCE / 1000} s`)), PATIENCE)))
  return Promise.race([done, late]).finally(() => clearTimeout(timer))
}

/** In a page: reads, and notes what is wrong. It keeps no events, so that a page that grows does so by the client. */
const begin = async ([{ kind, n, share, worker, transport }, origin]: readonly [Way, string]): Promise<void> => {
  if (!worker) Object.assign(globalThis, { SharedWorker: undefined })
  const timing = { head: 2_000, first: 1_000, silence: 4_000, healthy: 300, better: 3_000, cap: 500 }
  const options = { share, timing, reconnectionTime: 50, ...(transport && { transport }) }
  Object.assign(window, { has: {}, wrong: [], said: [] })
  const says = (live: riacho.Live<unknown>): void => {
    const say = (what: string): void => void (window.said = [...window.said.slice(-9), `${Math.round(performance.now())} ${live.transport} ${what} ${live.cursor}`])
    live.onopen = () => say('open')
    live.onerror = live.onclose = ({ code, cause }) => say(`${code} ${String(cause ?? '')}`)
    window.live = live
  }
  if (kind === 'table') {
    const rows = window.riacho.table<{ n: number }>(`${origin}/tables/rows`, options)
    let newest = -1
    rows.subscribe((_, changes) => {
      for (const change of changes) {
        if (change.operation === 'update' && change.value.n < change.old.n) window.wrong.push(`row ${change.key} went from ${change.old.n} to ${change.value.n}`)
        if (change.operation !== 'delete') newest = Math.max(newest, change.value.n)
      }
      window.has.rows = newest
    })
    says(rows)
    return
  }
  const path = kind === 'pattern' ? '/streams?stream=n/*' : `/streams/n/${n}`
  const reader = window.riacho.stream<number>(origin + path, { ...options, from: 'earliest' })
  const take = ({ stream, data }: riacho.StreamEvent<number>): void => {
    const next = window.has[stream] ?? 0
    if (data !== next && window.wrong.length < 10) window.wrong.push(`${stream}: ${data} in place of ${next}, after ${window.said.join('; ')}`)
    window.has[stream] = data + 1
  }
  reader.on('message', take)
  reader.on('riacho.reset', ({ data }) => window.wrong.push(JSON.stringify(data)))
  says(reader)
}
