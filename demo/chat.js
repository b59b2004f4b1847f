import { watch } from "./connection.js";

const get = (id) => document.getElementById(id);
const room = get("room").value = new URLSearchParams(location.search).get("room") || "lobby";
const user = get("name").value = new URLSearchParams(location.search).get("user") || `guest-${Math.floor(Math.random() * 1000)}`;
get("here").textContent = encodeURIComponent(room);
for (const link of document.querySelectorAll(".rooms a")) {
  link.search = new URLSearchParams({ room: link.textContent, user });
  link.ariaCurrent = link.textContent === room ? "page" : null;
}
const url = `/streams/chat/${encodeURIComponent(room)}`;

// The last 50 lines first; after a reconnection only what was missed: the browser sees to that.
const source = new EventSource(`${url}?tail=50`);
watch(source, ["userConnected", "userDisconnected"]);
source.addEventListener("message", (event) => line(event));
source.addEventListener("userConnected", (event) => line(event, " joined"));
source.addEventListener("userDisconnected", (event) => line(event, " left"));
source.addEventListener("riacho.reset", () => get("lines").replaceChildren()); // What is still kept follows.

const body = (text) => new Blob([JSON.stringify({ user, text })], { type: "application/json" });
source.addEventListener("open", () => fetch(`${url}?type=userConnected`, { method: "POST", body: body() }), { once: true });
addEventListener("pagehide", () => navigator.sendBeacon(`${url}?type=userDisconnected`, body()));

get("say").onsubmit = async (event) => {
  event.preventDefault();
  const answer = await fetch(url, { method: "POST", body: body(get("text").value) }).catch(() => null);
  get("problem").textContent = answer?.ok ? "" : "Not sent; please try again.";
  if (answer?.ok) get("text").value = "";
};

function line(event, note) {
  let said = null;
  try { said = JSON.parse(event.data); } catch { /* Plain text, as curl sends it. */ }
  const [item, who] = [document.createElement("li"), document.createElement("b")];
  who.textContent = said?.user ?? "somebody";
  item.className = note ? "note" : said?.user === user ? "mine" : "";
  item.append(who, note ?? String(said?.text ?? event.data)); // As text: what somebody sent is never markup.
  get("lines").append(item);
  if (get("lines").childElementCount > 200) get("lines").firstChild.remove();
  get("lines").scrollTop = get("lines").scrollHeight;
}
