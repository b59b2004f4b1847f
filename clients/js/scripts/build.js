// Builds dist/: the package (index.js and what it loads when it needs it), the same in one file as an ES module and as a classic
// script that sets `riacho` (what the server serves), and the types.

import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
rmSync(`${root}dist`, { recursive: true, force: true })
/** Members of the client's own objects, which get short names. None may be a member of anything else. */
const OWN = /^_|^(requests|sink|select|mark|begin|changed|types|ended)$/
const common = { absWorkingDir: root, bundle: true, target: 'es2022', mangleProps: OWN, logLevel: 'warning' }
const entryPoints = ['src/index.ts']
const later = ['refusal', 'transport/eventsource', 'transport/poll', 'transport/websocket', 'transport/shared', 'transport/worker'].map((name) => `src/${name}.ts`)
await build({ ...common, entryPoints: [...entryPoints, ...later], format: 'esm', splitting: true, entryNames: '[name]', outdir: 'dist' })
await build({ ...common, entryPoints, format: 'esm', minify: true, outfile: 'dist/riacho.js' })
await build({ ...common, entryPoints, format: 'iife', globalName: 'riacho', minify: true, outfile: 'dist/riacho.global.js', logOverride: { 'empty-import-meta': 'silent' } })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' })
