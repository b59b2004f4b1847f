// npm `event-source-polyfill` (Yaffle). Its own limit of silence is the server's three heartbeats.
import { EventSourcePolyfill } from "event-source-polyfill";

const source = new EventSourcePolyfill(url, { heartbeatTimeout: 45_000 });
for (const type of ["message", "order"]) {
  source.addEventListener(type, ({ type, data, lastEventId: id }) => out({ type, data, id }));
}
