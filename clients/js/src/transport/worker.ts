// The hub in a SharedWorker. It ends with its last tab.

import { hub, type FromHub, type ToHub } from './hub.js'

const ports = new Map<string, MessagePort>()
const { name, take } = hub((tab, message) => ports.get(tab)?.postMessage(message), (tab) => ports.delete(tab))

addEventListener('connect', (event) => {
  const [port] = (event as MessageEvent).ports
  if (!port) return
  const tab = crypto.randomUUID()
  ports.set(tab, port)
  port.onmessage = ({ data }: MessageEvent<ToHub>) => take(tab, data)
  port.postMessage({ hub: name } satisfies FromHub)
})
