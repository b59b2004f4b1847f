// A server that says what a test wrote, byte for byte: answers that the real one never gives.

import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

/** What one connection is answered. */
export interface Answer {
  status?: number
  headers?: Record<string, string>
  /** Written one after the other, as packets of their own as far as that can be. */
  body?: string[]
  /** After the body: `end` it, or leave it `open`. Default: `end`. */
  then?: 'end' | 'open'
}

export class Scripted {
  /** Gives the answers in their order, to requests of `/events` and below, and then 204 for ever. */
  static async start(answers: Answer[]): Promise<Scripted> {
    const scripted = new Scripted(answers)
    scripted.#listener.listen(0, '127.0.0.1')
    await once(scripted.#listener, 'listening')
    onTestFinished(() => {
      scripted.#listener.closeAllConnections()
      scripted.#listener.close()
    })
    return scripted
  }

  /** Requests so far. */
  readonly asked: { url: string; accept?: string; id?: string; authorization?: string }[] = []
  /** Requests whose client went away before the end. */
  gone = 0
  #listener

  private constructor(private readonly answers: Answer[]) {
    this.#listener = createServer(async (request: IncomingMessage, response) => {
      if (!request.url?.startsWith('/events')) return void response.end('a page')
      const { accept, authorization, 'last-event-id': id } = request.headers as Record<string, string>
      this.asked.push({
        url: request.url, ...(accept && { accept }), ...(authorization && { authorization }), ...(id !== undefined && { id }),
      })
      const { status = 204, headers = {}, body = [], then = 'end' } = this.answers.shift() ?? {}
      response.on('close', () => {
        if (!response.writableFinished) this.gone += 1
      })
      response.writeHead(status, headers)
      response.flushHeaders()
      for (const piece of body) await new Promise<void>((sent) => response.write(Buffer.from(piece, 'latin1'), () => setImmediate(sent)))
      if (then === 'end') response.end()
    })
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`
  }
}
