// Sends each photo to the service and tells what it says of it. All text of the service and of file
// names goes through `textContent`, never through HTML.

const PARALLEL = 4;
const TRIES = 3;
const LONGEST_PAUSE = 60; // Seconds; a service that wants a longer one is told of instead of waited for.
const TIMEOUT = 120_000;
const POLL = 30_000;
const IN_VAIN = ["file", 400, 401, 413, 415, 422]; // Where the same again would fail again.

const at = (id) => document.getElementById(id);
const photos = []; // In the order of the page.
const queue = [];
let running = 0;
let model = null;
let token = ""; // In memory only: gone with the page.

// ---- Elements and numbers

const maker = (namespace) => (tag, attributes = {}, ...children) => {
  const node = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const html = maker("http://www.w3.org/1999/xhtml");
const svg = maker("http://www.w3.org/2000/svg");
const facts = (pairs) =>
  html("dl", {}, ...pairs.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}\u00a0%`;
// A share that is not quite 1 is not told as 100 %.
const confidence = (share) => (share >= 0.9995 && share < 1 ? "over 99.9\u00a0%" : percent(share, 1));
const count = (number, one) => `${number} ${one}${number === 1 ? "" : "s"}`;
// Finer than a thousandth is not known of a p-value.
const pValue = (p) => (p < 0.0005 ? "below 0.001" : p.toFixed(p < 0.1 ? 3 : 2));

const SIGNS = {
  id: "M12 2.5a9.5 9.5 0 1 0 0 19a9.5 9.5 0 0 0 0-19M7.5 12.5l3 3l6-6.5",
  ood: "M12 1.5L22.5 12L12 22.5L1.5 12zM9.6 9.6a2.5 2.5 0 1 1 3.7 2.2q-1.3.8-1.3 2.1M12 16.9v.1",
  error: "M12 2.5L22.5 21h-21zM12 9.5v5M12 17.6v.1",
  wait: "M12 2.5a9.5 9.5 0 1 1-9.5 9.5",
};
const sign = (state) =>
  svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { class: "sign", d: SIGNS[state] }));

// ---- The service

class Failure extends Error {
  constructor(status, message = "", pause = 1) {
    super(message);
    Object.assign(this, { status, pause });
  }
}

async function ask(path, options = {}) {
  const sent = token;
  const headers = { ...options.headers, ...(sent && { Authorization: `Bearer ${sent}` }) };
  let response, answer;
  try {
    response = await fetch(path, { cache: "no-store", ...options, headers });
    answer = await response.json();
  } catch (error) {
    if (error.name === "TimeoutError") throw new Failure("timeout");
    // An answer without JSON comes from something in between; its status tells more than its text.
    if (!response) throw new Failure("network");
  }
  if (response.ok && answer) return answer;
  if (response.status === 401) {
    if (sent !== token) return ask(path, options); // The token came while this was under way.
    wantToken(sent !== "");
  }
  const pause = Math.max(1, Number(response.headers.get("Retry-After")) || 1);
  throw new Failure(response.ok ? "answer" : response.status, answer?.error?.message, pause);
}

// What went wrong, and what to do.
const OPERATOR = "If it stays so, tell whoever runs the service.";
const NO_IMAGE = ["This is no image the service can read", "Choose a JPEG or PNG file."];
const WORDS = {
  file: ["This file cannot be read", "It may have been moved, or be a folder. Choose it again."],
  network: ["The service cannot be reached", "Check the network, then try again."],
  timeout: ["The service took too long", "Try again, or send a smaller file."],
  answer: ["The answer makes no sense", `Something other than the service may have answered. ${OPERATOR}`],
  401: ["The service wants a token", "Enter it at the top of the page; this photo is then sent again."],
  413: ["This photo is too large", "Save it with fewer pixels and choose it again."],
  415: NO_IMAGE,
  422: NO_IMAGE,
  429: ["The service is busy", "Wait a little, then try again."],
  503: ["The service cannot answer now", `Wait a little, then try again. ${OPERATOR}`],
};
const inPlainWords = ({ status }) => WORDS[status] ?? (status >= 500
  ? ["The service failed", `Try again. ${OPERATOR}`]
  : ["The service refused this photo", `Reload the page and try again. ${OPERATOR}`]);

function wantToken(refused) {
  if (!at("access").hidden) return; // Each poll and each photo asks for it.
  at("access").hidden = false;
  at("token").setAttribute("aria-invalid", refused);
  at("access-why").textContent = refused
    ? "The service did not accept this token. Check it and enter it again."
    : "This service answers only with an access token. It is kept until you leave the page.";
  say(at("access-why").textContent);
  if (refused) at("token").focus();
}

at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  at("access").hidden = true;
  at("files").focus();
  load();
  photos.filter((photo) => photo.failure?.status === 401).forEach(send);
});

// ---- Model and drift

async function loadModel() {
  try {
    model = await ask("v1/model");
  } catch (failure) {
    const [what, todo] = inPlainWords(failure);
    at("model").textContent = failure.status === 401 ? `${what}.` : `${what}. ${todo}`;
    return;
  } finally {
    at("model").setAttribute("aria-busy", "false");
  }
  const { classes, detector, provenance } = model;
  const shown = classes.slice(0, classes.length > 12 ? 10 : 12);
  const rest = classes.slice(shown.length);
  const lead = `It knows ${classes.length} classes: ${shown.join(", ")}${rest.length ? " and others" : ""}. ` +
    "Of anything else it should say that it does not know it.";
  const { created, data, accuracy } = provenance ?? {};
  const day = (time) => new Date(time).toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" });
  // A promise is a name, or an object of a name and its parameters.
  const promise = typeof detector.promise === "string" ? detector.promise : Object.keys(detector.promise)[0];
  const pairs = [
    ["Network", `${model.architecture}, ${model.head}`],
    ["Made", Date.parse(created) ? day(created) : created],
    ["Trained on", data],
    ["Accuracy", isNumber(accuracy) && percent(accuracy, 1)],
    ["Score", detector.score],
    ["Threshold", `accepts ${percent(detector.target_tpr)} of known (${promise}, ` +
      `${count(detector.num_samples, "held-out image")})`],
  ];
  at("model").replaceChildren(
    html("p", { class: "lead" }, lead),
    rest.length ? html("details", {}, html("summary", {}, `The other ${rest.length}`), rest.join(", ")) : "",
    facts(pairs.filter(([, value]) => value)),
  );
  photos.forEach(render); // Answers that came before the held-out scores get their drawing.
}

function driftText(drift) {
  if (!drift.num_scores) return "No requests yet: nothing to tell of drift.";
  const last = `Last ${count(drift.num_scores, "request")}: `;
  if (!drift.alarm && !isNumber(drift.ks_p_value)) return `${last}too few to tell whether scores have moved.`;
  const reasons = (drift.reasons ?? []).join("; ");
  let text = last + (drift.alarm ? `scores have moved${reasons && ` (${reasons})`}.` : "scores as held out.");
  if (isNumber(drift.rejected)) {
    const range = drift.rejected_interval?.every(isNumber)
      ? ` (${drift.rejected_interval.map((share) => (100 * share).toFixed(1)).join(" to ")}\u00a0%)` : "";
    text += ` Rejected ${percent(drift.rejected, 1)}${range}, promised ${percent(drift.promised_rejected, 1)}.`;
  }
  return text;
}

async function loadDrift() {
  const line = at("drift");
  try {
    const drift = await ask("v1/drift");
    const text = driftText(drift);
    if (drift.alarm && !line.classList.contains("moved")) say(text); // Not at each poll.
    line.classList.toggle("moved", drift.alarm);
    line.replaceChildren(drift.alarm ? sign("error") : "", text);
  } catch (failure) {
    line.classList.remove("moved");
    line.textContent = `Drift unknown: ${inPlainWords(failure)[0].toLowerCase()}.`;
  }
}

function load() {
  if (document.hidden) return;
  if (!model) loadModel();
  loadDrift();
}
let soon = 0;
function loadSoon() {
  clearTimeout(soon); // Answers that come close together make one request.
  soon = setTimeout(load, 400);
}
setInterval(load, POLL);
document.addEventListener("visibilitychange", load);

// ---- Photos

function add(files) {
  at("hint").textContent = files.length ? "" : "That was no file. Save the photo first, then choose it.";
  const added = files.map((file) => {
    const image = html("img", { alt: "", decoding: "async" });
    const box = html("div", { class: "photo" }, image);
    image.addEventListener("error", () => box.replaceChildren(html("span", {}, "no preview")));
    image.src = URL.createObjectURL(file);
    // A photo that is sent again is drawn anew: it takes the focus that its button had.
    return { file, image, box, item: html("li", { class: "result", tabindex: "-1" }), stop: new AbortController() };
  });
  photos.unshift(...added);
  at("results").prepend(...added.map((photo) => photo.item));
  added.forEach(send);
}

function send(photo) {
  Object.assign(photo, { result: null, failure: null, note: "" });
  queue.push(photo);
  render(photo);
  work();
}

function work() {
  while (running < PARALLEL && queue.length) {
    running += 1;
    predict(queue.shift()).finally(() => { running -= 1; work(); });
  }
}

async function predict(photo) {
  for (let tried = 1; !photo.stop.signal.aborted; tried += 1) {
    try {
      photo.result = await predictOnce(photo);
    } catch (failure) {
      if ([429, 503].includes(failure.status) && tried < TRIES && failure.pause <= LONGEST_PAUSE) {
        photo.note = `The service is busy. Next try in ${failure.pause} s.`;
        render(photo);
        await pause(1000 * failure.pause, photo.stop.signal);
        continue;
      }
      photo.failure = failure;
    }
    if (photo.stop.signal.aborted) return;
    render(photo);
    say(`${photo.file.name}: ${photo.item.querySelector(".verdict").textContent}.`);
    return loadSoon();
  }
}

const pause = (time, signal) => new Promise((done) => {
  setTimeout(done, time);
  signal.addEventListener("abort", done);
});

async function predictOnce({ file, stop }) {
  // Read first: a body that cannot be read looks like a network that is gone.
  const body = await file.arrayBuffer().catch(() => { throw new Failure("file"); });
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(TIMEOUT)]);
  const answer = await ask("v1/predict", { method: "POST", body, headers: { "Content-Type": type }, signal });
  const result = answer.results?.[0];
  const numbers = ["score", "quantile", "p_value", "confidence"];
  if (!result || !numbers.every((name) => isNumber(result[name]))) throw new Failure("answer");
  return result;
}

// ---- What is shown

function render(photo) {
  const { item, result, failure } = photo;
  const state = failure ? "error" : !result ? "wait" : result.in_distribution ? "id" : "ood";
  item.dataset.state = state;
  delete item.dataset.class;
  let verdict, parts;
  if (failure) {
    const [what, todo] = inPlainWords(failure);
    verdict = what;
    parts = [html("p", { class: "why" }, todo)];
    if (failure.message) parts.push(html("p", { class: "service" }, `The service says: ${failure.message}`));
    if (!IN_VAIN.includes(failure.status)) {
      const button = html("button", { type: "button", "aria-label": `Try again: ${photo.file.name}` }, "Try again");
      button.addEventListener("click", () => { item.focus(); send(photo); });
      parts.push(button);
    }
  } else if (!result) {
    verdict = "Looking at it…";
    parts = photo.note ? [html("p", { class: "why" }, photo.note)] : [];
  } else {
    item.dataset.class = result.class_name;
    verdict = state === "id" ? result.class_name : "I do not know this";
    parts = [html("p", { class: "why" }, why(result)), facts([
      [state === "id" ? "Class" : "Nearest class", result.class_name],
      [state === "id" ? "Confidence" : "Confidence if known", confidence(result.confidence)],
      ["p-value", pValue(result.p_value)],
    ])];
  }
  const said = html("div", { class: "said" }, html("h3", { class: "verdict" }, sign(state), verdict),
    html("p", { class: "file" }, photo.file.name), ...parts);
  item.replaceChildren(photo.box, said);
  if (result && model?.detector.held_out_scores.length) item.append(html("figure", {}, drawing(result, model.detector)));
  summarize();
}

function why({ quantile, in_distribution: known }) {
  if (quantile < 0.0005) return `Scores lower than ${quantile === 0 ? "" : "nearly "}all held\u2011out images.`;
  const share = percent(quantile, quantile < 0.01 ? 1 : 0);
  return known
    ? `Scores no lower than ${share} of the held\u2011out images.`
    : `Only ${share} of the held\u2011out images score so low.`;
}

function drawing({ score, quantile }, { threshold, held_out_scores: scores, num_samples: samples }) {
  const [width, top, base] = [320, 26, 92];
  const quantileAt = (share) => scores[Math.round(share * (scores.length - 1))];
  // A score far away must not squeeze the others into one bar: it is put at the edge, as an arrow.
  const low = Math.min(threshold, quantileAt(0.01));
  const high = Math.max(threshold, quantileAt(0.99));
  const span = high - low || Math.abs(low) || 1;
  let left = Math.max(Math.min(low, scores[0], score), low - span / 2) - 0.04 * span;
  const right = Math.min(Math.max(high, scores.at(-1), score), high + span / 2) + 0.04 * span;
  left = Math.min(left, threshold - 0.28 * (right - threshold)); // Room for the words beside the threshold.
  const x = (value) => (width * (Math.min(right, Math.max(left, value)) - left)) / (right - left);
  const digits = Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(span))));
  const number = (value) => value.toFixed(digits).replace("-", "−");

  // The threshold is between two bars, so that each holds accepted images only, or rejected ones.
  const bar = span / Math.min(32, Math.max(10, Math.round(1.6 * Math.sqrt(scores.length))));
  const bars = new Map();
  for (const value of scores) {
    const index = Math.floor((Math.min(right, Math.max(left, value)) - threshold) / bar);
    bars.set(index, (bars.get(index) ?? 0) + 1);
  }
  const tallest = Math.max(...bars.values());
  const rects = [...bars].map(([index, n]) => {
    const [from, to] = [x(threshold + index * bar), x(threshold + (index + 1) * bar)];
    const height = (n / tallest) * (base - top);
    const kind = index < 0 ? "rejected" : "accepted";
    return svg("rect", { class: kind, x: from + 0.75, y: base - height, width: Math.max(1, to - from - 1.5), height });
  });

  const [line, own] = [x(threshold), x(score)];
  const beyond = score < left ? -1 : score > right ? 1 : 0;
  const marker = beyond
    ? `M${own - beyond * 26} 24H${own}m${-beyond * 7} -5l${beyond * 7} 5l${-beyond * 7} 5z`
    : `M${own} ${base}V${top}M${own - 5} 17h10l-5 7z`;
  const anchor = (place) => (place < 60 ? "start" : place > width - 60 ? "end" : "middle");
  const [first, low4, high4, last] = [0, 0.25, 0.75, 1].map((share) => number(quantileAt(share)));
  const label = `Score ${number(score)}, ${score < threshold ? "below" : "at or above"} the threshold ` +
    `${number(threshold)}. The scores of ${count(samples, "held-out image")} reach from ${first} to ${last}, half of ` +
    `them from ${low4} to ${high4}; ${percent(quantile)} of them are as low or lower.`;
  return svg("svg", { class: "drawing", viewBox: `0 0 ${width} 126`, role: "img", "aria-label": label },
    ...rects,
    svg("path", { class: "axis", d: `M0 ${base}H${width}` }),
    svg("path", { class: "threshold", d: `M${line} ${top - 6}V${base + 20}` }),
    svg("path", { class: "marker", d: marker }),
    svg("text", { class: "own", x: own, y: 12, "text-anchor": anchor(own) }, `this photo ${number(score)}`),
    svg("text", { x: line - 7, y: base + 16, "text-anchor": "end" }, "not known"),
    svg("text", { x: line + 7, y: base + 16 }, "known"),
    svg("text", { x: line, y: base + 33, "text-anchor": anchor(line) }, `threshold ${number(threshold)}`));
}

function summarize() {
  const of = (state) => photos.filter((photo) => photo.item.dataset.state === state).length;
  const parts = [["id", "known"], ["ood", "not known"], ["error", "without an answer"], ["wait", "waiting"]]
    .filter(([state]) => of(state)).map(([state, words]) => `${of(state)} ${words}`);
  at("answers").hidden = photos.length === 0;
  at("count").textContent = `${count(photos.length, "photo")}: ${parts.join(", ")}`;
}

// Screen readers drop a text that is replaced at once, so those that come close together are one.
let unsaid = [];
function say(text) {
  if (unsaid.push(text) > 1) return;
  setTimeout(() => {
    at("say").textContent = unsaid.join(" ");
    unsaid = [];
  }, 300);
}

// ---- Ways in

at("files").addEventListener("change", () => {
  const files = [...at("files").files];
  at("files").value = ""; // So that the same file can be chosen again.
  if (files.length) add(files);
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (!files.length) return; // Text, perhaps the token.
  event.preventDefault();
  add(files);
});
// On the whole page: a photo dropped beside the field would otherwise replace the page.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (event.target === at("token")) return;
    // A drag that leaves an element for another one has not left the page.
    document.body.classList.toggle("over", kind === "dragover" || (kind === "dragleave" && event.relatedTarget !== null));
    event.preventDefault();
    if (kind === "drop") add([...event.dataTransfer.files]);
  });
}
at("clear").addEventListener("click", () => {
  for (const { image, stop } of photos) {
    stop.abort();
    URL.revokeObjectURL(image.src);
  }
  photos.length = 0;
  queue.length = 0;
  at("results").replaceChildren();
  summarize();
  say("Cleared.");
  at("files").focus();
});

load();
