// npm `@microsoft/fetch-event-source`. Where an answer ends it stops, unless `onclose` throws; and it gives heartbeats and first
// blocks as messages without data.
import { fetchEventSource } from "@microsoft/fetch-event-source";

fetchEventSource(url, {
  openWhenHidden: true,
  onmessage: ({ event, data, id }) => out({ type: event || "message", data, id }),
  onclose: () => {
    throw new Error("it ended; again");
  },
});
