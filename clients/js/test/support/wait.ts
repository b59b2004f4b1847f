// Waiting on conditions: no test sleeps for a time and hopes.

/** How long a condition may take, in milliseconds; only a broken test gets there. */
export const PATIENCE = 60_000

/** Asks `condition` until it gives something true, and returns that. */
export async function until<T>(what: string, condition: () => T | Promise<T>): Promise<NonNullable<T>> {
  const end = Date.now() + PATIENCE
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > end) throw new Error(`waited ${PATIENCE / 1000} s for ${what}`)
    await new Promise((again) => setTimeout(again, 10))
  }
}

/** Random numbers from 0 up to 1 that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
