"use strict";
// Text, tables and figures can be read without this; it draws the samples, filters, selects, names.
const root = document.documentElement, byId = (id) => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const make = (tag, values = {}, ...content) => {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...content);
  return made;
};
root.classList.add("js");

// ---- data: columns of n samples, names and corrections by the user

const D = JSON.parse(byId("data").textContent), P = {};
const array = (type, text) => new globalThis[type](Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
for (const [name, [type, text]] of Object.entries(D.columns || {})) P[name] = array(type, text);
const n = P.label ? P.label.length : 0, clusters = D.clusters || [], stations = D.stations || [];
const names = clusters.map((one) => one.name), corrections = new Map();
(D.corrections || []).forEach(([index, label, mark]) => corrections.set(index, { label, mark }));
try { // what was typed and not yet saved
  const kept = JSON.parse(localStorage[`riscluster ${D.key}`] || "{}");
  Object.entries(kept.names || {}).forEach(([k, name]) => { names[k] = name; });
  (kept.corrections || []).forEach(([index, one]) => corrections.set(index, one));
} catch { /* no storage */ }
const rowOf = new Map(P.index ? Array.from(P.index, (index, i) => [index, i]) : []);
corrections.forEach((one, index) => { if (one.label >= 0 && rowOf.has(index)) P.label[rowOf.get(index)] = one.label; });
let group = [];
const title = (k) => (names[k] ? `${k} ${names[k]}` : `${k}`);
const colour = (k) => (k < 0 ? "#999" : clusters[group[k]].colour);
function regroup() { // clusters with equal names are one
  group = names.map((name, k) => (name ? names.indexOf(name) : k));
  all("[data-title]").forEach((e) => { e.textContent = title(+e.dataset.title); });
  clusters.forEach((_, k) => all(`[data-c="${k}"]`).forEach((e) => e.style.setProperty("--c", colour(k))));
  all(".chip").forEach((e) => e.toggleAttribute("data-off", group[e.dataset.c] !== +e.dataset.c));
}
function keep() {
  try { localStorage[`riscluster ${D.key}`] = JSON.stringify({ names: { ...names }, corrections: [...corrections] }); } catch { /* no storage */ }
}

// ---- pictures of samples: grey images side by side, coloured here

const shades = D.colours ? array("Uint8Array", D.colours) : null, large = new Map(), traces = new Map();
((D.large || {}).rows || []).forEach((i, at) => large.set(i, at));
((D.trace || {}).rows || []).forEach((i, at) => traces.set(i, at));
const waves = D.trace ? array("Int8Array", D.trace.values) : null;
const wave = (i) => (traces.has(i) ? waves.subarray(traces.get(i) * D.trace.length, (traces.get(i) + 1) * D.trace.length) : null);
for (const of of [D.large, D.tile].filter(Boolean)) { // bitmaps need no decoding at each use
  of.image = new Image();
  of.image.onload = () => createImageBitmap(of.image).then((bitmap) => { of.image = bitmap; });
  of.image.src = of.source;
}
function paint(canvas, i) {
  const of = large.has(i) ? D.large : D.tile, at = large.has(i) ? large.get(i) : i;
  const { width, height, columns, image } = of;
  Object.assign(canvas, { width, height, className: "image" });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, (at % columns) * width, Math.floor(at / columns) * height, width, height, 0, 0, width, height);
  const pixels = pen.getImageData(0, 0, width, height);
  for (let at = 0; at < pixels.data.length; at += 4) pixels.data.set(shades.subarray(3 * pixels.data[at], 3 * pixels.data[at] + 3), at);
  pen.putImageData(pixels, 0, 0);
  return canvas;
}
const ink = () => getComputedStyle(document.body).color;
function pen(canvas) { // a canvas as large as it is on the screen
  const scale = devicePixelRatio || 1, width = canvas.clientWidth || 100, height = canvas.clientHeight || 50;
  Object.assign(canvas, { width: width * scale, height: height * scale });
  const made = canvas.getContext("2d");
  made.scale(scale, scale);
  made.font = "11px system-ui";
  made.fillStyle = made.strokeStyle = ink();
  return [made, width, height];
}
function drawWave(canvas, i) {
  const [to, width, height] = pen(canvas), values = wave(i);
  to.lineWidth = 0.7;
  to.beginPath();
  values.forEach((value, at) => to.lineTo((at * width) / values.length, (height / 2) * (1 - value / 135)));
  to.stroke();
}

// ---- what is shown: chosen clusters, a station, a box in a view

const chosen = new Set(), on = new Uint8Array(n), counts = new Int32Array(clusters.length);
let station = -1, boxed = null, views = [];
function refresh() {
  counts.fill(0);
  let total = 0;
  for (let i = 0; i < n; i++) {
    const label = P.label[i];
    on[i] = (!chosen.size || chosen.has(group[label])) && (station < 0 || P.station[i] === station) && (!boxed || boxed[i]);
    if (on[i]) { total++; counts[label]++; }
  }
  const filtered = total < n;
  if (views.some((one) => one.parent.id === "times")) timeLine();
  views.forEach((view) => view.draw());
  all(".card").forEach((card) => drawCard(card, filtered));
  all(".chip").forEach((e) => { e.ariaPressed = chosen.has(+e.dataset.c); });
  all("main [data-c]").forEach((e) => e.toggleAttribute("data-off", chosen.size > 0 && !chosen.has(group[e.dataset.c])));
  all("main [data-s]").forEach((e) => e.toggleAttribute("data-off", station >= 0 && e.dataset.s !== stations[station]));
  all(".card .sample, .look .sample").forEach((e) => { e.style.opacity = on[e.dataset.i] ? 1 : 0.25; });
  if (!byId("state")) return;
  byId("clear").disabled = !filtered;
  byId("state").textContent = filtered ? `${total.toLocaleString("en")} of ${n.toLocaleString("en")} samples` : "";
  byId("save-names").disabled = !names.some(Boolean);
  byId("save-corrections").disabled = !corrections.size;
}

// ---- cards

const bound = (values) => { let low = Infinity, high = -Infinity; for (const v of values) { if (v < low) low = v; if (v > high) high = v; } return [low, high]; };
const period = D.span || (P.time ? bound(P.time.filter((t) => !isNaN(t))) : [0, 1]);
const within = (t) => t >= period[0] && t <= period[1];
const date = (t) => new Date(t).toISOString().replace("T", " ");
const tick = (t) => (period[1] - period[0] > 2 * 864e5 ? date(t).slice(0, 10) : date(t).slice(11, period[1] - period[0] > 12e4 ? 16 : 19));
function bars(canvas, values, first, last, fill) {
  const [to, width, height] = pen(canvas), top = Math.max(1, ...values), step = width / values.length;
  to.fillText(top.toLocaleString("en"), 0, 9);
  to.fillText(first, 0, height - 1);
  to.textAlign = "right";
  to.fillText(last, width, height - 1);
  to.fillStyle = fill;
  values.forEach((v, at) => to.fillRect(at * step, height - 13 - ((height - 24) * v) / top, Math.max(1, step - 1), ((height - 24) * v) / top));
}
function drawSpectrum(canvas, quartiles, fill) {
  if (!quartiles) return;
  const [to, width, height] = pen(canvas), [low, high] = bound(quartiles.flat()), last = quartiles[0].length - 1;
  const x = (at) => (at * width) / last, y = (v) => 11 + ((height - 24) * (high - v)) / (high - low || 1);
  to.fillText(`${high.toPrecision(3)} to ${low.toPrecision(3)}`, 0, 9);
  to.fillText(+D.frequency[0].toPrecision(3), 0, height - 1);
  to.textAlign = "right";
  to.fillText(+D.frequency[1].toPrecision(3), width, height - 1);
  to.fillStyle = to.strokeStyle = fill;
  to.globalAlpha = 0.3;
  to.beginPath();
  quartiles[0].forEach((v, at) => to.lineTo(x(at), y(v)));
  quartiles[2].toReversed().forEach((v, at) => to.lineTo(x(last - at), y(v)));
  to.fill();
  to.globalAlpha = 1;
  to.beginPath();
  quartiles[1].forEach((v, at) => to.lineTo(x(at), y(v)));
  to.stroke();
}
function drawCard(card, filtered) {
  const k = +card.dataset.c, same = group.findIndex((g, other) => g === group[k] && other !== k);
  const hours = Array(24).fill(0), rate = Array(40).fill(0), span = period[1] - period[0] || 1;
  for (let i = 0; P.time && i < n; i++) {
    if (!on[i] || P.label[i] !== k || isNaN(P.time[i])) continue;
    hours[Math.floor(P.time[i] / 36e5) % 24]++;
    if (within(P.time[i])) rate[Math.min(39, Math.floor((40 * (P.time[i] - period[0])) / span))]++;
  }
  const merged = same >= 0 ? `one with cluster ${same}` : "";
  card.querySelector(".count").textContent = filtered ? `${counts[k].toLocaleString("en")} selected` : merged;
  const [spectrum, time, day] = [".spectrum", ".rate", ".hours"].map((name) => card.querySelector(name));
  if (spectrum) drawSpectrum(spectrum, clusters[k].spectrum, colour(k));
  if (time) bars(time, rate, tick(period[0]), tick(period[1]), colour(k));
  if (day) bars(day, hours, "0", "24", colour(k));
}

// ---- map and time line: points to look at, open, and select by a box

let order = [];
const sorted = () => { order = Uint32Array.from({ length: n }, (_, i) => i).sort((a, b) => P.label[a] - P.label[b]); };
class View {
  constructor(parent, x, y, margins, decorate) {
    Object.assign(this, { parent, x, y, margins, decorate, from: null });
    this.base = parent.appendChild(make("canvas"));
    this.over = parent.appendChild(make("canvas"));
    this.over.onpointerdown = (e) => { this.from = [e.offsetX, e.offsetY]; this.over.setPointerCapture(e.pointerId); };
    this.over.onpointermove = (e) => requestAnimationFrame(() => this.move(e));
    this.over.onpointerup = (e) => this.release(e);
    this.over.onpointerleave = () => { tip.hidden = true; this.mark(); };
  }
  at(i) { // on the screen
    const [left, top, right, bottom] = this.margins;
    return [left + this.x[i] * (this.width - left - right), top + this.y[i] * (this.height - top - bottom)];
  }
  draw() {
    const [to, width, height] = pen(this.base);
    Object.assign(this, { width, height });
    pen(this.over);
    this.decorate(to, width, height);
    const size = n > 20000 ? 2 : n > 5000 ? 3 : 4;
    for (const shown of [0, 1]) {
      let last = -2;
      to.fillStyle = "#8883";
      for (const i of order) {
        if (on[i] !== shown || isNaN(this.x[i])) continue;
        if (shown && P.label[i] !== last) { last = P.label[i]; to.fillStyle = colour(last); }
        const [x, y] = this.at(i);
        to.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }
  }
  nearest(x, y) {
    let best = -1, least = 100;
    for (let i = 0; i < n; i++) {
      if (!on[i]) continue;
      const [px, py] = this.at(i), away = (px - x) ** 2 + (py - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }
  mark(i = -1, box = null) {
    const [to] = pen(this.over);
    if (box) to.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    if (i >= 0) { to.beginPath(); to.arc(...this.at(i), 7, 0, 7); to.lineWidth = 2; to.stroke(); }
  }
  move(e) {
    if (this.from) return this.mark(-1, [...this.from, e.offsetX, e.offsetY]);
    const i = this.nearest(e.offsetX, e.offsetY);
    this.mark(i);
    views.filter((view) => view !== this).forEach((view) => view.mark(i));
    showTip(i, e.clientX, e.clientY);
  }
  release(e) {
    const [x, y] = this.from || [e.offsetX, e.offsetY];
    this.from = null;
    if (Math.hypot(e.offsetX - x, e.offsetY - y) < 5) {
      const i = this.nearest(e.offsetX, e.offsetY);
      return i < 0 ? boxed && select(null) : look(i);
    }
    const [left, right] = [x, e.offsetX].sort((a, b) => a - b), [top, bottom] = [y, e.offsetY].sort((a, b) => a - b);
    select(Uint8Array.from({ length: n }, (_, i) => {
      const [px, py] = this.at(i);
      return px >= left && px <= right && py >= top && py <= bottom;
    }));
  }
}
function select(mask) { boxed = mask; refresh(); }
const tip = byId("tip");
const sentence = (i) => [
  `cluster ${title(P.label[i])}, p ${(P.probability[i] / 200).toFixed(2)}`, `sample ${P.index[i]}`,
  P.time && !isNaN(P.time[i]) ? date(P.time[i]).slice(0, 22) : "", P.station ? stations[P.station[i]] : "",
].filter(Boolean);
function showTip(i, x, y) {
  tip.hidden = i < 0;
  if (i < 0) return;
  tip.replaceChildren(...(D.tile ? [paint(make("canvas"), i)] : []), ...sentence(i).map((text) => make("div", {}, text)));
  tip.style.left = `${Math.min(x + 14, innerWidth - 220)}px`;
  tip.style.top = `${y + 14 > innerHeight - 240 ? y - 240 : y + 14}px`;
}
const hash = (i) => ((i * 2654435761) >>> 0) / 2 ** 32; // a fixed random number
function rowsOf(kind) { // titles of the rows of the time line, and the row of each sample
  if (kind === "station") return [stations, P.station];
  if (kind === "hour") return [[...Array(24).keys()], Array.from(P.time, (t) => Math.floor(t / 36e5) % 24)];
  return [clusters.map((_, k) => title(k)), P.label];
}
function timeLine() {
  const [titles, row] = rowsOf(byId("rows").value), view = views.find((one) => one.parent.id === "times");
  view.y = Float32Array.from(row, (r, i) => (r + 0.1 + 0.8 * hash(i)) / titles.length);
  view.decorate = (to, width, height) => {
    const [left, top, right, bottom] = view.margins, step = (height - top - bottom) / titles.length;
    const skip = Math.ceil(12 / step);
    titles.forEach((name, r) => { if (r % skip === 0) to.fillText(`${name}`.slice(0, 12), 4, top + (r + 0.5) * step + 4); });
    const place = (part) => left + part * (width - left - right);
    to.textAlign = "center";
    for (const [time, name] of D.moments.filter((one) => within(one[0]))) {
      const x = place((time - period[0]) / (period[1] - period[0]));
      to.fillRect(x, 12, 1, height - 32);
      to.fillText(name, x, 9);
    }
    for (const part of [0, 0.25, 0.5, 0.75, 1]) to.fillText(tick(period[0] + part * (period[1] - period[0])), Math.min(width - 32, place(part)), height - 5);
  };
}

// ---- one sample, large

const viewer = byId("viewer"), context = {};
let open = -1;
function look(i) {
  open = i;
  const spectrogram = D.tile ? [make("p", {}, make("span", {}, D.frequency[2]), make("span", {}, colours())), paint(make("canvas"), i), axis()] : [];
  const trace = wave(i), canvas = make("canvas", { className: "wave" });
  const peak = trace ? [make("p", {}, make("span", {}, `waveform, peak ${D.trace.peaks[traces.get(i)]} ${D.trace.unit}`))] : [];
  byId("stand").replaceChildren(...peak, ...(trace ? [canvas] : []), ...spectrogram);
  byId("what").textContent = sentence(i).join(", ");
  byId("relabel").value = P.label[i];
  byId("mark").value = (corrections.get(P.index[i]) || {}).mark || "";
  byId("play").disabled = !trace;
  byId("play").textContent = trace ? `Play, ${D.trace.faster} times faster` : "No sound: no waveform";
  byId("more").replaceChildren(...together(i));
  byId("correct").hidden = D.corrections === null;
  byId("before").disabled = byId("after").disabled = false;
  if (!viewer.open) viewer.showModal();
  if (trace) drawWave(canvas, i);
}
const colours = () => `colours: ${D.low} to 0 ${D.decibel ? "dB of the peak" : `below the peak ${D.unit}`}`;
const axis = () => make("p", {}, make("span", {}, `${D.components ? `${D.components}: ` : ""}${+D.duration[0].toPrecision(3)} ${D.duration[2]}, ${D.frequency[0].toPrecision(3)} to ${D.frequency[1].toPrecision(3)} ${D.frequency[2]} upward`), make("span", {}, `${+D.duration[1].toPrecision(3)} ${D.duration[2]}`));
function together(i) { // other samples of the event
  if (!P.event || P.event[i] < 0) return [];
  const others = [...order].filter((at) => P.event[at] === P.event[i] && at !== i).slice(0, 12);
  return ["Same event: ", ...others.map((at) => make("button", { onclick: () => look(at) }, `${P.station ? stations[P.station[at]] : P.index[at]} (${title(P.label[at])})`))];
}
function play() {
  context.audio ??= new AudioContext();
  const values = wave(open), sound = context.audio.createBuffer(1, values.length, 8000), source = context.audio.createBufferSource();
  sound.copyToChannel(Float32Array.from(values, (value) => value / 130), 0);
  Object.assign(source, { buffer: sound });
  source.playbackRate.value = (D.trace.rate * D.trace.faster) / 8000;
  source.connect(context.audio.destination);
  source.start();
}
function correct() {
  const label = +byId("relabel").value, mark = byId("mark").value.trim(), index = P.index[open];
  const before = corrections.get(index) || { label: -1 };
  corrections.set(index, { label: label === P.label[open] ? before.label : label, mark });
  P.label[open] = label;
  sorted();
  keep();
  refresh();
}
function step(by) {
  const rows = [...on.keys()].filter((i) => on[i]);
  if (rows.length) look(rows[(rows.indexOf(open) + by + rows.length) % rows.length]);
}
function enlarge(image) { // a figure
  byId("stand").replaceChildren(make("img", { src: image.src, alt: image.alt }));
  byId("what").textContent = image.alt;
  byId("more").replaceChildren();
  byId("correct").hidden = byId("play").disabled = byId("before").disabled = byId("after").disabled = true;
  viewer.showModal();
}

// ---- files

const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
function save(name, rows) {
  const url = URL.createObjectURL(new Blob([`${rows.map((row) => row.map((v) => cell(`${v}`)).join(",")).join("\n")}\n`], { type: "text/csv" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
function saveNames() {
  save("names.csv", [["stage", "label", "size", "name"], ...clusters.map((one, k) => [D.stage, k, one.sized, names[k]])]);
}
function saveCorrections() {
  const rows = [...corrections].map(([index, one]) => [index, one.label < 0 ? "" : one.label, one.mark || ""]);
  save("corrections.csv", [["index", "label", "mark"], ...rows.sort((a, b) => a[0] - b[0])]);
}

// ---- tables, theme

all("table.data").forEach((table) => {
  const body = table.tBodies[0], key = (row, at) => row.cells[at].dataset.v ?? row.cells[at].textContent;
  if (body.rows.length > 1) [...table.tHead.rows[0].cells].forEach((head, at) => {
    head.tabIndex = 0;
    head.onclick = () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1, missing = (v) => v === "";
      [...table.tHead.rows[0].cells].forEach((other) => { other.ariaSort = null; });
      head.ariaSort = sign > 0 ? "ascending" : "descending";
      body.append(...[...body.rows].sort((one, two) => {
        const a = key(one, at), b = key(two, at);
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
      }));
    };
    head.onkeydown = (e) => { if (e.key === "Enter") head.onclick(); };
  });
});
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
function theme(name) {
  if (name) root.dataset.theme = name; else delete root.dataset.theme;
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  refresh();
  all(".sample .wave").forEach((canvas) => drawWave(canvas, +canvas.closest(".sample").dataset.i));
}
byId("theme").onclick = () => theme(isDark() ? "light" : "dark");
dark.onchange = () => theme(root.dataset.theme);
let before; // ink on paper
addEventListener("beforeprint", () => { before = root.dataset.theme; theme("light"); });
addEventListener("afterprint", () => theme(before));

// ---- start

function start() {
  all(".sample").forEach((e) => {
    const i = +e.dataset.i, canvas = traces.has(i) ? [make("canvas", { className: "wave" })] : [];
    e.firstChild.append(...canvas, ...(D.tile ? [paint(make("canvas"), i)] : []));
    e.onclick = () => look(i);
  });
  all(".paper").forEach((e) => { e.onclick = () => enlarge(e.firstChild); });
  all(".chip").forEach((e) => { e.onclick = () => { if (!chosen.delete(+e.dataset.c)) chosen.add(+e.dataset.c); refresh(); }; });
  all("input.name").forEach((e) => {
    e.value = names[e.dataset.k];
    e.oninput = () => { names[e.dataset.k] = e.value.trim(); regroup(); keep(); refresh(); };
  });
  const act = (id, name, work) => { if (byId(id)) byId(id)[name] = work; };
  act("station", "onchange", (e) => { station = +e.target.value; refresh(); });
  act("clear", "onclick", () => { chosen.clear(); station = -1; if (byId("station")) byId("station").value = -1; select(null); });
  act("save-names", "onclick", saveNames);
  act("save-corrections", "onclick", saveCorrections);
  act("close", "onclick", () => viewer.close());
  act("before", "onclick", () => step(-1));
  act("after", "onclick", () => step(1));
  act("play", "onclick", play);
  act("relabel", "onchange", correct);
  act("mark", "onchange", correct);
  byId("relabel").append(...clusters.map((_, k) => make("option", { value: k }, title(k))));
  sorted();
  if (P.x && byId("latents")) views.push(new View(byId("latents"), Float32Array.from(P.x, (v) => v / 65535), Float32Array.from(P.y, (v) => 1 - v / 65535), [8, 8, 8, 8], () => {}));
  if (P.time && byId("times")) {
    const kinds = ["cluster", ...(stations.length > 1 ? ["station"] : []), ...(period[1] - period[0] > 864e5 ? ["hour"] : [])];
    byId("rows").append(...kinds.map((kind) => make("option", { value: kind }, kind === "hour" ? "hour of day" : kind)));
    byId("rows").onchange = refresh;
    views.push(new View(byId("times"), Float32Array.from(P.time, (t) => (within(t) ? (t - period[0]) / (period[1] - period[0] || 1) : NaN)), null, [76, 8, 12, 20], null));
  }
  ["latents", "times"].forEach((id) => { if (byId(id) && !byId(id).firstChild) byId(id).closest("figure").remove(); });
  regroup();
  theme(root.dataset.theme);
  addEventListener("resize", () => requestAnimationFrame(refresh));
  root.classList.add("ready");
}
// Before the window's load event, so that pictures and prints made then are complete.
if (D.large) D.large.image.addEventListener("load", start); else start();
