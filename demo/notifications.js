import { watch } from "./connection.js";

const user = new URLSearchParams(location.search).get("user") || "ana";
const get = (id) => document.getElementById(id);
get("user").textContent = user;
const stream = (name) => `/streams/notifications/${encodeURIComponent(name)}`;

// Goes on where this user's last visit ended: what was sent in between is not lost.
const seen = localStorage.getItem(`seen by ${user}`);
const source = new EventSource(stream(user) + (seen ? `?last_event_id=${seen}` : "?tail=5"));
watch(source, ["mention", "order", "alarm"]);
for (const type of ["mention", "order", "alarm"]) source.addEventListener(type, notify);

function notify(event) {
  localStorage.setItem(`seen by ${user}`, event.lastEventId);
  count(Number(get("badge").textContent) + 1);
  get("list").prepend(item(event));
  if (get("list").childElementCount > 50) get("list").lastChild.remove();
  get("toasts").append(item(event));
  if (get("toasts").childElementCount > 3) get("toasts").firstChild.remove();
  get("toasts").lastChild.onanimationend = (end) => end.target.remove();
}
function item(event) {
  const [line, kind] = [document.createElement("li"), document.createElement("span")];
  kind.className = `kind ${event.type}`;
  kind.textContent = event.type;
  line.append(kind, event.data); // As text: what somebody sent is never markup.
  return line;
}
function count(unread) {
  get("badge").textContent = get("badge").dataset.count = unread;
  document.title = `${unread ? `(${unread}) ` : ""}Notifications · Riacho`;
}
get("read").onclick = () => count(0);
get("send").onsubmit = async (event) => {
  event.preventDefault();
  const { to, type, text } = Object.fromEntries(new FormData(event.target));
  const answer = await fetch(`${stream(to)}?type=${type}`, { method: "POST", body: text }).catch(() => null);
  get("problem").textContent = answer?.ok ? "" : "Not sent; please try again.";
  if (answer?.ok) get("text").value = "";
};
