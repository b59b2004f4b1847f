// Debian's nginx and HAProxy in front of a server, each from a directory of its own.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { freePort, type Server } from './server.js'
import { until } from './wait.js'

/** Runs a proxy until the test ends; `arguments` from its directory and its configuration. Returns its port. */
async function run(program: string, configure: (port: number, directory: string) => string, start: (file: string) => string[]): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'riacho-proxy-'))
  const port = await freePort()
  const file = join(directory, 'conf')
  await writeFile(file, configure(port, directory))
  const child = spawn(program, start(file), { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)))
  const ended = once(child, 'exit')
  onTestFinished(async () => {
    if (child.exitCode === null) child.kill('SIGTERM')
    await ended
    await rm(directory, { recursive: true, force: true })
  })
  await until(`${program} to pass requests on`, async () => {
    if (child.exitCode !== null) throw new Error(`${program} ended: ${said}`)
    return (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null))?.ok
  })
  return port
}

/** nginx with its default buffering; `location` is more of the configuration. With `upgrade` WebSockets pass. */
export const startNginx = (server: Server, location = '', upgrade = false): Promise<number> => {
  const paths = ['client_body_temp_path', 'proxy_temp_path', 'fastcgi_temp_path', 'uwsgi_temp_path', 'scgi_temp_path']
  const configure = (port: number, directory: string): string => `
    daemon off; ${userInfo().uid === 0 ? 'user root;' : ''} pid ${directory}/pid; error_log stderr crit;
    events {}
    http {
      access_log off; ${paths.map((path) => `${path} ${directory}/${path};`).join(' ')}
      server {
        listen 127.0.0.1:${port};
        location / { proxy_pass ${server.origin}; ${location} }
        ${upgrade ? `location = /streams/-/ws { proxy_pass ${server.origin}; ${UPGRADE} }` : ''}
      }
    }`
  return run(process.env.NGINX ?? '/usr/sbin/nginx', configure, (file) => ['-c', file, '-e', 'stderr'])
}

const UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;'

/** HAProxy that ends what is silent for `timeout`. */
export const startHaproxy = (server: Server, timeout: string): Promise<number> => {
  const configure = (port: number): string => `
defaults
  mode http
  timeout connect 1s
  timeout client ${timeout}
  timeout server ${timeout}
  timeout tunnel ${timeout}
frontend front
  bind 127.0.0.1:${port}
  default_backend back
backend back
  server riacho 127.0.0.1:${server.port}
`
  return run(process.env.HAPROXY ?? '/usr/sbin/haproxy', configure, (file) => ['-db', '-f', file])
}
