// The page of the example: what is drawn or dropped goes to the WebAssembly module as the bytes of an image file.

import init, { Detector } from "./built/isomax_web.js";

const $ = (id) => document.getElementById(id);
const canvas = $("canvas");
const pen = canvas.getContext("2d", { willReadFrequently: true });
let detector;
let model;

async function open(bytes, name) {
  detector?.free();
  detector = undefined;
  try {
    detector = await Detector.open(bytes, name);
  } catch (error) {
    $("model").textContent = error.message;
    return;
  }
  model = JSON.parse(detector.describe());
  $("model").textContent = `${model.architecture}, ${model.classes.length} classes: ${model.classes.join(", ")}`;
  $("threshold").textContent = model.threshold.toFixed(3);
  clear();
}

async function fetched(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  await open(new Uint8Array(await response.arrayBuffer()), address);
}

async function decide(file) {
  if (!detector) return;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const begun = performance.now();
  let decision;
  try {
    decision = JSON.parse(await detector.decide(bytes));
  } catch (error) {
    show("error", error.message);
    return;
  }
  const time = performance.now() - begun;
  show(decision.in_distribution ? "id" : "ood", decision.in_distribution ? decision.class_name : "I do not know this");
  $("class").textContent = decision.class_name;
  $("confidence").textContent = `${(100 * decision.confidence).toFixed(1)} %`;
  $("score").textContent = decision.score.toFixed(6);
  $("p").textContent = decision.p_value.toFixed(3);
  $("time").textContent = `${time.toFixed(1)} ms`;
  draw_scores(decision);
}

function show(state, text) {
  $("verdict").dataset.state = state;
  $("verdict").textContent = text;
}

// A histogram of the held-out scores, with the threshold and the score of this image.
function draw_scores({ score, in_distribution }) {
  const scores = model.held_out_scores;
  const low = Math.min(scores[0], model.threshold, score);
  const high = Math.max(scores.at(-1), model.threshold, score);
  const x = (value) => 5 + (290 * (value - low)) / (high - low || 1);
  const bins = new Array(40).fill(0);
  for (const value of scores) bins[Math.min(39, Math.floor((40 * (x(value) - 5)) / 290))] += 1;
  const most = Math.max(...bins);
  const element = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const bars = bins.map((count, at) => {
    const height = (65 * count) / most;
    return element("rect", { class: "held-out", x: 5 + at * 7.25, y: 75 - height, width: 7, height });
  });
  const line = (kind, value) => element("line", { class: kind, x1: x(value), x2: x(value), y1: 5, y2: 78 });
  const kind = in_distribution ? "score id" : "score";
  $("scores").replaceChildren(...bars, line("threshold", model.threshold), line(kind, score));
}

// As the digits of the training were made: cut to what is drawn, 32 × 32 dots, counted in blocks of 4 × 4
// (E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits).
function digit() {
  const { width, height } = canvas;
  const pixels = pen.getImageData(0, 0, width, height).data;
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (pixels[4 * (y * width + x)] < 128) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  if (right < 0) return undefined;
  const small = new OffscreenCanvas(32, 32).getContext("2d", { willReadFrequently: true });
  small.fillRect(0, 0, 32, 32);
  // The height fills the square; a narrow digit keeps its shape.
  const side = Math.max(bottom - top + 1, right - left + 1);
  const scale = 32 / side;
  const [w, h] = [(right - left + 1) * scale, (bottom - top + 1) * scale];
  small.drawImage(canvas, left, top, right - left + 1, bottom - top + 1, (32 - w) / 2, (32 - h) / 2, w, h);
  const dots = small.getImageData(0, 0, 32, 32).data;
  const blocks = new OffscreenCanvas(8, 8);
  const image = new ImageData(8, 8);
  for (let at = 0; at < 64; at += 1) {
    let count = 0;
    for (let dot = 0; dot < 16; dot += 1) {
      const [x, y] = [4 * (at % 8) + (dot % 4), 4 * Math.floor(at / 8) + Math.floor(dot / 4)];
      if (dots[4 * (32 * y + x)] >= 128) count += 1;
    }
    const byte = Math.round((count * 255) / 16);
    image.data.set([byte, byte, byte, 255], 4 * at);
  }
  blocks.getContext("2d").putImageData(image, 0, 0);
  return blocks.convertToBlob({ type: "image/png" });
}

function clear() {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  show("none", "Nothing yet");
  $("scores").replaceChildren();
}

let drawing = false;
function at(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
}
canvas.addEventListener("pointerdown", (event) => {
  drawing = true;
  canvas.setPointerCapture(event.pointerId);
  pen.strokeStyle = "#fff";
  pen.lineWidth = 22;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...at(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (!drawing) return;
  pen.lineTo(...at(event));
  pen.stroke();
});
canvas.addEventListener("pointerup", async () => {
  drawing = false;
  const file = await digit();
  if (file) await decide(file);
});
$("clear").addEventListener("click", clear);
$("photo").addEventListener("change", (event) => event.target.files[0] && decide(event.target.files[0]));
$("own").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (file) await open(new Uint8Array(await file.arrayBuffer()), file.name);
});
$("bundle").addEventListener("change", ({ target }) => fetched(target.value));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) decide(file);
});

await init();
await fetched($("bundle").value);
// For scripts that drive the page.
document.documentElement.dataset.ready = "true";
