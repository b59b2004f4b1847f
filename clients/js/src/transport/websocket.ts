// WebSockets: one for all that is read of an origin. Each connection is a named subscription on it, with a cursor of its own,
// so one that changes or ends leaves the others alone.

import { type Link } from '../connect.js'
import { ProblemError, RiachoError, type Problem } from '../error.js'
import { takeJson, typeOf, type PageEvent } from './poll.js'

interface Frame {
  reply?: string
  ref?: string
  error?: Problem & { status: number }
  subscription?: string
  event?: PageEvent
}

interface Member {
  readonly subscribe: object
  frame(frame: Frame): void
  end(error: RiachoError): void
}

interface Socket {
  readonly ws: WebSocket
  readonly address: string
  readonly members: Map<string, Member>
  /** When something last came of it. */
  heard: number
}

const sockets = new Set<Socket>()
let count = 0

export const run = async (link: Link, signal: AbortSignal): Promise<void> => {
  const { _options: options, _world: world, _timing: timing } = link
  // It can have no headers, nor another fetch.
  if (!world.WebSocket || options.headers || options.fetch) throw new RiachoError('unfit')
  const { origin, pathname, search } = link._from()
  const [, base, path] = /^(.*?)(\/(?:streams|tables)(?:\/.*)?)$/.exec(pathname) ?? ['', '', pathname]
  const address = `${origin.replace('http', 'ws')}${base}/streams/-/ws`
  const alive = world.Date.now() - timing.silence / 2
  const socket = [...sockets].find(({ address: other, members, heard }) =>
    other === address && members.size < SUBSCRIPTIONS_MAX && heard >= alive) ?? open(link, address)
  const name = `${++count}`
  await new Promise<void>((_, end) => {
    const frame = ({ error, event }: Frame): void => {
      if (error?.code === 'message_invalid') throw new RiachoError('unfit')
      // That is an end, and no failure of a loop.
      if (error?.code === 'stream_closed') throw new RiachoError('stream_closed', false)
      if (error) throw new ProblemError(error.status, error)
      if (!event) return
      link._came()
      if (typeOf(event) === HEARTBEAT) link._sink.mark(event.id as string)
      else takeJson(link, event)
    }
    const subscribe = { type: 'subscribe', ref: name, subscription: name, url: path + search }
    socket.members.set(name, { subscribe, frame, end })
    say(socket, subscribe)
    signal.addEventListener('abort', () => {
      socket.members.delete(name)
      say(socket, { type: 'unsubscribe', subscription: name })
      // Whoever goes on with another selection is back at once.
      world.setTimeout(() => socket.members.size || close(socket), LINGER)
    })
  })
}

const say = ({ ws }: Socket, message: object): void => {
  if (ws.readyState === 1) ws.send(JSON.stringify(message))
}

const close = (socket: Socket): void => {
  sockets.delete(socket)
  socket.ws.close()
}

const open = ({ _world: world }: Link, address: string): Socket => {
  const ws = new (world.WebSocket as typeof WebSocket)(address)
  const socket: Socket = { ws, address, members: new Map(), heard: world.Date.now() }
  sockets.add(socket)
  let code = 'unfit'
  ws.onopen = () => {
    code = 'network'
    for (const { subscribe } of socket.members.values()) say(socket, subscribe)
  }
  // Where the handshake fails, Node 20 says only the one, browsers both.
  ws.onerror = ws.onclose = () => {
    // There, closing what has failed fails again at once.
    ws.onerror = ws.onclose = null
    close(socket)
    for (const { end } of [...socket.members.values()]) end(new RiachoError(code))
  }
  ws.onmessage = ({ data }: MessageEvent<string>) => {
    socket.heard = world.Date.now()
    const frame = JSON.parse(data) as Frame
    const member = socket.members.get(frame.subscription ?? frame.ref ?? '')
    try {
      member?.frame(frame)
    } catch (err) {
      member?.end(err as RiachoError)
    }
  }
  return socket
}

const HEARTBEAT = 'riacho.heartbeat'
/** On one WebSocket; the server's limit `websocket_subscriptions_max`. */
const SUBSCRIPTIONS_MAX = 100
/** How long, in milliseconds, a WebSocket without subscriptions stays open. */
const LINGER = 1_000
