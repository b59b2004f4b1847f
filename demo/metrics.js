import { watch } from "./connection.js";

// The last two minutes first, then one sample each second.
const source = new EventSource("/streams/demo/metrics?tail=120");
watch(source);

const get = (id) => document.getElementById(id);
const samples = [];
let frame;
source.addEventListener("riacho.reset", () => samples.splice(0)); // What is still kept follows.
source.onmessage = (event) => {
  samples.push(JSON.parse(event.data));
  if (samples.length > 120) samples.shift();
  cancelAnimationFrame(frame); // The history arrives in one go: draw it once.
  frame = requestAnimationFrame(draw);
};

function draw() {
  const { cpu, memory, load, network } = samples.at(-1);
  get("cpu").textContent = `${cpu.toFixed(0)} %`;
  get("memory").textContent = `${bytes(memory.used)} of ${bytes(memory.total)}`;
  get("load").textContent = load.map((value) => value.toFixed(2)).join(" · ");
  get("network").textContent = `↓ ${bytes(network.rx_bytes_per_s)}/s ↑ ${bytes(network.tx_bytes_per_s)}/s`;
  line("cpu-line", (sample) => sample.cpu, 100);
  line("memory-line", (sample) => (100 * sample.memory.used) / sample.memory.total, 100);
  line("load-line", (sample) => sample.load[0]);
  line("network-line", (sample) => sample.network.rx_bytes_per_s + sample.network.tx_bytes_per_s);
}

function line(id, value, top = Math.max(1, ...samples.map(value))) {
  const point = (sample, i) => `${120 - samples.length + i + 0.5},${100 - (100 * value(sample)) / top}`;
  get(id).setAttribute("points", samples.map(point).join(" "));
}

function bytes(count) {
  let unit = 0;
  for (; count >= 1024 && unit < 4; unit += 1) count /= 1024;
  return `${count.toFixed(unit && count < 10 ? 1 : 0)}\u00a0${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}
