// npm `@microsoft/fetch-event-source`. Where an answer ends it stops, unless `onclose` throws; and it gives heartbeats and first
// blocks as messages without data. It takes an id before the event is complete, so one that is cut would be lost: the cursor
// of the last whole one is sent in the place of its own.
import { fetchEventSource } from "@microsoft/fetch-event-source";

let cursor = "";
fetchEventSource(url, {
  openWhenHidden: true,
  fetch: (input, init) => fetch(input, { ...init, headers: { accept: "text/event-stream", ...(cursor && { "last-event-id": cursor }) } }),
  onmessage: ({ event, data, id }) => {
    cursor = id || cursor;
    out({ type: event || "message", data, id });
  },
  onclose: () => {
    throw new Error("it ended; again");
  },
});
