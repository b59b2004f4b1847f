// The client of Riacho: what may be imported.

export { ProblemError, RiachoError, type Problem } from './error.js'
export { parser, type ParserSink } from './parse.js'
export { stream, subscribe, unsubscribe, type Reset, type Stream, type StreamEvent, type StreamOptions } from './stream.js'
export { table, type Changes, type Patch, type Subscriber, type Table, type TableOptions, type Written } from './table.js'
export type { ConnectOptions, Timing } from './connect.js'
export type { Inside, Keeper, Kept, Layer, Layers, Persist } from './extend.js'
export type { Live } from './live.js'
export type { Change } from './rows.js'
export type { Place, Transport } from './state.js'
