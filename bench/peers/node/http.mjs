// Node's own `http`, as its documentation leads one to write it: one process, a list of responses per path.
//
// The frame is made once per event, and the head is sent at once. A reader that takes nothing is cut at 1 MiB of buffer, since
// `write` keeps everything in memory otherwise. Usage: node http.mjs HOST PORT
import { createServer } from 'node:http';

const [host, port] = process.argv.slice(2);
const readers = new Map();

const server = createServer({ keepAliveTimeout: 600_000, requestTimeout: 0, noDelay: true }, (req, res) => {
  if (req.method === 'POST') {
    const parts = [];
    req.on('data', (part) => parts.push(part));
    req.on('end', () => {
      const frame = Buffer.from(`data: ${Buffer.concat(parts)}\n\n`);
      for (const reader of readers.get(req.url) ?? []) {
        if (reader.writableLength > 1 << 20) reader.destroy();
        else reader.write(frame);
      }
      res.writeHead(201, { 'content-length': 0 }).end();
    });
    return;
  }
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  res.flushHeaders();
  if (!readers.has(req.url)) readers.set(req.url, new Set());
  const here = readers.get(req.url);
  here.add(res);
  res.on('close', () => here.delete(res));
});
server.maxRequestsPerSocket = 0;
server.listen({ host, port: Number(port), backlog: 4096 });
