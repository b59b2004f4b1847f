// `window.EventSource` where there is none. To be ES5 when built; it must not use what such browsers do not have: Promise,
// Map, URL, EventTarget, fetch. Reads by XMLHttpRequest as it progresses.

import { textParser } from './parse.js'
import { CLOSED, CONNECTING, OPEN, source, type ReadyState } from './source.js'

interface Init {
  withCredentials?: boolean
  /** Ask the server for 2 KiB before the first event, for browsers that hold them back. Default: in Internet Explorer. */
  padding?: boolean
}

interface Heard {
  type: string
  target: unknown
  currentTarget: unknown
  data?: string
  lastEventId?: string
  origin?: string
  [member: string]: unknown
}

type Listener = ((this: unknown, event: Heard) => void) | { handleEvent(event: Heard): void }

interface Entry {
  type: string
  listener: Listener | undefined
  once: boolean
  gone: boolean
}

interface Self {
  readyState: ReadyState
  url: string
  withCredentials: boolean
  [member: string]: unknown
}

const HANDLERS = ['open', 'message', 'error']

function Polyfill(this: Self, url: string, init?: Init): void {
  if (!(this instanceof (Polyfill as unknown as () => void))) throw new TypeError('use `new`')
  const self = this
  const listeners: Entry[] = []
  const absolute = resolve(String(url))
  const { withCredentials = false, padding = 'documentMode' in document } = init ?? {}

  const hear = (type: string, more: { [member: string]: unknown }): void => {
    const event: Heard = {
      target: self, currentTarget: self, type, bubbles: false, cancelable: false, defaultPrevented: false, isTrusted: true,
      ports: [], source: null, timeStamp: +new Date(), preventDefault: nothing,
      stopPropagation: nothing, stopImmediatePropagation: () => (stopped = true),
    }
    for (const member in more) event[member] = more[member]
    let stopped = false
    // As of now: what is added by a listener hears the next event.
    for (const entry of listeners.slice()) {
      if (stopped) return
      if (entry.gone || entry.type !== type) continue
      if (entry.once) remove(entry)
      const listener = entry.listener ?? (self[`on${type}`] as Listener)
      try {
        if (typeof listener === 'function') listener.call(self, event)
        else listener.handleEvent(event)
      } catch (err) {
        // What a listener throws is for the page, and stops no other.
        setTimeout(() => {
          throw err
        }, 0)
      }
    }
  }

  const remove = (entry: Entry): void => {
    entry.gone = true
    const at = listeners.indexOf(entry)
    if (at >= 0) listeners.splice(at, 1)
  }

  const find = (type: string, listener: Listener | undefined): Entry | undefined => {
    for (const entry of listeners) if (entry.type === type && entry.listener === listener) return entry
    return
  }

  HANDLERS.forEach((type) => {
    let handler: Listener | null = null
    Object.defineProperty(self, `on${type}`, {
      configurable: true,
      enumerable: true,
      get: () => handler,
      set: (given: Listener | null) => {
        handler = typeof given === 'function' ? given : null
        const entry = find(type, undefined)
        if (handler && !entry) listeners.push({ type, listener: undefined, once: false, gone: false })
        else if (!handler && entry) remove(entry)
      },
    })
  })

  self.addEventListener = (type: string, listener: Listener | null, options?: { once?: boolean }) => {
    if (!listener || find(String(type), listener)) return
    listeners.push({ type: String(type), listener, once: !!options && !!options.once, gone: false })
  }
  self.removeEventListener = (type: string, listener: Listener | null) => {
    const entry = listener && find(String(type), listener)
    if (entry) remove(entry)
  }
  self.dispatchEvent = (event: Heard) => {
    hear(event.type, event)
    return true
  }

  const plain = absolute.split('#')[0] as string
  const asked = padding ? `${plain}${plain.indexOf('?') < 0 ? '?' : '&'}padding=true` : plain
  const started = source(
    (id, taker) => {
      let over = false
      let last = id
      let opened = false
      let again = false
      let request: XMLHttpRequest
      let stop: () => void
      const ask = (): void => {
        const xhr = (request = new XMLHttpRequest())
        let headed = false
        let wanted = true
        let read = 0
        const push = textParser({
          event: (event) => {
            last = event.id
            taker.event(event)
          },
          block: (id) => {
            last = id
            taker.block(id)
          },
          retry: taker.retry,
        })
        const progress = (): void => {
          if (over || xhr !== request || xhr.readyState < 2) return
          let text
          try {
            if (!xhr.status) return
            if (!headed) {
              headed = true
              // Of a request that only goes on nobody hears, unless it is refused.
              if (!opened || xhr.status !== 200) wanted = taker.head(xhr.status, xhr.getResponseHeader('Content-Type') || '', xhr.responseURL || absolute)
              opened = true
            }
            if (!wanted) return stop()
            text = xhr.readyState > 2 ? xhr.responseText : ''
          } catch {
            // In some browsers there is nothing to look at before the end.
            return
          }
          const piece = text.slice(read)
          read = text.length
          try {
            if (piece) push(piece)
          } catch {
            // Larger than any event may be.
            return end()
          }
          // The browser keeps all of the text. With a cursor another request goes on without a gap.
          if (!over && last && read > TEXT_MAX && !again) {
            again = true
            setTimeout(() => {
              again = false
              if (!over && xhr === request) ask()
              xhr.abort()
            }, 0)
          }
        }
        const end = (): void => {
          if (over || xhr !== request) return
          progress()
          stop()
          taker.end()
        }
        xhr.open('GET', asked, true)
        xhr.withCredentials = withCredentials
        // It is UTF-8, whatever the server says.
        if (xhr.overrideMimeType) xhr.overrideMimeType('text/event-stream; charset=utf-8')
        xhr.setRequestHeader('Accept', 'text/event-stream')
        if (last) xhr.setRequestHeader('Last-Event-ID', unescape(encodeURIComponent(last)))
        xhr.onreadystatechange = xhr.onprogress = progress
        xhr.onload = xhr.onerror = xhr.onabort = end
        xhr.send()
      }
      stop = () => {
        over = true
        request.abort()
      }
      ask()
      return stop
    },
    {
      open: () => hear('open', {}),
      error: () => hear('error', {}),
      message: (type, data, lastEventId, from) => hear(type, { data, lastEventId, origin: originOf(from) }),
    },
  )
  self.close = started.close
  constant(self, 'url', () => absolute)
  constant(self, 'withCredentials', () => withCredentials)
  constant(self, 'readyState', started.state)
}

const nothing = (): void => undefined

const constant = (object: object, name: string, get: () => unknown): void => {
  Object.defineProperty(object, name, { get, enumerable: true })
}

const states = (object: object): void => {
  constant(object, 'CONNECTING', () => CONNECTING)
  constant(object, 'OPEN', () => OPEN)
  constant(object, 'CLOSED', () => CLOSED)
}

/** An anchor resolves URLs in any browser. */
const anchor = (url: string): HTMLAnchorElement => {
  const a = document.createElement('a')
  a.href = url
  // Only what it is given as a whole does Internet Explorer take apart.
  a.href = String(a.href)
  return a
}

const resolve = (url: string): string => {
  const { href, protocol } = anchor(url)
  if (!protocol || protocol === ':') throw new SyntaxError(`\`${url}\` is no URL`)
  return href
}

const originOf = (url: string): string => {
  const { protocol, host } = anchor(url)
  return `${protocol}//${host.replace(protocol === 'https:' ? /:443$/ : /:80$/, '')}`
}

/** Characters of one answer after which another is asked for. */
const TEXT_MAX = 4 * 1024 * 1024

states(Polyfill)
states(Polyfill.prototype as object)
if (typeof window !== 'undefined' && !('EventSource' in window && window.EventSource)) {
  ;(window as unknown as { EventSource: unknown }).EventSource = Polyfill
}
