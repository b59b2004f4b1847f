// Debian's nginx in front of a server, with its default proxy buffering, from a directory of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { freePort } from "./server.js";
import { until } from "./wait.js";

/**
 * Starts nginx as the current user in front of `server` until the test `t` ends; returns its origin.
 *
 * `version` is what it speaks to the server. 1.0 is its default, and the one where its buffer holds small events back
 * unless the server says `X-Accel-Buffering: no`: chunks it passes on at once in any case.
 */
export async function startNginx(t, server, version) {
  const directory = await mkdtemp(join(tmpdir(), "riacho-nginx-"));
  const port = await freePort();
  const own = (name) => `${name} ${join(directory, name)};`;
  const configuration = `
    daemon off;
    ${userInfo().uid === 0 ? "user root;" : ""}
    pid ${join(directory, "nginx.pid")};
    error_log stderr warn;
    events {}
    http {
      access_log off;
      ${["client_body_temp_path", "proxy_temp_path", "fastcgi_temp_path", "uwsgi_temp_path", "scgi_temp_path"].map(own).join("\n")}
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass ${server.origin};
          ${version ? `proxy_http_version ${version};` : ""}
        }
      }
    }`;
  await writeFile(join(directory, "nginx.conf"), configuration);

  let talk = "";
  const nginx = spawn(process.env.NGINX ?? "/usr/sbin/nginx", ["-p", directory, "-c", join(directory, "nginx.conf"), "-e", "stderr"], { stdio: ["ignore", "ignore", "pipe"] });
  nginx.stderr.setEncoding("utf8").on("data", (text) => (talk = (talk + text).slice(-4000)));
  const ended = once(nginx, "exit");
  t.after(async () => {
    if (nginx.exitCode === null) nginx.kill("SIGTERM");
    await ended;
    await rm(directory, { recursive: true, force: true });
  });
  const origin = `http://127.0.0.1:${port}`;
  await until("nginx to pass requests on", async () => {
    if (nginx.exitCode !== null) throw new Error(`nginx ended with ${nginx.exitCode}: ${talk}`);
    return (await fetch(`${origin}/readyz`).catch(() => null))?.ok;
  });
  return origin;
}
