// Builds dist/: an ES module, a classic script that sets `riacho`, and the types.

import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
rmSync(`${root}dist`, { recursive: true, force: true })
const common = { absWorkingDir: root, entryPoints: ['src/index.ts'], bundle: true, target: 'es2022', logLevel: 'warning' }
await build({ ...common, format: 'esm', outfile: 'dist/riacho.js' })
await build({ ...common, format: 'iife', globalName: 'riacho', minify: true, outfile: 'dist/riacho.global.js' })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' })
