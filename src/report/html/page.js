"use strict";
const results = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const KNOWN = ["direct", "portable", "fused", "forward", "loss-grad", "gradients", "train-step", "pytorch-eager",
  "pytorch-compile", "ort-training"];
const hidden = new Set();
const state = { series: "cold" };
let sorting = { key: "order", up: true };

// --- words and numbers

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const digits = (value) => value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);

function scaled(value, units) {
  const [size, unit] = units.find(([size]) => value >= size) ?? units[units.length - 1];
  return `${digits(value / size)} ${unit}`;
}

const time = (s) => scaled(s, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]);
const rate = (r) => scaled(r, [[1e9, "G/s"], [1e6, "M/s"], [1e3, "k/s"], [1, "/s"]]);
const bandwidth = (b) => scaled(b, [[1e9, "GB/s"], [1e6, "MB/s"], [1e3, "kB/s"]]);
const size = (b) => scaled(b, [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]]);
const percent = (share) => `${share < 0.0995 ? (share * 100).toFixed(1) : (share * 100).toFixed(0)} %`;
const count = (n) => n >= 1e6 ? `${n / 1e6}M` : n >= 1e4 ? `${n / 1e3}k` : String(n);

// --- arms

const arms = [...new Set(results.cells.flatMap((cell) => cell.arms.map((arm) => arm.arm)))];

function colour(arm) {
  if (arm === "copy") return "var(--copy)";
  const base = arm.replace("+cuda-graph", "");
  if (KNOWN.includes(base)) return `var(--${base})`;
  return `var(--other-${1 + (arms.filter((a) => !KNOWN.includes(a)).indexOf(arm) % 2)})`;
}

const dashes = (arm) => arm === "copy" ? "5 4" : arm.endsWith("+cuda-graph") ? "2 3" : "";
const summaryOf = (arm) => arm[state.series]?.summary;

// --- groups: cells that differ in their sizes only

const groupName = (cell) =>
  [...(cell.classifier ? ["training", cell.loss, cell.optimizer] : [cell.loss, cell.dtype]),
    cell.provider, `${cell.threads} thread${cell.threads === 1 ? "" : "s"}`].join(", ");
const groups = [...new Set(results.cells.map(groupName))];
const unique = (values) => [...new Set(values)].sort((a, b) => a - b);
const inGroup = () => results.cells.filter((cell) => groupName(cell) === state.group);

function choose(group) {
  state.group = group;
  const cells = inGroup();
  const busiest = (key) => {
    const sizes = unique(cells.map((cell) => cell[key]));
    const others = (value) => cells.filter((cell) => cell[key] === value).length;
    return sizes.reduce((best, value) => others(value) >= others(best) ? value : best, sizes[0]);
  };
  state.features = busiest("features");
  state.rows = busiest("rows");
  state.classes = busiest("classes");
}

// --- header

function header() {
  const e = results.environment;
  byId("title").textContent = results.plan;
  byId("subtitle").textContent = results.title ?? "";
  const chips = [
    e.cpu && `${e.cpu}, ${e.cpus} processors`, ...e.gpus.map((gpu) => gpu.name),
    e.onnxruntime && `ONNX Runtime ${e.onnxruntime}`, e.cuda && `CUDA ${e.cuda}`, e.cudnn && `cuDNN ${e.cudnn}`,
    e.peers, e.governor && `governor ${e.governor}`, e.system, e.git && `revision ${e.git.slice(0, 12)}`,
    results.started, `ibgraph ${results.ibgraph}`,
  ];
  byId("environment").replaceChildren(...chips.filter(Boolean).map((text) => element("li", {}, text)));
  const warnings = [...results.warnings];
  if (results.cells.length < results.planned) {
    warnings.unshift(`Not complete: ${results.cells.length} of ${results.planned} cells were measured.`);
  }
  if (warnings.length > 2) {
    const items = warnings.map((text) => element("li", {}, text));
    byId("warnings").append(element("details", { class: "warning" },
      element("summary", {}, `${warnings.length} warnings: figures may be off`), element("ul", {}, ...items)));
  } else {
    byId("warnings").append(...warnings.map((text) => element("p", { class: "warning" }, text)));
  }
}

// Ratios of times between two arms, over the cells of many classes.
function tiles() {
  const wanted = [["train-step", "pytorch-eager"], ["train-step", "pytorch-compile"], ["train-step", "ort-training"],
    ["portable", "direct"], ["portable", "pytorch-eager"], ["portable", "pytorch-compile"],
    ["fused", "pytorch-compile"], ["fused", "portable"], ["fused", "copy"]];
  const tile = ([ours, theirs]) => {
    const ratio = (cell) => {
      const [a, b] = [ours, theirs].map((name) => cell.arms.find((arm) => arm.arm === name));
      return a && b && summaryOf(a) && summaryOf(b) && summaryOf(b).median / summaryOf(a).median;
    };
    const step = inGroup().some((cell) => cell.classifier);
    const ratios = inGroup().filter((cell) => step || cell.classes >= 1000).map(ratio).filter(Boolean);
    if (ratios.length === 0) return null;
    const [low, high] = [Math.min(...ratios), Math.max(...ratios)];
    const range = digits(low) === digits(high) ? digits(low) : `${digits(low)} – ${digits(high)}`;
    return element("div", { class: "tile" }, element("b", {}, `${range} ×`),
      element("span", {}, `speed of ${ours} over ${theirs}${step ? "" : ", C ≥ 1000"}`));
  };
  byId("summary").replaceChildren(...wanted.map(tile).filter(Boolean));
}

// --- controls

function picker(label, key, options, show = String) {
  if (options.length < 2) return null;
  const select = element("select", { name: key, "aria-label": label });
  for (const option of options) {
    const entry = element("option", { value: option }, show(option));
    entry.selected = state[key] === option;
    select.append(entry);
  }
  select.addEventListener("change", () => {
    const chosen = options.find((option) => String(option) === select.value);
    if (key === "group") choose(chosen);
    else state[key] = chosen;
    render();
  });
  return element("label", {}, label, select);
}

function controls() {
  const cells = inGroup();
  const ofSteps = cells.some((cell) => cell.classifier);
  const values = (key) => ofSteps ? [] : unique(cells.map((cell) => cell[key]));
  const pickers = [
    picker("What", "group", groups),
    picker("Caches", "series", ["cold", "warm"], (s) => s === "cold" ? "cold (inputs rotate)" : "warm (same input)"),
    picker("Classes C", "classes", values("classes"), count),
    picker("Batch N", "rows", values("rows"), count),
    picker("Features D", "features", values("features"), count),
  ];
  byId("controls").replaceChildren(...pickers.filter(Boolean));
}

function legend() {
  const entry = (arm) => element("li", {}, element("button", {
    type: "button", "aria-pressed": String(!hidden.has(arm)),
    onclick: () => { hidden.has(arm) ? hidden.delete(arm) : hidden.add(arm); render(); },
  }, element("i", { style: `border-color: ${colour(arm)}`, class: dashes(arm) ? "dashed" : "" }), arm));
  const shown = arms.filter((arm) => inGroup().some((cell) => cell.arms.some((a) => a.arm === arm && summaryOf(a))));
  byId("legend").replaceChildren(...shown.map(entry));
}

// --- charts

function lines(cells, key, value) {
  return arms.filter((arm) => !hidden.has(arm)).map((arm) => ({
    arm,
    points: cells.map((cell) => {
      const summary = summaryOf(cell.arms.find((a) => a.arm === arm) ?? {});
      return summary && {
        x: cell[key], y: value(cell, summary.median), low: value(cell, summary.high), high: value(cell, summary.low),
        tip: `${arm}, N=${cell.rows}, C=${cell.classes}, D=${cell.features}\n${time(summary.median)}`
          + ` (${time(summary.low)} – ${time(summary.high)})\n${rate(cell.rows / summary.median)} samples`
          + (cell.bytes ? `, ${bandwidth(cell.bytes / summary.median)}` : ""),
      };
    }).filter(Boolean).sort((a, b) => a.x - b.x),
  })).filter((line) => line.points.length > 0);
}

function decades(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) ticks.push(10 ** power);
  return ticks;
}

function chart(host, series, { xLabel, yLabel, yText }) {
  const width = Math.max(280, host.clientWidth || 500), height = Math.round(Math.min(360, Math.max(240, width * 0.62)));
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${yLabel} by ${xLabel}` });
  host.replaceChildren(svg);
  const points = series.flatMap((line) => line.points);
  if (points.length === 0) {
    svg.append(shape("text", { x: width / 2, y: height / 2, class: "empty" }, "nothing measured here"));
    return;
  }
  const [left, right, top, bottom] = [64, 14, 12, 40];
  const xs = unique(points.map((point) => point.x));
  const yAll = points.flatMap((point) => [point.low, point.high]);
  let [yLow, yHigh] = [Math.min(...yAll) / 1.15, Math.max(...yAll) * 1.15];
  const log = (value, low, high) => high > low ? Math.log(value / low) / Math.log(high / low) : 0.5;
  const x = (value) => left + 10 + (width - left - right - 20) * log(value, xs[0], xs[xs.length - 1]);
  const y = (value) => height - bottom - (height - top - bottom) * log(value, yLow, yHigh);
  let ticks = decades(yLow, yHigh).filter((tick) => tick >= yLow && tick <= yHigh);
  if (ticks.length < 2) {
    ticks = decades(yLow, yHigh).flatMap((ten) => [1, 2, 3, 5, 7].map((m) => m * ten))
      .filter((tick) => tick >= yLow && tick <= yHigh);
  } else if (ticks.length < 4) {
    ticks = decades(yLow, yHigh).flatMap((ten) => [1, 3].map((m) => m * ten))
      .filter((tick) => tick >= yLow && tick <= yHigh);
  }
  for (const tick of ticks) {
    svg.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(shape("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, yText(tick).replace(/\.0+ /, " ")));
  }
  let lastLabel = -Infinity;
  for (const tick of xs) {
    svg.append(shape("line", { class: "axis", x1: x(tick), x2: x(tick), y1: height - bottom, y2: height - bottom + 5 }));
    if (x(tick) - lastLabel < 34) continue;
    lastLabel = x(tick);
    svg.append(shape("text", { x: x(tick), y: height - bottom + 19, "text-anchor": "middle" }, count(tick)));
  }
  svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  svg.append(shape("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, xLabel));
  for (const line of series) draw(svg, line, x, y);
}

function draw(svg, line, x, y) {
  const stroke = colour(line.arm), at = (point, value) => `${x(point.x).toFixed(1)},${y(value).toFixed(1)}`;
  const band = [...line.points.map((p) => at(p, p.high)), ...line.points.map((p) => at(p, p.low)).reverse()];
  svg.append(shape("polygon", { points: band.join(" "), style: `fill: ${stroke}; fill-opacity: 0.16`, class: "band" }));
  svg.append(shape("polyline", {
    points: line.points.map((p) => at(p, p.y)).join(" "), fill: "none", class: "line", "data-arm": line.arm,
    style: `stroke: ${stroke}; stroke-width: 2.25; stroke-dasharray: ${dashes(line.arm) || "none"}`,
  }));
  for (const point of line.points) {
    const dot = shape("circle", { cx: x(point.x), cy: y(point.y), r: 3.5, style: `fill: ${stroke}` });
    const target = shape("circle", { cx: x(point.x), cy: y(point.y), r: 13, fill: "transparent" });
    target.addEventListener("pointerenter", (event) => tip(event, point.tip));
    target.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
    target.append(shape("title", {}, point.tip));
    svg.append(dot, target);
  }
}

function tip(event, text) {
  const box = byId("tip");
  box.textContent = text;
  box.hidden = false;
  const left = Math.min(event.pageX + 14, document.documentElement.clientWidth - box.offsetWidth - 8);
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${event.pageY + 14}px`;
}

function charts() {
  const cells = inGroup().filter((cell) => cell.features === state.features);
  const caption = (id, text, detail) => byId(id).replaceChildren(text, element("small", {}, detail));
  const series = state.series === "cold" ? "inputs rotate, caches cold" : "same input, caches warm";
  const ofSteps = inGroup().some((cell) => cell.classifier);
  for (const id of ["chart-classes", "chart-bandwidth"]) byId(id).parentElement.hidden = ofSteps;
  byId("chart-rows").parentElement.classList.toggle("wide", ofSteps);
  // A training step has one number of classes, and of the bytes that it moves nobody knows the least.
  if (ofSteps) {
    const detail = "median time, and its 95 % interval as a line; every classifier has a scale of its own";
    caption("caption-rows", "Time of a training step", `${detail}; ${series}`);
    bars(byId("chart-rows"), inGroup());
    return;
  }
  const throughput = (cell, seconds) => cell.rows / seconds;
  const rateAxis = { yLabel: "samples a second", yText: rate };
  caption("caption-rows", "Throughput by batch size",
    `samples a second, C = ${state.classes}, D = ${state.features}; ${series}`);
  chart(byId("chart-rows"), lines(cells.filter((cell) => cell.classes === state.classes), "rows", throughput),
    { xLabel: "batch size N", ...rateAxis });
  caption("caption-classes", "Throughput by number of classes",
    `samples a second, N = ${state.rows}, D = ${state.features}; ${series}`);
  const byClass = cells.filter((cell) => cell.rows === state.rows);
  chart(byId("chart-classes"), lines(byClass, "classes", throughput), { xLabel: "classes C", ...rateAxis });
  caption("caption-bandwidth", "Bandwidth against the roofline",
    `bytes that a run must move over its time, N = ${state.rows}, D = ${state.features}; the dashed line is a copy of`
    + ` the same bytes; ${series}`);
  chart(byId("chart-bandwidth"), lines(byClass, "classes", (cell, seconds) => cell.bytes / seconds),
    { xLabel: "classes C", yLabel: "bytes a second", yText: bandwidth });
}

// --- table

const COLUMNS = [
  ["of", "text", (row) => row.order, (row) => row.name],
  ["N", "", (row) => row.cell.rows, (row) => row.cell.rows],
  ["C", "", (row) => row.cell.classes, (row) => row.cell.classes],
  ["D", "", (row) => row.cell.features, (row) => row.cell.features],
  ["arm", "text", (row) => row.arm.arm, null],
  ["time", "", (row) => row.s?.median, (row) => row.s ? time(row.s.median) : row.arm.status],
  ["95 %", "", (row) => row.s && (row.s.high - row.s.low) / row.s.median,
    (row) => row.s ? `± ${percent((row.s.high - row.s.low) / 2 / row.s.median)}` : ""],
  ["p95", "", (row) => row.s?.p95, (row) => row.s ? time(row.s.p95) : ""],
  ["noise", "", (row) => row.s?.noise, (row) => row.s ? percent(row.s.noise) : ""],
  ["samples/s", "", (row) => row.s && row.cell.rows / row.s.median, (row) => row.s ? rate(row.cell.rows / row.s.median) : ""],
  ["bandwidth", "", (row) => row.s && row.cell.bytes && row.cell.bytes / row.s.median,
    (row) => row.s && row.cell.bytes ? bandwidth(row.cell.bytes / row.s.median) : ""],
  ["of copy", "", (row) => row.share, (row) => row.share ? percent(row.share) : ""],
  ["worst row", "", (row) => row.arm.numerics?.worst_row, (row) => row.arm.numerics?.worst_row?.toExponential(1) ?? ""],
  ["loss", "", (row) => row.arm.numerics?.loss, (row) => row.arm.numerics?.loss?.toExponential(1) ?? ""],
  ["kernels", "", (row) => row.arm.model?.kernels, (row) => row.arm.model?.kernels ?? ""],
  ["copies", "", (row) => row.arm.model?.copies, (row) => row.arm.model?.copies ?? ""],
  ["memory", "", (row) => row.arm.peak_memory, (row) => row.arm.peak_memory ? size(row.arm.peak_memory) : ""],
];

function rows() {
  let order = 0;
  return inGroup().flatMap((cell) => {
    const copy = summaryOf(cell.arms.find((arm) => arm.arm === "copy") ?? {});
    return cell.arms.filter((arm) => !hidden.has(arm.arm)).map((arm) => {
      const s = summaryOf(arm);
      return { order: order++, cell, arm, s, name: cell.classifier ?? cell.loss, share: s && copy && copy.median / s.median };
    });
  });
}

function table() {
  const heading = ([name, kind]) => {
    const key = name === "of" ? "order" : name;
    const sorted = sorting.key === key ? (sorting.up ? "ascending" : "descending") : "none";
    const button = element("button", { type: "button", onclick: () => {
      sorting = { key, up: sorting.key === key ? !sorting.up : true };
      table();
    } }, name);
    return element("th", { scope: "col", class: kind, "aria-sort": sorted }, button);
  };
  const all = rows();
  const columns = COLUMNS.filter(([name, , value]) => name === "arm" || all.some((row) => (value(row) ?? "") !== ""));
  byId("table").tHead.replaceChildren(element("tr", {}, ...columns.map(heading)));
  const column = COLUMNS.find(([name]) => name === sorting.key) ?? COLUMNS[0];
  const value = column[2];
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    // What has no figure comes last either way.
    if (x === undefined || x === null) return y === undefined || y === null ? a.order - b.order : 1;
    if (y === undefined || y === null) return -1;
    const difference = typeof x === "string" ? x.localeCompare(y) : x - y;
    return (sorting.up ? difference : -difference) || a.order - b.order;
  };
  const line = (row) => element("tr", {}, ...columns.map(([name, kind, , show]) => {
    if (name !== "arm") return element("td", { class: kind }, String(show(row)));
    const dot = element("span", { class: "dot", style: `background: ${colour(row.arm.arm)}` });
    return element("td", { class: kind, title: row.arm.reason ?? "" }, dot, row.arm.arm);
  }));
  byId("table").tBodies[0].replaceChildren(...all.sort(compare).map(line));
}

function leftOut() {
  const reasons = new Map();
  for (const cell of results.cells) {
    for (const arm of cell.arms.filter((arm) => arm.note ?? arm.reason)) {
      const text = `${arm.arm} ${arm.status}: ${arm.note ?? arm.reason}`;
      reasons.set(text, [...(reasons.get(text) ?? []), cell.id]);
    }
  }
  if (reasons.size === 0) return;
  const item = ([text, cells]) =>
    element("li", {}, `${text} (${cells.length === results.cells.length ? "every cell" : cells.join("; ")})`);
  byId("left-out").append(element("h2", {}, "To know of the arms"), element("ul", {}, ...[...reasons].map(item)));
}

function render() {
  tiles();
  controls();
  legend();
  charts();
  table();
}

header();
leftOut();
if (results.cells.length > 0) {
  choose(groups[0]);
  render();
  let frame = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(charts);
  });
}
