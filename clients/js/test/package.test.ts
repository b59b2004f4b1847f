// What is published: its size, and that every way to load it works. `npm run build` must have run.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

/** Bytes, compressed, of what a page has to load to use these names. */
const LIMITS = { 'export { stream }': 4_352, 'export { table }': 5_376, 'export *': 5_632 }

test.each(Object.entries(LIMITS))('%s is no larger than %i bytes', async (names, limit) => {
  const { outputFiles } = await build({
    stdin: { contents: `${names} from './dist/riacho.js'`, resolveDir: ROOT },
    bundle: true, minify: true, format: 'esm', write: false,
  })
  const size = gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length
  expect(size).toBeGreaterThan(1_000)
  expect(size).toBeLessThanOrEqual(limit)
})

test('the module and the script give the same names', async () => {
  const names = Object.keys((await import(join(ROOT, 'dist/riacho.js'))) as object).sort()
  expect(names).toEqual(['ProblemError', 'RiachoError', 'parser', 'stream', 'table'])
  const script = readFileSync(join(ROOT, 'dist/riacho.global.js'), 'utf8')
  expect((runInNewContext(`${script}; Object.keys(riacho)`) as string[]).sort()).toEqual(names)
})

test('the package has what it names, and nothing else', () => {
  const listed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [{ files }] = JSON.parse(listed) as [{ files: { path: string }[] }]
  const paths = files.map(({ path }) => path)
  for (const path of ['README.md', 'package.json', 'dist/riacho.js', 'dist/riacho.global.js', 'dist/types/index.d.ts']) {
    expect(paths).toContain(path)
  }
  expect(paths.filter((path) => !/^(dist\/|README\.md$|package\.json$|LICENSE)/.test(path))).toEqual([])
})
