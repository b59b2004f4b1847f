// A proxy between client and server that does what networks do: it cuts, delays, swallows, holds back, answers 502.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** What is done to one connection. */
export type Fault =
  | { kind: 'none' }
  /** It is reset after so many bytes from the server. */
  | { kind: 'cut'; bytes: number }
  /** Each piece from the server comes so many milliseconds later. */
  | { kind: 'delay'; ms: number }
  /** Requests go nowhere, and no answer comes. */
  | { kind: 'swallow' }
  /** After so many bytes from the server nothing more comes, and nothing is said. */
  | { kind: 'stall'; bytes: number }
  /** Answers of event streams are held back: all, or what follows the head. Others pass. */
  | { kind: 'hold'; head: boolean }
  | { kind: 'status'; status: number }
  /** A proxy that knows no WebSocket: `Upgrade` is taken away. */
  | { kind: 'strip' }

export class Proxy {
  static async start(server: { port: number }, fault: () => Fault): Promise<Proxy> {
    const proxy = new Proxy(fault)
    proxy.#listener.on('connection', (socket) => proxy.#serve(socket, server.port))
    proxy.#listener.listen(0, '127.0.0.1')
    await once(proxy.#listener, 'listening')
    onTestFinished(() => {
      proxy.cut()
      proxy.#listener.close()
    })
    return proxy
  }

  /** Connections so far. */
  count = 0
  /** WebSockets that were asked for. */
  upgrades = 0
  /** Requests so far, by what they accept. */
  readonly asked: string[] = []
  /** Connections that are open and have asked for an event stream; and the most there were at once. */
  readonly streaming = new Set<Socket>()
  streamingMost = 0
  #listener = createServer()
  #sockets = new Set<Socket>()

  private constructor(public fault: () => Fault) {}

  get origin(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`
  }

  /** Resets all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  #serve(client: Socket, port: number): void {
    this.count += 1
    const fault = this.fault()
    const server = connect(port, '127.0.0.1')
    for (const [socket, other] of [[client, server], [server, client]] as const) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        this.streaming.delete(socket)
        other.destroy()
      })
    }
    let holds = false
    client.on('data', (chunk) => {
      if (/^upgrade: websocket\r$/im.test(chunk.toString('latin1'))) {
        this.upgrades += 1
        if (fault.kind === 'strip') chunk = Buffer.from(chunk.toString('latin1').replace(/^(upgrade|connection): .*\r\n/gim, ''), 'latin1')
      }
      for (const [, accept] of chunk.toString('latin1').matchAll(/^accept: (.*)$/gim)) {
        this.asked.push(accept ?? '')
        holds = fault.kind === 'hold' && accept === 'text/event-stream'
        if (accept === 'text/event-stream') this.streaming.add(client)
        this.streamingMost = Math.max(this.streamingMost, this.streaming.size)
      }
      if (fault.kind === 'status') {
        client.end(`HTTP/1.1 ${fault.status} Proxy\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops`)
      } else if (fault.kind !== 'swallow') server.write(chunk)
    })
    let bytes = 0
    let headed = false
    server.on('data', (chunk) => {
      const room = 'bytes' in fault ? Math.max(fault.bytes - bytes, 0) : chunk.length
      bytes += chunk.length
      if (holds && fault.kind === 'hold') {
        const end = fault.head && !headed ? chunk.indexOf('\r\n\r\n') : -1
        // Once: the end of a body has these bytes too, and with it would come what no network does, the last without the rest.
        headed ||= end >= 0
        if (end >= 0) client.write(chunk.subarray(0, end + 4))
      } else if (fault.kind === 'delay') setTimeout(() => client.writable && client.write(chunk), fault.ms)
      else if (chunk.length <= room) client.write(chunk)
      else if (fault.kind === 'stall') client.write(chunk.subarray(0, room))
      else client.write(chunk.subarray(0, room), () => client.resetAndDestroy())
    })
    server.on('end', () => client.end())
  }
}
