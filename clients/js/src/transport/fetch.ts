// Event streams by fetch: they show every block, so heartbeats and the first cursor too.

import type { Link } from '../connect.js'
import { parser } from '../parse.js'

export const EVENT_STREAM = 'text/event-stream'

export const run = async (link: Link, signal: AbortSignal): Promise<void> => {
  const { body } = await link._ask(link._from(), EVENT_STREAM, { signal })
  link._watch(link._timing.first)
  const reader = body?.getReader()
  const found = (take: () => void): void => {
    if (signal.aborted) return
    link._came()
    take()
  }
  const push = parser({
    event: ({ type, data, id }) => found(() => link._take(type, JSON.parse(data), id)),
    block: (id) => found(() => id && link._sink.mark(id)),
    retry: (ms) => {
      link._retry = ms
    },
  })
  for (let chunk; (chunk = (await reader?.read())?.value); push(chunk)) link._alive()
}
