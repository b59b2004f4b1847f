// A body of text/event-stream becomes events: WHATWG HTML, "Parsing an event stream" and "Interpreting an event stream".
// Pinned by spec/vectors. It must not know fetch, URLs or what the data means.

/** Who takes what a parser finds, in the order of the body. */
export interface ParserSink {
  /** An event with data, as an `EventSource` would dispatch it; `id` is the last id so far, of this event or one before. */
  event(event: { type: string; data: string; id: string }): void
  /** A block without data ended; `id` is the last id so far. Heartbeats and first blocks of Riacho come so. */
  block?(id: string): void
  /** The reconnection time, in milliseconds. */
  retry?(ms: number): void
}

/**
 * As `parser`, of text: what it returns takes pieces of a body without its byte order mark. It runs in browsers of ES5.
 *
 * @throws RangeError from what is returned, where an event is larger than `EVENT_CHARS_MAX`
 */
export const textParser = (sink: ParserSink): ((text: string) => void) => {
  /** The line that is not complete. */
  let rest = ''
  /** A line ended in CR at the end of a chunk: a LF that follows belongs to it. */
  let cr = false
  /** Of each line of data, a line break and the line. */
  let data = ''
  let type = ''
  let id = ''
  const parseLine = (line: string): void => {
    const [, name, value = ''] = /^([^:]*):? ?([^]*)$/.exec(line) as string[]
    if (!line) {
      if (data) sink.event({ type: type || 'message', data: data.slice(1), id })
      else sink.block?.(id)
      data = type = ''
    } else if (name === 'data') data += `\n${value}`
    else if (name === 'event') type = value
    else if (name === 'id' && !/\0/.test(value)) id = value
    else if (name === 'retry' && /^\d+$/.test(value)) sink.retry?.(+value)
  }
  return (text) => {
    if (!text) return
    if (cr && text[0] === '\n') text = text.slice(1)
    cr = /\r$/.test(text)
    // Only what is new is searched, so a long line in many chunks costs its length.
    const lines = text.split(/\r\n?|\n/)
    lines[0] = rest + (lines[0] as string)
    rest = lines.pop() as string
    lines.forEach(parseLine)
    if (data.length + rest.length > EVENT_CHARS_MAX) throw new RangeError('too large')
  }
}

/**
 * Parses one body. What it returns takes the bytes, cut anywhere; a byte order mark at their beginning is passed over, and
 * what is no UTF-8 becomes U+FFFD. Where the body ends, what is unfinished is dropped: there is nothing to call.
 *
 * @throws RangeError from what is returned, where an event is larger than `EVENT_CHARS_MAX`
 */
export const parser = (sink: ParserSink): ((chunk: Uint8Array) => void) => {
  const decoder = new TextDecoder()
  const push = textParser(sink)
  return (chunk) => push(decoder.decode(chunk, { stream: true }))
}

/** Characters of one event; as much as a server may be configured to send (64 MiB), where each byte is escaped. */
export const EVENT_CHARS_MAX = 6 * 2 ** 26
