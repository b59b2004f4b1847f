// What is published: its size, and that every way to load it works. `npm run build` must have run.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import { parse } from 'acorn'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

/** Bytes, compressed, of what a page has to load before anything comes; the rest is loaded where it is needed. */
const LIMITS = { 'export { stream }': 3_072, 'export *': 6_144 }

test.each(Object.entries(LIMITS))('%s is no larger than %i bytes', async (names, limit) => {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `${names} from './dist/index.js'`, resolveDir: ROOT },
    bundle: true, minify: true, format: 'esm', splitting: true, outdir: 'x', write: false, metafile: true,
    // Chunks that are loaded later may share code with the first; here they are not part of it.
    plugins: [{ name: 'later', setup: ({ onResolve }) => onResolve({ filter: /./ }, ({ kind, path }) => (kind === 'dynamic-import' ? { path, external: true } : null)) }],
  })
  expect(Object.keys(metafile.outputs)).toHaveLength(1)
  const code = outputFiles[0]?.text ?? ''
  expect(code).toContain('text/event-stream')
  expect(gzipSync(code, { level: 9 }).length).toBeLessThanOrEqual(limit)
})

/** Bytes, compressed, of each other entry, without `riacho` itself and without others' packages. */
const ENTRIES = { eventsource: 1_792, optimistic: 1_664, persist: 1_152, polyfill: 2_560, react: 896, 'tanstack-db': 1_664 }

test.each(Object.entries(ENTRIES))('riacho/%s is no larger than %i bytes', async (entry, limit) => {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, `dist/${entry}.js`)],
    bundle: true, minify: true, format: 'esm', write: false, packages: 'external', external: ['./index.js'],
  })
  const size = gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length
  expect(size).toBeGreaterThan(500)
  expect(size).toBeLessThanOrEqual(limit)
})

test('each entry is there, and gives what it says', async () => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: Record<string, { default: string; types: string }> }
  const names: Record<string, string[]> = {
    './eventsource': ['EventSource'], './optimistic': ['optimistic'], './persist': ['forget', 'persist', 'persistAs'], './polyfill': [],
    './react': ['useStream', 'useTable'], './tanstack-db': ['riachoCollectionOptions'],
  }
  expect(Object.keys(exports).sort()).toEqual(['.', ...Object.keys(names), './package.json'].sort())
  for (const [entry, expected] of Object.entries(names)) {
    const { default: file = '', types = '' } = exports[entry] ?? {}
    expect(Object.keys((await import(join(ROOT, file))) as object).sort(), entry).toEqual(expected)
    expect(readFileSync(join(ROOT, types), 'utf8')).toContain('export')
  }
})

test('what is loaded later is there, and is what is meant', async () => {
  const files = readdirSync(join(ROOT, 'dist')).filter((name) => /^(chunk|by)-.*\.js$/.test(name))
  const later = new Set(files.flatMap((name) =>
    [...readFileSync(join(ROOT, 'dist', name), 'utf8').matchAll(/import\("(\.\/[^"]+)"\)/g)].map(([, path]) => path as string)))
  expect([...later].sort()).toEqual(['eventsource', 'poll', 'shared', 'websocket'].map((name) => `./by-${name}.js`).concat('./refusal.js'))
  for (const path of later) {
    const names = Object.keys((await import(join(ROOT, 'dist', path))) as object)
    expect(names.some((name) => ['run', 'refusal'].includes(name)), `${path} has ${names.join()}`).toBe(true)
  }
})

test('the worker is one file, as bundlers want it', () => {
  expect(readFileSync(join(ROOT, 'dist/worker.js'), 'utf8')).not.toMatch(/\bimport\(|^(import|export) /m)
})

test('the polyfill is ES5', () => {
  const text = readFileSync(join(ROOT, 'dist/polyfill.js'), 'utf8')
  expect(() => parse(text, { ecmaVersion: 5 })).not.toThrow()
})

test('the module and the script give the same names', async () => {
  const names = Object.keys((await import(join(ROOT, 'dist/index.js'))) as object).sort()
  expect(names).toEqual(['ProblemError', 'RiachoError', 'parser', 'stream', 'subscribe', 'table', 'unsubscribe'])
  const script = readFileSync(join(ROOT, 'dist/riacho.global.js'), 'utf8')
  expect((runInNewContext(`${script}; Object.keys(riacho)`) as string[]).sort()).toEqual(names)
})

test('the package has what it names, and nothing else', () => {
  const listed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [{ files }] = JSON.parse(listed) as [{ files: { path: string }[] }]
  const paths = files.map(({ path }) => path)
  for (const path of ['README.md', 'package.json', 'dist/index.js', 'dist/riacho.js', 'dist/riacho.global.js', 'dist/types/index.d.ts']) {
    expect(paths).toContain(path)
  }
  expect(paths.filter((path) => !/^(dist\/|README\.md$|package\.json$|LICENSE)/.test(path))).toEqual([])
})
