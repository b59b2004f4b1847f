import { defineConfig } from 'vitest/config'

// One file after the other: each has servers, one a browser.
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], fileParallelism: false, execArgv: ['--experimental-websocket'], testTimeout: 180_000, hookTimeout: 60_000 },
})
