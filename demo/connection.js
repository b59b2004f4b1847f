// Shared by the demo pages: shows what a plain EventSource is doing, and the code of the page.

/**
 * Shows the state of `source` in #connection, and keeps what arrives in `window.received` (the last 1000). A further
 * call takes the place of the one before.
 */
export function watch(source, types = []) {
  const place = document.getElementById("connection");
  place.replaceChildren();
  const [state, id, again] = ["strong", "span", "span"].map((name) => place.appendChild(document.createElement(name)));
  state.setAttribute("role", "status");
  let opened = false, reconnections = 0, cause = "", said = "";

  const show = (now, why) => {
    place.dataset.state = now;
    place.dataset.reconnections = reconnections;
    state.textContent = why ? `${now}: ${why}` : now;
    again.textContent = `${reconnections} ${reconnections === 1 ? "reconnection" : "reconnections"}${cause && `, last cause: ${cause}`}`;
  };
  const record = (event) => {
    window.received.push({ id: event.lastEventId, type: event.type, data: event.data });
    if (window.received.length > 1000) window.received.shift();
    // The rows of a table come without a cursor, until all are there.
    if (event.lastEventId) id.textContent = `last event ${event.lastEventId}`;
  };
  // Control events come in band, since a page cannot read the status or the headers of an EventSource.
  const control = (event) => {
    record(event);
    let reason = event.data;
    try { reason = JSON.parse(event.data).reason; } catch { /* The text as it is. */ }
    cause = said = `${event.type} (${reason})`;
    show(place.dataset.state, said);
  };

  window.received = [];
  show("connecting");
  source.addEventListener("open", () => {
    if (opened) reconnections += 1;
    opened = true;
    said = "";
    show("open");
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) return show("closed", "the server refused, and EventSource does not try again");
    if (place.dataset.state !== "reconnecting") cause = said || (opened ? "connection lost" : "no answer");
    show("reconnecting", cause);
  });
  for (const type of ["message", ...types]) source.addEventListener(type, record);
  for (const type of ["riacho.goodbye", "riacho.reset"]) source.addEventListener(type, control);
}

// A page that comes back from the browser's memory has a dead connection: begin again.
addEventListener("pageshow", (event) => event.persisted && location.reload());

for (const host of document.querySelectorAll("[data-host]")) host.textContent = location.host;

for (const code of document.querySelectorAll("code[data-src]")) {
  code.closest("details").addEventListener("toggle", async () => {
    code.textContent = await (await fetch(code.dataset.src)).text();
  }, { once: true });
}
