// A proxy that cuts: what stands between client and server in these tests.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class CuttingProxy {
  static async start(t, port) {
    const proxy = new CuttingProxy(port);
    proxy.listener.listen(0, "127.0.0.1");
    await once(proxy.listener, "listening");
    t.after(() => {
      proxy.reset();
      proxy.listener.close();
    });
    return proxy;
  }

  constructor(port) {
    /** Connections that are open: the client's side and the server's. */
    this.open = new Set();
    /** Heads of requests so far. */
    this.heads = [];
    /** Bytes from the server after which each connection is reset; Infinity: it lives. */
    this.bytes = Infinity;
    this.listener = createServer((client) => this.#serve(client, connect(port, "127.0.0.1")));
  }

  get origin() {
    return `http://127.0.0.1:${this.listener.address().port}`;
  }

  /** Resets all connections. */
  reset() {
    for (const [client] of this.open) client.resetAndDestroy();
  }

  /** Ends all connections as a server does that has no more to say, in the middle of whatever it is. */
  end() {
    for (const [client, server] of this.open) {
      server.destroy();
      client.end();
    }
  }

  #serve(client, server) {
    const pair = [client, server];
    this.open.add(pair);
    for (const [socket, other] of [pair, [server, client]]) {
      socket.setNoDelay(true);
      socket.on("error", () => other.destroy());
      socket.on("close", () => this.open.delete(pair));
    }
    client.on("close", () => server.destroy());
    server.on("close", () => client.end());
    client.on("data", (chunk) => {
      this.heads.push(chunk.toString("latin1"));
      if (server.writable) server.write(chunk);
    });
    let room = this.bytes;
    server.on("data", (chunk) => {
      if (!client.writable) return;
      if (chunk.length <= room) client.write(chunk);
      else client.write(chunk.subarray(0, room), () => client.resetAndDestroy());
      room -= chunk.length;
    });
  }
}
