// Builds dist/: ES modules, a classic script that sets `riacho`, the polyfill, which is ES5, and the types.

import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build, transform } from 'esbuild'
import ts from 'typescript5'

/** What is imported besides `riacho` itself. */
const ENTRIES = ['eventsource', 'optimistic', 'persist', 'react', 'tanstack-db']

const root = fileURLToPath(new URL('..', import.meta.url))
rmSync(`${root}dist`, { recursive: true, force: true })
const common = { absWorkingDir: root, bundle: true, target: 'es2022', logLevel: 'warning' }
const index = { ...common, entryPoints: ['src/index.ts'] }
await build({ ...index, format: 'esm', outfile: 'dist/riacho.js' })
await build({ ...index, format: 'iife', globalName: 'riacho', minify: true, outfile: 'dist/riacho.global.js' })
/** There is one client in a page, whichever entries it uses. */
const shared = {
  name: 'shared',
  setup: ({ onResolve }) => onResolve({ filter: /^\.\/index\.js$/ }, () => ({ path: './riacho.js', external: true })),
}
await build({
  ...common, entryPoints: ENTRIES.map((entry) => `src/${entry}.ts`), format: 'esm', outdir: 'dist', packages: 'external', plugins: [shared],
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
