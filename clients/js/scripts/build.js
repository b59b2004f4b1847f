// Builds dist/: the package (index.js and what it loads when it needs it), the same in one file as an ES module and as a classic
// script that sets `riacho` (what the server serves), the other entries, the polyfill, which is ES5, and the types.

import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build, transform } from 'esbuild'
import ts from 'typescript5'

/** What is imported besides `riacho` itself. */
const ENTRIES = ['eventsource', 'optimistic', 'persist', 'react', 'tanstack-db']

const root = fileURLToPath(new URL('..', import.meta.url))
rmSync(`${root}dist`, { recursive: true, force: true })
/** Members of the client's own objects, which get short names. None may be a member of anything else. */
const OWN = /^_|^(requests|sink|select|mark|begin|changed|types|ended)$/
const common = { absWorkingDir: root, bundle: true, target: 'es2022', mangleProps: OWN, logLevel: 'warning' }
const entryPoints = ['src/index.ts']
/** Of names that no entry has. */
const LATER = { refusal: 'refusal', ...Object.fromEntries(['eventsource', 'poll', 'websocket', 'shared'].map((name) => [`by-${name}`, `transport/${name}`])) }
const later = Object.entries(LATER).map(([out, name]) => ({ in: `src/${name}.ts`, out }))
await build({ ...common, entryPoints: [{ in: 'src/index.ts', out: 'index' }, ...later], format: 'esm', splitting: true, outdir: 'dist' })
await build({ ...common, entryPoints, format: 'esm', minify: true, outfile: 'dist/riacho.js' })
await build({ ...common, entryPoints, format: 'iife', globalName: 'riacho', minify: true, outfile: 'dist/riacho.global.js', logOverride: { 'empty-import-meta': 'silent' } })
/** What a hub does not connect by. */
const unused = {
  name: 'unused',
  setup: ({ onLoad }) => onLoad({ filter: /transport\/(shared|eventsource)\.ts$/ }, () => ({ contents: 'export const run = undefined' })),
}
// In one file, since what bundlers make of workers has no chunks.
await build({ ...common, entryPoints: ['src/transport/worker.ts'], format: 'esm', outfile: 'dist/worker.js', plugins: [unused] })
/** There is one client in a page, whichever entries it uses; so names are not shortened in them either. */
const shared = {
  name: 'shared',
  setup: ({ onResolve }) => onResolve({ filter: /^\.\/index\.js$/ }, ({ path }) => ({ path, external: true })),
}
await build({
  absWorkingDir: root, bundle: true, target: 'es2022', logLevel: 'warning',
  entryPoints: ENTRIES.map((entry) => `src/${entry}.ts`), format: 'esm', outdir: 'dist', packages: 'external', plugins: [shared],
})
await polyfill()
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' })

/** ES5, and as good a module as a classic script. esbuild and newer TypeScript do not write ES5. */
async function polyfill() {
  const { outputFiles } = await build({ ...common, entryPoints: ['src/polyfill.ts'], format: 'iife', write: false })
  const { outputText } = ts.transpileModule(outputFiles[0].text, { compilerOptions: { target: ts.ScriptTarget.ES5, module: ts.ModuleKind.None } })
  const { code } = await transform(outputText, { minify: true, target: 'es5' })
  writeFileSync(`${root}dist/polyfill.js`, code)
}
