import { watch } from "./connection.js";
import { follow } from "./table.js";

const get = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const heads = [...document.querySelectorAll("#stocks th")];
const lines = new Map(); // Of each symbol its line of the table,
const trends = new Map(); // and the last 60 prices seen.
let source, rows = new Map(), waiting;

// The server sends the rows that the predicate is true for, and says when one comes to be or ceases to be among them.
function open() {
  source?.close();
  clearTimeout(waiting);
  const where = get("where").value.trim();
  const query = new URLSearchParams({ ...(where && { where }), min_interval: get("pace").value });
  const url = `/tables/stocks?${query}`;
  const mine = (source = follow(url, draw));
  watch(source);
  source.addEventListener("open", () => refused(""));
  source.addEventListener("error", async () => {
    if (mine.readyState !== EventSource.CLOSED) return;
    // An EventSource does not tell why it was refused; asked again for JSON, the server does.
    const answer = await fetch(url, { headers: { Accept: "application/json" } }).catch(() => null);
    const { detail } = (await answer?.json().catch(() => null)) ?? {};
    if (mine === source) refused(detail ?? "The server refused.");
  });
}
function refused(why) {
  get("problem").textContent = why;
  get("where").ariaInvalid = why ? "true" : null;
  get("rows").classList.toggle("old", why !== "");
}

function draw(now, before) {
  rows = now;
  for (const [symbol, row] of rows) {
    if (!trends.has(symbol)) trends.set(symbol, []);
    const trend = trends.get(symbol);
    if (trend.at(-1) !== row.price) trend.push(row.price);
    if (trend.length > 60) trend.shift();
    if (!lines.has(symbol)) lines.set(symbol, get("line").content.firstElementChild.cloneNode(true));
    fill(lines.get(symbol), row, trend);
  }
  arrange();
  for (const [symbol, old] of before) {
    const price = rows.get(symbol)?.price;
    if (old && price !== undefined && price !== old.price) flash(lines.get(symbol), price > old.price ? "up" : "down");
  }
}
function fill(line, row, trend) {
  const set = (name, text) => { line.querySelector(`.${name}`).textContent = text; };
  for (const name of ["symbol", "name", "sector"]) set(name, row[name]);
  set("price", row.price.toFixed(2));
  set("change", `${row.change < 0 ? "▼" : row.change > 0 ? "▲" : ""} ${Math.abs(row.change).toFixed(2)}`);
  set("volume", row.volume.toLocaleString("en"));
  line.querySelector(".name").dataset.sector = row.sector; // Where there is no room for a column of its own.
  line.dataset.change = Math.sign(row.change);
  const [low, high] = [Math.min(...trend), Math.max(...trend)];
  const point = (price, i) => `${(60 * i) / Math.max(1, trend.length - 1)},${high > low ? 18 - (16 * (price - low)) / (high - low) : 10}`;
  line.querySelector("polyline").setAttribute("points", trend.map(point).join(" "));
}
function flash(line, way) {
  line.dataset.moved = way;
  if (still.matches) return;
  line.querySelector(".price").animate([{ backgroundColor: `var(--${way})` }, { backgroundColor: "transparent" }], 1500);
}

function arrange() {
  const head = heads.find((head) => head.ariaSort);
  const { column } = head.dataset, way = head.ariaSort === "ascending" ? 1 : -1;
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const sorted = [...rows].sort(([a, x], [b, y]) => way * order(x[column], y[column]) || order(a, b)).map(([symbol]) => lines.get(symbol));
  const same = sorted.length === get("rows").children.length && sorted.every((line, i) => line === get("rows").children[i]);
  if (!same) get("rows").replaceChildren(...sorted);
  get("count").textContent = `${rows.size} ${rows.size === 1 ? "row" : "rows"}`;
}
for (const head of heads.filter((head) => head.dataset.column)) {
  head.firstElementChild.onclick = () => {
    const way = head.ariaSort ? head.ariaSort === "descending" : head.dataset.first !== "descending";
    for (const other of heads) other.ariaSort = null;
    head.ariaSort = way ? "ascending" : "descending";
    arrange();
  };
}

get("where").value = new URLSearchParams(location.search).get("where") ?? "";
get("where").oninput = () => {
  clearTimeout(waiting);
  waiting = setTimeout(open, 500); // Who types is not done after each letter.
};
get("filter").onsubmit = (event) => {
  event.preventDefault();
  open();
};
get("pace").onchange = open;
for (const example of document.querySelectorAll("#examples button")) {
  example.onclick = () => {
    get("where").value = example.dataset.where ?? example.textContent;
    open();
  };
}
open();
