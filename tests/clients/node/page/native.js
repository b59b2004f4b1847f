// The browser's own.
const source = new EventSource(url);
for (const type of ["message", "order"]) {
  source.addEventListener(type, ({ type, data, lastEventId: id }) => out({ type, data, id }));
}
