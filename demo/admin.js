import { watch } from "./connection.js";
import { follow } from "./table.js";

const get = (id) => document.getElementById(id);
const clone = (id) => get(id).content.firstElementChild.cloneNode(true);
const MEMBERS = ["customer", "item", "quantity", "total", "status"];
const lines = new Map(); // Of each order its line of the table,
const edits = new Map(); // or what is being edited in place of it.
const spent = { opened: performance.now(), requests: 0, bytes: 0, writes: 0 };
let source, rows = new Map();

function open() {
  source?.close();
  const status = get("status").value;
  const query = status && `?${new URLSearchParams({ where: "status = $1", params: JSON.stringify([status]) })}`;
  source = follow(`/tables/orders${query}`, draw);
  watch(source);
  source.addEventListener("open", () => {
    spent.requests += 1; // And one for each reconnection.
    tick();
  });
  source.addEventListener("message", (event) => { spent.bytes += event.data.length; });
}

// The API of the demo, which writes to the database: Riacho only reads it.
async function ask(method, key, body) {
  const url = `/demo/api/orders/${encodeURIComponent(key)}`;
  const request = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  spent.requests += 1;
  spent.writes += 1;
  const answer = await fetch(url, request).catch(() => null);
  const text = (await answer?.text().catch(() => null)) ?? "";
  spent.bytes += text.length;
  let said = null;
  try { said = JSON.parse(text); } catch { /* No answer, or one without words. */ }
  const problem = said?.detail ?? "No answer from the server; please try again.";
  return { ok: answer?.ok, status: answer?.status, said, problem };
}

function draw(now, before) {
  rows = now;
  for (const [key, row] of rows) fill(key, row);
  for (const key of lines.keys()) if (!rows.has(key)) lines.delete(key);
  const keys = [...new Set([...rows.keys(), ...edits.keys()])];
  keys.sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  const sorted = keys.map((key) => edits.get(key)?.line ?? lines.get(key));
  // What stays is not moved, so that nobody who types is disturbed.
  const body = get("rows");
  for (const line of [...body.children]) if (!sorted.includes(line)) line.remove();
  sorted.forEach((line, i) => line !== body.children[i] && body.insertBefore(line, body.children[i] ?? null));
  get("count").textContent = `${rows.size} ${rows.size === 1 ? "order" : "orders"}`;
  for (const [key, old] of before) {
    if (JSON.stringify(old) !== JSON.stringify(rows.get(key))) mark(lines.get(key));
  }
}
function mark(line) {
  const [on, off] = [{ backgroundColor: "var(--mark)" }, { backgroundColor: "transparent" }];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  line?.animate(still ? [on, on] : [on, { ...on, offset: 0.6 }, off], 2500);
}
function fill(key, row) {
  if (!lines.has(key)) {
    lines.set(key, clone("line"));
    lines.get(key).querySelector("button").onclick = () => edit(key);
  }
  const line = lines.get(key);
  const set = (name, text) => { line.querySelector(`.${name}`).textContent = text ?? "–"; };
  for (const name of ["customer", "item", "quantity", "status"]) set(name, row[name]);
  set("key", key);
  set("total", typeof row.total === "number" ? row.total.toFixed(2) : row.total);
  line.querySelector(".status").className = `status kind ${row.status}`;
  line.querySelector("button").ariaLabel = `Edit ${key}`;
}

// An edit begins with the row as it is shown: what is saved later goes through only if nobody was faster.
function edit(key) {
  const row = rows.get(key);
  if (!row || edits.has(key)) return;
  const edit = { line: clone("edit"), base: members(row) };
  const form = edit.line.querySelector("form");
  form.querySelector(".key").textContent = key;
  for (const name of MEMBERS) put(form[name], edit.base[name]);
  form.onsubmit = (event) => {
    event.preventDefault();
    const mine = Object.entries(values(form)).filter(([name, value]) => value !== edit.base[name]);
    if (mine.length === 0) end(key);
    else save(key, edit, "PATCH", Object.fromEntries(mine));
  };
  form.drop.onclick = () => save(key, edit, "DELETE");
  form.cancel.onclick = () => end(key);
  edits.set(key, edit);
  draw(rows, new Map());
  form.status.focus();
}
async function save(key, edit, method, to) {
  const { ok, status, said, problem } = await ask(method, key, { from: edit.base, to });
  const say = (text) => { edit.line.querySelector(".problem").textContent = text; };
  if (ok) return end(key);
  if (status === 404) return say("This order is deleted. Cancel to leave it at that.");
  if (status !== 409) return say(problem);
  // Somebody was faster. Show what they did; what was typed stays, and goes on top of theirs if it is saved again.
  const form = edit.line.querySelector("form");
  const did = MEMBERS.filter((name) => said[name] !== edit.base[name]).map((name) => {
    if (values(form)[name] === edit.base[name]) put(form[name], said[name]);
    return `${name} from ${edit.base[name]} to ${said[name]}`;
  });
  say(`Not ${method === "DELETE" ? "deleted" : "saved"}: meanwhile somebody changed ${did.join(", ") || "this order"}. Try again to do it all the same.`);
  edit.base = members(said);
}
function end(key) {
  edits.delete(key);
  draw(rows, new Map());
  lines.get(key)?.querySelector("button").focus();
}
const members = (row) => Object.fromEntries(MEMBERS.map((name) => [name, row[name]]));
const values = (form) => ({
  customer: form.customer.value,
  item: form.item.value,
  quantity: Number(form.quantity.value),
  total: Number(form.total.value),
  status: form.status.value,
});
function put(field, value) {
  const text = String(value ?? "");
  if (field.options && ![...field.options].some((option) => option.value === text)) field.add(new Option(text));
  field.value = text;
}

get("insert").onsubmit = async (event) => {
  event.preventDefault();
  const form = event.target;
  const row = { ...values(form), placed: new Date().toISOString() };
  const { ok, status, problem } = await ask("PUT", form.key.value, row);
  get("problem").textContent = ok ? "" : status === 409 ? `There is an order ${form.key.value} already.` : problem;
  if (ok) form.reset();
};
get("status").onchange = open;

// Beside it what asking for all rows every three seconds would have taken: as often as that, and the same writes.
function tick() {
  const polls = 1 + Math.floor((performance.now() - spent.opened) / 3000);
  const bytes = JSON.stringify(Object.fromEntries(rows)).length;
  const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
  get("spent").textContent = spent.requests;
  get("spent-bytes").textContent = kib(spent.bytes);
  get("polled").textContent = polls + spent.writes;
  get("polled-bytes").textContent = kib(polls * bytes);
}
setInterval(tick, 1000);
tick();
open();
const { path } = await (await fetch("/demo/api/database")).json();
get("path").textContent = /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
