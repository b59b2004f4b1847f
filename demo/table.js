// Shared by the pages that show a table: follows it with one plain EventSource.

/**
 * Opens `url`, and calls `changed(rows, before)` each time the rows are complete: `rows` is a Map from key to value,
 * `before` says what was there under the keys that changed.
 */
export function follow(url, changed) {
  const source = new EventSource(url);
  let rows = new Map(), group = [];

  source.onmessage = (event) => {
    const message = JSON.parse(event.data);
    const { control, txid, last } = message.headers;
    if (control === "snapshot-start") group = [];
    group.push(message);
    // All rows end with `snapshot-end`, a transaction with `last`; any other change is complete by itself.
    const whole = group[0].headers.control === "snapshot-start";
    if (whole ? control !== "snapshot-end" : txid && !last) return;

    const before = whole ? rows : new Map();
    if (whole) rows = new Map(); // Until here the old rows were shown.
    for (const { key, value, headers } of group.splice(0)) {
      if (headers.control) continue;
      if (!whole) before.set(key, rows.get(key));
      if (headers.operation === "delete") rows.delete(key);
      else rows.set(key, value);
    }
    changed(rows, before);
  };
  // After a lost connection the browser resumes at the last complete group: what came of the next one comes again.
  source.addEventListener("open", () => { group = []; });
  source.addEventListener("riacho.reset", () => {
    group = []; // Changes were lost: all rows follow.
    changed((rows = new Map()), new Map());
  });
  return source;
}
