import type { Link } from '../connect.js'
export const run = async (_: Link, __: AbortSignal): Promise<void> => {}
