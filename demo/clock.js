import { watch } from "./connection.js";

// `tail=1` sends the newest event at once; after that each one as it happens.
const source = new EventSource("/streams/demo/clock?tail=1");
watch(source);

const get = (id) => document.getElementById(id);
let every = 1, arrived = 0;

source.onmessage = (event) => {
  if (arrived++ % every === 0) show(new Date(JSON.parse(event.data).time));
};

get("every").onchange = (event) => {
  every = Number(event.target.value);
  arrived = 0; // The next one at once, then each nth.
};

function show(time) {
  get("time").dateTime = time.toISOString();
  get("time").textContent = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  get("date").textContent = time.toLocaleDateString([], { dateStyle: "full" });
  const [h, m, s] = [time.getHours(), time.getMinutes(), time.getSeconds()];
  turn("hour", (h + m / 60) * 30);
  turn("minute", (m + s / 60) * 6);
  turn("second", s * 6);
}

function turn(hand, degrees) {
  get(hand).setAttribute("transform", `rotate(${degrees})`);
}
