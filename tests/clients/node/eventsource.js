// npm `eventsource`.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
for (const type of ["message", "order"]) {
  source.addEventListener(type, ({ type, data, lastEventId: id }) => console.log(JSON.stringify({ type, data, id })));
}
