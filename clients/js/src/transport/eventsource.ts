// The browser's own EventSource. It shows neither the first block nor heartbeats, nor why it was refused: those are asked for.

import { GOODBYE, type Link } from '../connect.js'
import { RiachoError } from '../error.js'
import { EVENT_STREAM, run as read } from './fetch.js'

export const run = async (link: Link, signal: AbortSignal): Promise<void> => {
  const { _sink: sink, _world: world, _timing: timing } = link
  // Without the cursor of the first block, what comes until the first event could be lost.
  if (link._retry === undefined || !(sink.cursor || sink.snapshot)) {
    await first(link, signal)
    signal.throwIfAborted()
    link._watch(timing.head)
  }
  const target = link._from()
  await new Promise<void>((ended, failed) => {
    const source = new (world.EventSource as typeof EventSource)(target, link._options)
    signal.addEventListener('abort', () => source.close())
    const heard = ({ type, data, lastEventId }: MessageEvent<string>): void => {
      if (signal.aborted) return
      link._came()
      try {
        link._take(type, JSON.parse(data), lastEventId)
      } catch (err) {
        failed(err)
      }
    }
    // To listen once more for the same is nothing.
    link._listen = (type) => source.addEventListener(type, heard)
    for (const type of [...sink.types(), GOODBYE]) link._listen(type)
    source.onopen = link._came
    source.onerror = () => {
      // It would come back by itself, but at a fixed pace and also while offline. Where it gave up, it does not say why.
      if (source.readyState < 2) ended()
      else failed()
      source.close()
    }
    const quiet = (): void => {
      link._quiet = undefined
      // From now on silence means that the path is dead.
      link._came()
      link._watch(timing.head)
      const answered = (): void => {
        if (signal.aborted) return
        link._quiet = quiet
        link._watch(timing.silence)
      }
      import('./poll.js').then(({ probe }) => probe(link, signal)).then(answered, failed)
    }
    link._quiet = quiet
  }).catch(async (err) => {
    if (err) throw err
    const { body } = await link._ask(target, EVENT_STREAM, { signal })
    body?.cancel().catch(() => undefined)
    throw new RiachoError('unfit')
  })
}

/** Reads the first block alone: where it begins, and how long to wait. */
const first = async (link: Link, signal: AbortSignal): Promise<void> => {
  const own = new AbortController()
  const end = (): void => own.abort()
  signal.addEventListener('abort', end)
  const only: Link = {
    ...link,
    _came: () => undefined,
    _take: end,
    _sink: {
      ...link._sink,
      mark: (id) => {
        link._sink.mark(id)
        end()
      },
    },
  }
  await read(only, own.signal).catch((err) => {
    if (!own.signal.aborted) throw err
  })
  link._retry = only._retry
}
