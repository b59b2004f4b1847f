// What streams and tables share: one connection, who is told of it, and `for await` over what comes.

import { connection, type ConnectOptions, type Link, type Requests, type Sink } from './connect.js'
import { RiachoError } from './error.js'
import { pause, refused, resume, type Place, type Transport } from './state.js'

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
  #link: Link
  #queues = new Set<Queue<T>>()

  protected constructor(url: string | URL, options: ConnectOptions, sink: Omit<Sink, 'changed'>) {
    this.sink = sink as Sink
    this.sink.changed = (place: Place, error?: RiachoError): void => {
      if (place === 'closed') this.ended(error as RiachoError)
      for (const queue of this.#queues) queue._wake?.()
      call(error ? (this.error ? this.onclose : this.onerror) : this.onopen, error as RiachoError)
    }
    this.requests = this.#link = connection(url, options, this.sink)
  }

  /** Where the connection is. */
  get state(): Place {
    return this.#link._state.place
  }

  /** The transport that is used, or will be next. */
  get transport(): Transport {
    return this.#link._state._by
  }

  /** Everything up to here was given to the readers; empty as long as there is no such place. */
  get cursor(): string {
    return this.sink.cursor
  }

  close(): void {
    this.#link._tell(refused, new RiachoError('closed', false))
  }

  /** Connects in a moment, so that all readers of this turn see what comes first. One of them may want a type, or all. */
  protected start(want?: string | true): void {
    if (want) this.#link._want(want)
    queueMicrotask(() => this.#link._start())
  }

  /** For each `for await`. */
  protected push(item: T): void {
    for (const queue of this.#queues) {
      if (queue.push(item) >= QUEUE_MAX) this.#link._tell(pause)
      queue._wake?.()
    }
  }

  /** What is pushed from now on. It ends where this is closed, and throws where it cannot go on. */
  protected read(): AsyncGenerator<T, void, void> {
    const queue: Queue<T> = []
    this.#queues.add(queue)
    return this.#drain(queue)
  }

  async *#drain(queue: Queue<T>): AsyncGenerator<T, void, void> {
    try {
      for (;;) {
        // A slow reader holds the connection up, rather than memory.
        yield* queue.splice(0)
        this.#resume()
        if (queue.length) continue
        if (this.error) break
        await new Promise<void>((wake) => (queue._wake = wake))
      }
    } finally {
      this.#queues.delete(queue)
      this.#resume()
    }
    // What was asked for has no cause, and is no failure of a loop.
    if (this.error.cause) throw this.error
  }

  #resume(): void {
    if ([...this.#queues].every(({ length }) => length < QUEUE_MAX)) this.#link._tell(resume)
  }

  protected ended(error: RiachoError): void {
    this.error = error
  }
}

interface Queue<T> extends Array<T> {
  _wake?: () => void
}

/** Calls what others wrote; what it throws is theirs, is reported as a rejection, and stops nothing here. */
export const call = async <A extends unknown[]>(listener: ((...args: A) => void) | null, ...args: A): Promise<void> => listener?.(...args)

/** How much waits for one reader; then nothing more is taken from the server until it was read. */
export const QUEUE_MAX = 1_000
export const MESSAGE = 'message'
export const RESET = 'riacho.reset'
