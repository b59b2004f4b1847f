// All orders once, then only what changes: `table`. What is saved goes to the API, which writes to DynamoDB; what became of it
// comes back as everybody's changes do.

import { table } from "/riacho.js";

const get = (id) => document.getElementById(id);
const MEMBERS = ["customer", "item", "quantity", "total", "status"];
const POLL_MS = 3000;
const spent = { requests: 0, bytes: 0 };
const polled = { since: Date.now(), requests: 0, bytes: 0, writes: 0, writeBytes: 0 };
const lines = new Map(); // Of each order, its line of the table and the row that it shows.
let here = false; // Whether all orders came.
let editing = null; // The order in the dialog as it was when it was opened; `{}` of a new one.

// Counts requests, and the bytes of their bodies as they come.
async function counted(...request) {
  spent.requests += 1;
  const answer = await fetch(...request);
  const counting = new TransformStream({
    transform(chunk, out) {
      spent.bytes += chunk.byteLength;
      out.enqueue(chunk);
    },
  });
  return new Response(answer.body?.pipeThrough(counting), answer);
}

const orders = table("/tables/orders", { fetch: counted });
orders.subscribe((rows, changes) => {
  draw(rows);
  if (here) for (const change of changes.slice(-20)) tell(change);
  here = true;
});
orders.onopen = () => state("open", "live");
orders.onerror = () => state("connecting", "reconnecting");
orders.onclose = (error) => state("closed", error.message);

function state(name, text) {
  if (get("state").dataset.state === name) return;
  get("state").dataset.state = name;
  get("state").textContent = text;
  get("rows").classList.toggle("old", name !== "open");
}

function draw(rows) {
  for (const [key, line] of lines) {
    if (rows.has(key)) continue;
    line.element.remove();
    lines.delete(key);
  }
  for (const [key, row] of rows) fill(key, row);
  const keys = [...lines.keys()].sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  const [find, only] = [get("find").value.trim().toLowerCase(), get("only").value];
  const shown = keys.map((key) => lines.get(key)).filter(({ row }) => {
    return (!only || row.status === only) && `${row.id} ${row.customer} ${row.item}`.toLowerCase().includes(find);
  });
  // What stays where it is is not touched.
  const body = get("rows");
  const elements = new Set(shown.map(({ element }) => element));
  for (const element of [...body.children]) if (!elements.has(element)) element.remove();
  shown.forEach(({ element }, i) => element !== body.children[i] && body.insertBefore(element, body.children[i] ?? null));
  const all = `${rows.size} ${rows.size === 1 ? "order" : "orders"}`;
  get("count").textContent = shown.length === rows.size ? all : `${shown.length} of ${all}`;
}

function fill(key, row) {
  let line = lines.get(key);
  if (line?.row === row) return;
  if (!line) {
    line = { element: get("line").content.firstElementChild.cloneNode(true) };
    line.element.dataset.key = key;
    line.element.querySelector("button").onclick = () => edit(orders.get(key));
    lines.set(key, line);
  }
  line.row = row;
  for (const name of ["id", ...MEMBERS]) line.element.querySelector(`.${name}`).textContent = row[name] ?? "–";
  if (typeof row.total === "number") line.element.querySelector(".total").textContent = row.total.toFixed(2);
  line.element.querySelector(".status").className = `status ${row.status}`;
  line.element.querySelector("button").ariaLabel = `Edit ${key}`;
  if (here) mark(line.element);
}

function mark(element) {
  const [on, off] = [{ backgroundColor: "var(--mark)" }, { backgroundColor: "transparent" }];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.animate(still ? [on, on] : [on, { ...on, offset: 0.6 }, off], 2500);
}

function tell({ operation, key, value, old }) {
  const differ = MEMBERS.filter((name) => value && old && value[name] !== old[name]);
  const what = differ.map((name) => `${name} ${old[name]} → ${value[name]}`).join(", ");
  const text = { insert: "is new", delete: "is gone", update: what || "was saved" }[operation];
  const line = document.createElement("li");
  line.textContent = `${new Date().toLocaleTimeString("en-GB")}  ${key} ${text}`;
  get("news").prepend(line);
  while (get("news").children.length > 4) get("news").lastChild.remove();
}

function edit(order) {
  if (!order) return;
  editing = order;
  const isNew = !order.id;
  get("title").textContent = isNew ? "New order" : order.id;
  field("id").parentElement.hidden = !isNew;
  for (const name of ["id", ...MEMBERS]) field(name).value = order[name] ?? "";
  field("drop").hidden = isNew;
  say("");
  get("dialog").showModal();
}
const field = (name) => get("form").elements.namedItem(name);
const say = (text) => { get("form").querySelector(".problem").textContent = text; };

async function save(method, path, body) {
  const elements = [...get("form").elements];
  for (const element of elements) element.disabled = true;
  const request = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const before = spent.bytes;
  const answer = await counted(path, request).catch(() => null);
  const said = await answer?.json().catch(() => null);
  polled.writes += 1;
  polled.writeBytes += spent.bytes - before;
  for (const element of elements) element.disabled = false;
  if (answer?.ok) return get("dialog").close();
  say(`${said?.detail ?? "No answer from the server; please try again"}.`);
  // What somebody else did is here already, or comes: the next try goes on top of that.
  if (answer?.status === 409 && orders.get(editing.id)) editing = orders.get(editing.id);
}

const path = () => `/api/orders/${encodeURIComponent(editing.id)}`;
get("form").onsubmit = (event) => {
  event.preventDefault();
  const amounts = ["quantity", "total"];
  const values = Object.fromEntries(MEMBERS.map((name) => [name, amounts.includes(name) ? Number(field(name).value) : field(name).value]));
  if (!editing.id) return save("POST", "/api/orders", { id: field("id").value, ...values });
  const differ = Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== editing[name]));
  if (Object.keys(differ).length === 0) return get("dialog").close();
  return save("PATCH", path(), { version: editing.version, ...differ });
};
field("cancel").onclick = () => get("dialog").close();
field("drop").onclick = () => save("DELETE", path(), { version: editing.version });
get("new").onclick = () => edit({ customer: "", item: "", quantity: 1, total: 10, status: "open" });
get("find").oninput = get("only").onchange = () => draw(orders.rows);

// What would have been asked, and how much would have come: all orders, as the API gives them.
function tick() {
  const due = 1 + Math.floor((Date.now() - polled.since) / POLL_MS);
  if (polled.requests < due && here) {
    const size = new Blob([JSON.stringify({ orders: [...orders.rows.values()] })]).size;
    polled.bytes += size * (due - polled.requests);
    polled.requests = due;
  }
  const count = (number) => `${number.toLocaleString("en")} ${number === 1 ? "request" : "requests"}`;
  const bytes = (number) => (number < 1e6 ? `${(number / 1e3).toFixed(1)} kB` : `${(number / 1e6).toFixed(1)} MB`);
  get("spent").textContent = count(spent.requests);
  get("spent-bytes").textContent = bytes(spent.bytes);
  get("polled").textContent = count(polled.requests + polled.writes);
  get("polled-bytes").textContent = bytes(polled.bytes + polled.writeBytes);
}
setInterval(tick, 250);
orders.ready.then(tick, (error) => { get("problem").textContent = error.message; });
