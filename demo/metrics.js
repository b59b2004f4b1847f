import { watch } from "./connection.js";

// The last two minutes first, then one sample each second.
const source = new EventSource("/streams/demo/metrics?tail=120");
watch(source);

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
  text("cpu", `${cpu.toFixed(0)} %`);
  text("memory", `${bytes(memory.used)} of ${bytes(memory.total)}`);
  text("load", load.map((value) => value.toFixed(2)).join("  "));
  text("network", `↓ ${bytes(network.rx_bytes_per_s)}/s  ↑ ${bytes(network.tx_bytes_per_s)}/s`);
  line("cpu-line", (sample) => sample.cpu, 100);
  line("memory-line", (sample) => (100 * sample.memory.used) / sample.memory.total, 100);
  line("load-line", (sample) => sample.load[0]);
  line("network-line", (sample) => sample.network.rx_bytes_per_s + sample.network.tx_bytes_per_s);
}

function line(id, value, top = Math.max(1, ...samples.map(value))) {
  const x = (i) => 120 - samples.length + i + 0.5;
  document.getElementById(id).setAttribute("points", samples.map((s, i) => `${x(i)},${100 - (100 * value(s)) / top}`).join(" "));
}

function bytes(count) {
  const step = count < 1 ? 0 : Math.min(5, Math.floor(Math.log2(count) / 10));
  return `${(count / 1024 ** step).toFixed(step && count / 1024 ** step < 10 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][step]}`;
}

function text(id, value) { document.getElementById(id).textContent = value; }
