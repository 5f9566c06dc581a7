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

// ---- data: columns P of n samples, names and corrections by the user
const D = JSON.parse(byId("data").textContent), P = {};
const array = (type, text) => new globalThis[type](Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
for (const [name, [type, text]] of Object.entries(D.columns)) P[name] = array(type, text);
const n = P.label.length, clusters = D.clusters, stations = D.stations;
const names = clusters.map((one) => one.name), corrections = new Map();
(D.corrections || []).forEach(([index, label, mark]) => corrections.set(index, { label, mark }));
let group = []; // of each cluster the first one with its name
const unsaved = new Set(); // files to download
const title = (k) => (names[k] ? `${k} ${names[k]}` : `${k}`);
const colour = (k) => clusters[group[k]].colour;
function regroup() {
  group = names.map((name, k) => (name ? names.indexOf(name) : k));
  all("[data-title]").forEach((e) => { e.textContent = title(+e.dataset.title); });
  clusters.forEach((_, k) => all(`[data-c="${k}"]`).forEach((e) => e.style.setProperty("--c", colour(k))));
  all(".chip").forEach((e) => e.toggleAttribute("data-off", group[e.dataset.c] !== +e.dataset.c));
}

// ---- pictures of samples: grey images side by side, coloured here
const shades = array("Uint8Array", D.colours), waves = D.trace ? array("Int8Array", D.trace.values) : null;
const placed = (part) => new Map(part ? part.rows.map((i, at) => [i, at]) : []), large = placed(D.large), traces = placed(D.trace);
const wave = (i) => waves.subarray(traces.get(i) * D.trace.length, (traces.get(i) + 1) * D.trace.length);
for (const of of [D.large, D.tile]) { // bitmaps need no decoding at each use
  of.image = new Image();
  of.image.onload = () => createImageBitmap(of.image).then((bitmap) => { of.image = bitmap; });
  of.image.src = of.source;
}
function paint(canvas, i) {
  const of = large.has(i) ? D.large : D.tile, at = large.get(i) ?? i, { width, height, columns } = of;
  Object.assign(canvas, { width, height, className: "image" });
  const to = canvas.getContext("2d", { willReadFrequently: true });
  to.drawImage(of.image, (at % columns) * width, Math.floor(at / columns) * height, width, height, 0, 0, width, height);
  const pixels = to.getImageData(0, 0, width, height), { data } = pixels;
  for (let p = 0; p < data.length; p += 4) data.set(shades.subarray(3 * data[p], 3 * data[p] + 3), p);
  to.putImageData(pixels, 0, 0);
  return canvas;
}
function pen(canvas) { // a canvas as large as it is on the screen
  const scale = devicePixelRatio || 1, width = canvas.clientWidth || 100, height = canvas.clientHeight || 50;
  Object.assign(canvas, { width: width * scale, height: height * scale });
  const to = canvas.getContext("2d");
  to.scale(scale, scale);
  to.font = "11px system-ui";
  to.fillStyle = to.strokeStyle = getComputedStyle(document.body).color;
  return [to, width, height];
}
function line(to, points, finish = "stroke") {
  to.beginPath();
  points.forEach(([x, y]) => to.lineTo(x, y));
  to[finish]();
}
function drawWave(canvas, i) {
  const [to, width, height] = pen(canvas), values = [...wave(i)];
  to.lineWidth = 0.7;
  line(to, values.map((value, at) => [(at * width) / values.length, (height / 2) * (1 - value / 135)]));
}
function labels(to, width, height, top, left, right) { // of a small chart
  to.fillText(top, 0, 9);
  if (to.measureText(`${left}  ${right}`).width > width) to.font = "7px system-ui"; // as in print
  to.fillText(left, 0, height - 1);
  to.textAlign = "right";
  to.fillText(right, width, height - 1);
}

// ---- what is shown: chosen clusters, a station, a box in a view
const chosen = new Set(), on = new Uint8Array(n), views = [];
let station = -1, boxed = null;
function refresh() {
  const sizes = clusters.map(() => 0), selected = clusters.map(() => []); // samples of each cluster
  for (let i = 0; i < n; i++) {
    on[i] = (!chosen.size || chosen.has(group[P.label[i]])) && (station < 0 || P.station[i] === station) && (!boxed || boxed[i]);
    sizes[P.label[i]] += 1;
    if (on[i]) selected[P.label[i]].push(i);
  }
  const total = selected.flat().length, filtered = total < n;
  root.classList.toggle("filtered", filtered);
  all(".chip").forEach((e) => { e.ariaPressed = chosen.has(+e.dataset.c); });
  all("main [data-c]").forEach((e) => e.toggleAttribute("data-off", filtered && !selected[e.dataset.c].length));
  all("main [data-s]").forEach((e) => e.toggleAttribute("data-off", station >= 0 && e.dataset.s !== stations[station]));
  all(".look > div").forEach((e) => e.toggleAttribute("data-off", !on[e.firstChild.dataset.i]));
  all(".look").forEach((e) => e.toggleAttribute("data-empty", !e.querySelector(":scope > :not([data-off])")));
  views.forEach((view) => view.draw()); // after all that changes sizes
  all(".card").forEach((card) => drawCard(card, selected[card.dataset.c], filtered && sizes[card.dataset.c]));
  all(".sample .wave").forEach((canvas) => drawWave(canvas, +canvas.closest(".sample").dataset.i));
  byId("clear").disabled = !filtered;
  byId("state").textContent = filtered ? `${total.toLocaleString("en")} of ${n.toLocaleString("en")} samples` : "";
  byId("save-names").disabled = !names.some(Boolean);
  byId("save-corrections").disabled = !corrections.size;
}
const select = (mask) => { boxed = mask; refresh(); };

// ---- cards
const bound = (values) => values.reduce(([low, high], v) => [v < low ? v : low, v > high ? v : high], [Infinity, -Infinity]);
const period = D.span || (P.time ? bound(P.time) : [0, 1]), span = period[1] - period[0] || 1;
const part = (t) => (t - period[0]) / span, within = (t) => t >= period[0] && t <= period[1];
const isDated = (i) => P.time && !isNaN(P.time[i]);
const date = (t) => new Date(t).toISOString().replace("T", " "), hour = (t) => Math.floor(t / 36e5) % 24;
const tick = (t) => (span > 2 * 864e5 ? date(t).slice(0, 10) : date(t).slice(11, span > 12e4 ? 16 : 19));
function bars(canvas, values, first, last, fill) {
  const [to, width, height] = pen(canvas), top = Math.max(1, ...values), step = width / values.length;
  labels(to, width, height, top.toLocaleString("en"), first, last);
  to.fillStyle = fill;
  values.forEach((v, at) => to.fillRect(at * step, height - 13 - ((height - 24) * v) / top, Math.max(1, step - 1), ((height - 24) * v) / top));
}
function drawSpectrum(canvas, quartiles, fill) {
  const [to, width, height] = pen(canvas), [low, high] = bound(quartiles.flat()), last = quartiles[0].length - 1;
  const [lower, middle, upper] = quartiles.map((row) => row.map((v, at) => [(at * width) / last, 11 + ((height - 24) * (high - v)) / (high - low || 1)]));
  labels(to, width, height, `${high.toPrecision(3)} to ${low.toPrecision(3)}${D.decibel ? " dB" : ""}`, +D.frequency[0].toPrecision(3), +D.frequency[1].toPrecision(3));
  to.fillStyle = to.strokeStyle = fill;
  to.globalAlpha = 0.3;
  line(to, [...lower, ...upper.toReversed()], "fill");
  to.globalAlpha = 1;
  line(to, middle);
}
function sample(i) { // a button that opens it
  const canvases = traces.has(i) ? [make("canvas", { className: "wave" })] : [];
  const when = isDated(i) ? date(P.time[i]).slice(0, 19) : `sample ${P.index[i]}`, where = P.station ? stations[P.station[i]] : "";
  const texts = [when, `${where} p ${(P.probability[i] / 200).toFixed(2)}`].map((text) => make("small", {}, text));
  const made = make("button", { type: "button", className: "sample", onclick: () => look(i) }, ...canvases, paint(make("canvas"), i), ...texts);
  made.dataset.i = i;
  return made;
}
function drawCard(card, selected, size) { // selected samples of the cluster; its size, 0 without a filter
  const k = +card.dataset.c, find = (name) => card.querySelector(name);
  const hours = Array(24).fill(0), rate = Array(40).fill(0);
  for (const time of selected.filter(isDated).map((i) => P.time[i])) {
    hours[hour(time)]++;
    if (within(time)) rate[Math.min(39, Math.floor(40 * part(time)))]++;
  }
  const same = group.findIndex((g, other) => g === group[k] && other !== k);
  const facts = [`${selected.length.toLocaleString("en")} of ${size.toLocaleString("en")} selected`];
  for (const [name, values] of [["events", P.event], [`${D.place}s`, P.station]]) {
    if (values) facts.push(`${name}: ${new Set(selected.map((i) => values[i]).filter((v) => v >= 0)).size.toLocaleString("en")}`);
  }
  find(".count").textContent = size ? facts.join(", ") : same >= 0 ? `one with cluster ${same}` : "";
  const examples = find(".examples"), typical = [...large.keys()].filter((i) => on[i] && P.label[i] === k); // first
  const shown = [...new Set([...typical, ...selected])].slice(0, 6);
  examples.replaceChildren(...shown.map((i) => examples.querySelector(`[data-i="${i}"]`) || sample(i)));
  if (clusters[k].spectrum) drawSpectrum(find(".spectrum"), clusters[k].spectrum, colour(k));
  if (find(".rate")) bars(find(".rate"), rate, tick(period[0]), tick(period[1]), colour(k));
  if (find(".hours")) bars(find(".hours"), hours, "0", "24", colour(k));
}

// ---- map and time line: points to look at, open, and select by a box
class View {
  constructor(parent, x, y, margins) {
    Object.assign(this, { x, y, margins, from: null });
    [this.base, this.over] = [0, 1].map(() => parent.appendChild(make("canvas")));
    this.over.onpointerdown = (e) => { this.from = [e.offsetX, e.offsetY]; this.over.setPointerCapture(e.pointerId); };
    this.over.onpointermove = (e) => requestAnimationFrame(() => this.move(e));
    this.over.onpointerup = (e) => this.release(e);
    this.over.onpointerleave = () => { tip.hidden = true; this.mark(); };
  }
  at(i) { // on the screen
    const [left, top, right, bottom] = this.margins;
    return [left + this.x[i] * (this.width - left - right), top + this.y[i] * (this.height - top - bottom)];
  }
  draw() { // cluster by cluster
    const [to, width, height] = pen(this.base), size = n > 20000 ? 2 : n > 5000 ? 3 : 4;
    Object.assign(this, { width, height });
    pen(this.over);
    this.decorate?.(to, width, height);
    for (const i of Uint32Array.from(P.label.keys()).sort((a, b) => on[a] - on[b] || P.label[a] - P.label[b])) {
      if (isNaN(this.x[i])) continue;
      const [x, y] = this.at(i);
      to.fillStyle = on[i] ? colour(P.label[i]) : "#8883";
      to.fillRect(x - size / 2, y - size / 2, size, size);
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
    views.forEach((view) => view.mark(i));
    showTip(i, e.clientX, e.clientY);
  }
  release(e) {
    if (!this.from) return;
    const [x, y] = this.from, to = [e.offsetX, e.offsetY];
    this.from = null;
    const i = this.nearest(...to), isClick = Math.hypot(to[0] - x, to[1] - y) < 5;
    if (isClick) return i < 0 ? select(null) : look(i);
    const between = (v, a, b) => v >= Math.min(a, b) && v <= Math.max(a, b);
    select(Uint8Array.from(P.label, (_, i) => { const [px, py] = this.at(i); return between(px, x, to[0]) && between(py, y, to[1]); }));
  }
}
class TimeLine extends View {
  draw() { // rows by cluster, station or hour
    const kind = byId("rows").value, row = { cluster: P.label, station: P.station, hour: P.time && Array.from(P.time, hour) }[kind];
    this.titles = { cluster: clusters.map((_, k) => title(k)), station: stations, hour: [...Array(24).keys()] }[kind];
    const spread = (i) => ((i * 2654435761) >>> 0) / 2 ** 32; // a fixed random number
    this.y = Float32Array.from(row, (r, i) => (r + 0.1 + 0.8 * spread(i)) / this.titles.length);
    super.draw();
  }
  decorate(to, width, height) {
    const [left, top, right, bottom] = this.margins, step = (height - top - bottom) / this.titles.length;
    const place = (t) => left + part(t) * (width - left - right);
    this.titles.forEach((name, r) => { if (r % Math.ceil(12 / step) === 0) to.fillText(`${name}`.slice(0, 12), 4, top + (r + 0.5) * step + 4); });
    to.textAlign = "center";
    for (const [time, name] of D.moments.filter((one) => within(one[0]))) {
      to.fillRect(place(time), 12, 1, height - 32);
      to.fillText(name, place(time), 9);
    }
    for (const at of width < 480 ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]) {
      const time = period[0] + at * (period[1] - period[0]);
      to.fillText(tick(time), Math.min(width - 32, place(time)), height - 5);
    }
  }
}
const tip = byId("tip");
const sentence = (i) => [
  `cluster ${title(P.label[i])}, p ${(P.probability[i] / 200).toFixed(2)}`, `sample ${P.index[i]}`,
  isDated(i) ? date(P.time[i]).slice(0, 22) : "", P.station ? stations[P.station[i]] : "",
].filter(Boolean);
function showTip(i, x, y) {
  tip.hidden = i < 0;
  if (i < 0) return;
  tip.replaceChildren(paint(make("canvas"), i), ...sentence(i).map((text) => make("div", {}, text)));
  const left = Math.min(x + 14, innerWidth - 220), top = y + 14 > innerHeight - 240 ? y - 240 : y + 14;
  Object.assign(tip.style, { left: `${left}px`, top: `${top}px` });
}

// ---- one sample, large
const viewer = byId("viewer");
let open = -1, audio = null;
function look(i) {
  open = i;
  const ends = (left, right) => make("p", {}, make("span", {}, left), make("span", {}, right)), short = (v) => +v.toPrecision(3);
  const heard = traces.has(i), canvas = make("canvas", { className: "wave" }), parts = [];
  if (heard) parts.push(ends(`waveform, peak ${D.trace.peaks[traces.get(i)]} ${D.trace.unit}`, ""), canvas);
  const [[low, high, unit], [first, last, seconds]] = [D.frequency, D.duration];
  parts.push(ends(`${unit}, ${short(low)} to ${short(high)} upward`, `colours: ${D.low} to 0 ${D.decibel ? "dB of the peak" : `below the peak ${D.unit}`}`));
  parts.push(paint(make("canvas"), i), ends(`${D.components} ${short(first)} ${seconds}`, `${short(last)} ${seconds}`));
  byId("stand").replaceChildren(...parts);
  byId("what").textContent = sentence(i).join(", ");
  byId("relabel").value = P.label[i];
  byId("mark").value = corrections.get(P.index[i])?.mark || "";
  Object.assign(byId("play"), { disabled: !heard, textContent: heard ? `Play, ${D.trace.faster} times faster` : "No sound: no waveform" });
  byId("more").replaceChildren(...together(i));
  byId("correct").hidden = D.corrections === null;
  if (!viewer.open) viewer.showModal();
  if (heard) drawWave(canvas, i);
}
function together(i) { // other samples of the event
  if (!P.event || P.event[i] < 0) return [];
  const others = [...P.event.keys()].filter((at) => P.event[at] === P.event[i] && at !== i).slice(0, 12);
  return ["Same event: ", ...others.map((at) => make("button", { onclick: () => look(at) }, `${P.station ? stations[P.station[at]] : P.index[at]} (${title(P.label[at])})`))];
}
function play() {
  audio ??= new AudioContext();
  const values = wave(open), buffer = audio.createBuffer(1, values.length, 8000);
  buffer.copyToChannel(Float32Array.from(values, (value) => value / 130), 0);
  const source = new AudioBufferSourceNode(audio, { buffer, playbackRate: (D.trace.rate * D.trace.faster) / 8000 });
  source.connect(audio.destination);
  source.start();
}
function correct() {
  const label = +byId("relabel").value, mark = byId("mark").value.trim(), index = P.index[open];
  corrections.set(index, { label: label === P.label[open] ? corrections.get(index)?.label ?? -1 : label, mark });
  P.label[open] = label;
  unsaved.add("corrections.csv");
  refresh();
}

// ---- files
const rowsOf = {
  "names.csv": () => [["stage", "label", "size", "name"], ...clusters.map((one, k) => [D.stage, k, one.size, names[k]])],
  "corrections.csv": () => [["index", "label", "mark"], ...[...corrections].sort((a, b) => a[0] - b[0])
    .map(([index, one]) => [index, one.label < 0 ? "" : one.label, one.mark || ""])],
};
function save(name) {
  const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const text = rowsOf[name]().map((row) => `${row.map((v) => cell(`${v}`)).join(",")}\n`).join("");
  make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name }).click();
  unsaved.delete(name);
}

// ---- start
function start() {
  all(".look > div").forEach((e) => e.prepend(sample(P.index.indexOf(+e.dataset.sample))));
  all(".chip").forEach((e) => { e.onclick = () => { if (!chosen.delete(+e.dataset.c)) chosen.add(+e.dataset.c); refresh(); }; });
  all("input.name").forEach((e) => { e.oninput = () => { names[e.dataset.k] = e.value.trim(); unsaved.add("names.csv"); regroup(); refresh(); }; });
  const act = (id, name, work) => { if (byId(id)) byId(id)[name] = work; };
  act("station", "onchange", (e) => { station = +e.target.value; refresh(); });
  act("clear", "onclick", () => { chosen.clear(); station = -1; if (byId("station")) byId("station").value = -1; select(null); });
  for (const name of ["names", "corrections"]) act(`save-${name}`, "onclick", () => save(`${name}.csv`));
  act("close", "onclick", () => viewer.close());
  act("play", "onclick", play);
  for (const id of ["relabel", "mark"]) act(id, "onchange", correct);
  byId("relabel").append(...clusters.map((_, k) => make("option", { value: k }, title(k))));
  if (byId("latents") && P.x) views.push(new View(byId("latents"), Float32Array.from(P.x, (v) => v / 65535), Float32Array.from(P.y, (v) => 1 - v / 65535), [8, 8, 8, 8]));
  if (byId("times") && P.time) {
    const kinds = [["cluster", true], ["station", stations.length > 1], ["hour", span > 864e5]].filter((one) => one[1]);
    byId("rows").append(...kinds.map(([kind]) => make("option", { value: kind }, kind === "hour" ? "hour of day" : kind)));
    byId("rows").onchange = refresh;
    views.push(new TimeLine(byId("times"), Float32Array.from(P.time, (t) => (within(t) ? part(t) : NaN)), null, [76, 8, 12, 20]));
  }
  all(".view:empty").forEach((e) => e.closest("figure").remove());
  regroup();
  refresh();
  for (const when of ["beforeprint", "afterprint"]) { // ink on paper
    addEventListener(when, () => { root.classList.toggle("print", when === "beforeprint"); refresh(); });
  }
  addEventListener("beforeunload", (e) => { if (unsaved.size) e.preventDefault(); });
  addEventListener("resize", () => requestAnimationFrame(refresh));
  matchMedia("(prefers-color-scheme: dark)").onchange = refresh;
}
// Before the window's load event, so that pictures and prints made then are complete.
D.large.image.addEventListener("load", start);
