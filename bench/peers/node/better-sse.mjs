// better-sse: a session per reader, a channel per path, `broadcast` to all, as its documentation shows.
//
// The serializer is the identity, so that the body is not quoted again: less work, and the same bytes as everybody's.
// Usage: node better-sse.mjs HOST PORT
import { createServer } from 'node:http';
import { createChannel, createSession } from 'better-sse';

const [host, port] = process.argv.slice(2);
const channels = new Map();

function channel(url) {
  if (!channels.has(url)) channels.set(url, createChannel());
  return channels.get(url);
}

const server = createServer({ keepAliveTimeout: 600_000, requestTimeout: 0, noDelay: true }, async (req, res) => {
  if (req.method === 'POST') {
    const parts = [];
    req.on('data', (part) => parts.push(part));
    req.on('end', () => {
      channel(req.url).broadcast(Buffer.concat(parts).toString());
      res.writeHead(201, { 'content-length': 0 }).end();
    });
    return;
  }
  const session = await createSession(req, res, { serializer: (data) => data });
  channel(req.url).register(session);
});
server.maxRequestsPerSocket = 0;
server.listen({ host, port: Number(port), backlog: 4096 });
