// The real binary on one port and one data directory, started and stopped as often as a test likes.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { onTestFinished } from 'vitest'
import { until } from './wait.js'

const BINARY = resolve(process.env.RIACHO_BIN ?? join(import.meta.dirname, '../../../../target/debug/riacho'))
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('RIACHO_')))

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}

export class Server {
  /** Starts a server that ends with the test; `config` is riacho.toml beyond short times. */
  static async start(config = '', heartbeat = '1s'): Promise<Server> {
    const server = new Server(await freePort(), await mkdtemp(join(tmpdir(), 'riacho-js-')))
    await writeFile(join(server.directory, 'riacho.toml'), `heartbeat = "${heartbeat}"\nretry = "100ms"\n${config}`)
    onTestFinished(async () => {
      await server.stop('SIGKILL')
      await rm(server.directory, { recursive: true, force: true })
    })
    await server.run()
    return server
  }

  readonly origin: string
  #process: ChildProcess | undefined

  private constructor(
    readonly port: number,
    readonly directory: string,
  ) {
    this.origin = `http://127.0.0.1:${port}`
  }

  async run(): Promise<void> {
    const args = ['serve', '--listen', `127.0.0.1:${this.port}`, '--data', join(this.directory, 'data')]
    const child = spawn(BINARY, args, { cwd: this.directory, env: ENVIRONMENT, stdio: ['ignore', 'ignore', 'pipe'] })
    this.#process = child
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)))
    await until('the server to be ready', async () => {
      if (child.exitCode !== null) throw new Error(`the server ended: ${said}`)
      return (await fetch(`${this.origin}/readyz`).catch(() => null))?.ok
    })
  }

  /** Of the process that runs now. */
  get pid(): number {
    return this.#process?.pid ?? 0
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  /** Publishes events as one batch. */
  async publish(stream: string, events: { data: unknown; type?: string }[]): Promise<void> {
    const body = events.map((event) => JSON.stringify(event)).join('\n')
    await this.ask('POST', `/streams/${stream}`, body, 'application/x-ndjson')
  }

  /** Sends a request that must succeed, again and again where the server is away; writes must bear that. */
  async ask(method: string, path: string, body?: string, type = 'application/json'): Promise<unknown> {
    return until(`${method} ${path}`, async () => {
      const init = body === undefined ? {} : { body, headers: { 'content-type': type } }
      const answer = await fetch(this.origin + path, { method, ...init }).catch(() => null)
      if (!answer || answer.status >= 500) return undefined
      const text = await answer.text().catch(() => undefined)
      if (text === undefined) return undefined
      if (!answer.ok && !(method === 'DELETE' && answer.status === 404)) throw new Error(`${method} ${path}: ${text}`)
      return JSON.parse(text) as object
    })
  }

  /** The rows of a table, as the server has them. */
  async rows(path: string): Promise<Map<string, unknown>> {
    const { rows } = (await this.ask('GET', path)) as { rows: { key: string; value: unknown }[] }
    return new Map(rows.map(({ key, value }) => [key, value]))
  }
}
