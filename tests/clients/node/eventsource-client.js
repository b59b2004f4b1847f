// npm `eventsource-client`.
import { createEventSource } from "eventsource-client";

const source = createEventSource({ url: process.argv[2] });
for await (const { event: type, data, id } of source) console.log(JSON.stringify({ type, data, id }));
