// Our own client in a runtime other than Node: `riacho.js eventsource|fetch|websocket URL`.
const [what, url] = process.argv.slice(2);
const dist = new URL("../../../clients/js/dist/", import.meta.url).href;
const say = ({ type, data, id }) => console.log(JSON.stringify({ type, data, id }));

if (what === "eventsource") {
  const { EventSource } = await import(`${dist}eventsource.js`);
  const source = new EventSource(url);
  for (const type of ["message", "order"]) {
    source.addEventListener(type, ({ type, data, lastEventId }) => say({ type, data, id: lastEventId }));
  }
} else {
  const { stream } = await import(`${dist}index.js`);
  for await (const event of stream(url, { transport: [what], reconnectionTime: 100, timing: { cap: 500 } })) say(event);
}
