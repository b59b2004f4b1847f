// What streams and tables share: one connection, who is told of it, and `for await` over what comes.

import { connection, requests, type Connection, type ConnectOptions, type Requests, type Sink } from './connect.js'
import { RiachoError } from './error.js'
import type { Place, State, Transport } from './state.js'

/** What comes of a server for as long as one likes. It connects with its first reader. */
export abstract class Live<T> {
  /** The way to the server is open: for the first time, or again. */
  onopen: (() => void) | null = null
  /** It was lost and will be tried again. */
  onerror: ((error: RiachoError) => void) | null = null
  /** It ended for good. */
  onclose: ((error: RiachoError) => void) | null = null
  /** Why it ended; undefined until then. */
  error: RiachoError | undefined

  protected readonly requests: Requests
  protected readonly sink: Sink
  #connection: Connection
  #queues = new Set<Queue<T>>()
  #starting = false

  protected constructor(url: string | URL, options: ConnectOptions, sink: Omit<Sink, 'changed'>) {
    this.sink = Object.assign(sink, { changed: (place: Place, error?: RiachoError) => this.#changed(place, error) })
    this.requests = requests(url, options)
    this.#connection = connection(this.requests, options, this.sink)
  }

  get #state(): State {
    return this.#connection.state()
  }

  /** Where the connection is. */
  get state(): Place {
    return this.#state.place
  }

  /** The transport that is used, or will be next. */
  get transport(): Transport | undefined {
    return this.#state.order[this.#state.index]
  }

  /** Everything up to here was given to the readers; empty as long as there is no such place. */
  get cursor(): string {
    return this.sink.cursor
  }

  close(): void {
    this.#connection.close(new RiachoError('closed', 'it was closed', false))
  }

  /** Connects in a moment, so that all readers of this turn see what comes first. One of them may want a type, or all. */
  protected start(want?: string | true): void {
    if (want) this.#connection.want(want === true ? undefined : want)
    if (this.#starting) return
    this.#starting = true
    queueMicrotask(() => this.#connection.start())
  }

  /** For each `for await`. */
  protected push(item: T): void {
    for (const queue of this.#queues) {
      if (queue.items.push(item) >= QUEUE_MAX) this.#connection.tell({ on: 'pause' })
      queue.wake?.()
    }
  }

  /** What is pushed from now on. It ends where this is closed, and throws where it cannot go on. */
  protected read(): AsyncGenerator<T, void, void> {
    const queue: Queue<T> = { items: [] }
    this.#queues.add(queue)
    return this.#drain(queue)
  }

  async *#drain(queue: Queue<T>): AsyncGenerator<T, void, void> {
    try {
      for (;;) {
        // A slow reader holds the connection up, rather than memory.
        const had = queue.items.splice(0)
        if (had.length) {
          yield* had
          this.#resume()
        } else if (!this.error) await new Promise<void>((wake) => (queue.wake = wake))
        else if (ENDS.includes(this.error.code)) return
        else throw this.error
      }
    } finally {
      this.#queues.delete(queue)
      this.#resume()
    }
  }

  #resume(): void {
    if ([...this.#queues].every(({ items }) => items.length < QUEUE_MAX)) this.#connection.tell({ on: 'resume' })
  }

  #changed(place: Place, error?: RiachoError): void {
    if (!error) call(this.onopen)
    else if (place !== 'closed') call(this.onerror, error)
    else {
      this.ended(error)
      for (const { wake } of this.#queues) wake?.()
      call(this.onclose, error)
    }
  }

  protected ended(error: RiachoError): void {
    this.error = error
  }
}

interface Queue<T> {
  items: T[]
  wake?: () => void
}

/** Calls what others wrote; what it throws is theirs and stops nothing here. */
export const call = <A extends unknown[]>(listener: ((...args: A) => void) | null, ...args: A): void => {
  try {
    listener?.(...args)
  } catch (err) {
    queueMicrotask(() => {
      throw err
    })
  }
}

/** How much waits for one reader; then nothing more is taken from the server until it was read. */
export const QUEUE_MAX = 1_000
/** To be closed is no failure of a loop. */
const ENDS = ['closed', 'aborted', 'stream_closed']
export const MESSAGE = 'message'
export const RESET = 'riacho.reset'
