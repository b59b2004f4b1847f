// Waiting on conditions: no test sleeps for a time and hopes.

/** How long a condition may take, in milliseconds; only a broken test gets there. */
export const PATIENCE = 60_000;

/** Asks `condition` until it gives something true, and returns that. */
export async function until(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${PATIENCE / 1000} s for ${what}`);
    await new Promise((again) => setTimeout(again, 20));
  }
}
