// A subscriber without a browser: the head and the blocks of one event stream, as they arrive.

import { get } from "node:http";
import { PATIENCE } from "./wait.js";

/** One connection to an event stream; it ends with the test `t`. */
export class Subscriber {
  static open(t, url, headers = {}) {
    return new Promise((opened, failed) => {
      const request = get(url, { headers: { Accept: "text/event-stream", ...headers }, agent: false }, (response) => {
        opened(new Subscriber(response));
      });
      request.setTimeout(PATIENCE, () => request.destroy(new Error(`no byte of ${url} in ${PATIENCE / 1000} s`)));
      request.on("error", failed);
      t.after(() => request.destroy());
    });
  }

  constructor(response) {
    this.status = response.statusCode;
    this.headers = response.headers;
    this.blocks = blocks(response.setEncoding("utf8"));
  }

  /** The next event with data, as `{ id, type, data }`; `id` is the newest one seen. */
  async next() {
    for (;;) {
      const { value, done } = await this.blocks.next();
      if (done) throw new Error("the stream ended");
      const event = { id: this.id, type: "message", data: null };
      for (const line of value.split("\n")) {
        const [, field, text] = /^([a-z]*):? ?(.*)$/.exec(line) ?? [];
        if (field === "id") event.id = this.id = text;
        if (field === "event") event.type = text;
        if (field === "data") event.data = event.data === null ? text : `${event.data}\n${text}`;
      }
      if (event.data !== null) return event;
    }
  }
}

/** The text between blank lines, as soon as each is complete. */
async function* blocks(response) {
  let text = "";
  for await (const piece of response) {
    text += piece;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 2);
    }
  }
}
