// SPDX-License-Identifier: Apache-2.0
#include "search/report/page_assets.h"

namespace forall {

// Scales, ticks and the step line follow plot_frame.cc and scatter_plot.cc.
const char kPageScript[] = R"js(
(() => {
"use strict";
const source = document.getElementById("plot-data");
const svg = document.getElementById("frontier-plot");
if (!source || !svg) return;
const data = JSON.parse(source.textContent);
const f = data.frame, right = f.w - f.r, bottom = f.h - f.b;
const tip = document.getElementById("tip");
let x = data.x, y = data.y;

const format = (axis, v) => v.toLocaleString("en-US",
  {minimumFractionDigits: axis.digits, maximumFractionDigits: axis.digits});
const withUnit = axis => axis.label + (axis.unit ? ", " + axis.unit : "");
const node = (parent, name, attributes, text) => {
  const element = document.createElementNS(svg.namespaceURI, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
};

// A verdict's form.
function mark(parent, verdict, px, py, r, attributes) {
  if (verdict === "noisy") {
    return node(parent, "path", {...attributes, d: `M${px - 0.9 * r} ${py - 0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}z`});
  }
  if (verdict === "rejected") {
    return node(parent, "path", {...attributes, d: `M${px} ${py - 1.2 * r}l${1.15 * r} ${2 * r}h${-2.3 * r}z`});
  }
  return node(parent, "circle", {...attributes, cx: px, cy: py, r});
}
function scale(values, limit) {
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) return {low: 0, high: 1, step: 0.2};
  let room = (high - low) * 0.05;
  if (high - low <= Math.max(Math.abs(high), Math.abs(low)) * 1e-6) room = high === 0 ? 1 : Math.abs(high) * 0.05;
  low = low >= 0 ? Math.max(0, low - room) : low - room;
  high = high <= limit ? Math.min(limit, high + room) : high + room;
  const raw = (high - low) / 6, power = 10 ** Math.floor(Math.log10(raw)), m = raw / power;
  return {low, high, step: power * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10)};
}
function ticks(s) {
  const digits = Math.max(0, -Math.floor(Math.log10(s.step) + 1e-9)), list = [];
  for (let i = Math.ceil(s.low / s.step - 1e-9); i * s.step <= s.high + s.step * 1e-9; i++) {
    list.push([i * s.step, (i * s.step).toLocaleString("en-US",
      {minimumFractionDigits: digits, maximumFractionDigits: digits})]);
  }
  return list;
}
function staircase(points, ax, ay) {
  const sx = ax.max ? -1 : 1, sy = ay.max ? -1 : 1, steps = [];
  let best = Infinity;
  for (const p of [...points].sort((a, b) => sx * (a.v[x][0] - b.v[x][0]) || sy * (a.v[y][0] - b.v[y][0]))) {
    if (sy * p.v[y][0] >= best) continue;
    best = sy * p.v[y][0];
    steps.push(p);
  }
  return ax.max ? steps.reverse() : steps;
}

function draw() {
  const ax = data.axes[x], ay = data.axes[y];
  const points = data.points.map((p, i) => Object.assign({i}, p)).filter(p => p.v[x] && p.v[y]);
  const members = points.filter(p => p.number > 0);
  const spread = axis => [].concat(...points.map(p => p.number > 0 ? p.v[axis] : [p.v[axis][0]]));
  const sx = scale(spread(x), ax.unit === "%" ? 100 : Infinity);
  const sy = scale(spread(y), ay.unit === "%" ? 100 : Infinity);
  const X = v => f.l + (v - sx.low) / (sx.high - sx.low) * (right - f.l);
  const Y = v => bottom - (v - sy.low) / (sy.high - sy.low) * (bottom - f.t);
  svg.textContent = "";

  const frame = node(svg, "g", {class: "frame"});
  for (const [v, text] of ticks(sx)) {
    node(frame, "line", {x1: X(v), x2: X(v), y1: f.t, y2: bottom});
    node(frame, "text", {x: X(v), y: bottom + 19, class: "tick mid"}, text);
  }
  for (const [v, text] of ticks(sy)) {
    node(frame, "line", {x1: f.l, x2: right, y1: Y(v), y2: Y(v)});
    node(frame, "text", {x: f.l - 9, y: Y(v) + 4, class: "tick end"}, text);
  }
  node(frame, "path", {class: "base", d: `M${f.l} ${f.t}V${bottom}H${right}`});
  node(frame, "text", {class: "label end", x: right, y: f.h - 10}, withUnit(ax) + (ax.max ? "  → better" : "  ← better"));
  const middle = (f.t + bottom) / 2;
  node(frame, "text", {class: "label mid", x: 16, y: middle, transform: `rotate(-90 16 ${middle})`},
    withUnit(ay) + (ay.max ? "  ↑ better" : "  ↓ better"));

  const clip = node(svg, "clipPath", {id: "plot-area"});
  node(clip, "rect", {x: f.l, y: f.t, width: right - f.l, height: bottom - f.t});
  const area = node(svg, "g", {"clip-path": "url(#plot-area)"});
  for (const v of ax.bounds) node(area, "path", {class: "bound", d: `M${X(v)} ${f.t}V${bottom}`});
  for (const v of ay.bounds) node(area, "path", {class: "bound", d: `M${f.l} ${Y(v)}H${right}`});
  const steps = staircase(members, ax, ay).map(p => [X(p.v[x][0]), Y(p.v[y][0])]);
  if (steps.length) {
    const worstX = ax.max ? f.l : right, worstY = ay.max ? bottom : f.t, last = steps[steps.length - 1];
    let d = ax.max ? `M${worstX} ${steps[0][1]}H${steps[0][0]}` : `M${steps[0][0]} ${worstY}V${steps[0][1]}`;
    for (const [px, py] of steps.slice(1)) d += ax.max ? `V${py}H${px}` : `H${px}V${py}`;
    d += ax.max ? `V${worstY}` : `H${worstX}`;
    const corners = `L${ax.max ? last[0] : worstX} ${worstY}L${ax.max ? worstX : steps[0][0]} ${worstY}z`;
    node(area, "path", {class: "area", d: d + corners});
    node(area, "path", {class: "steps", d});
  }
  const bars = (list, cap) => list.map(p => {
    const [vx, lx, hx] = p.v[x], [vy, ly, hy] = p.v[y], px = X(vx), py = Y(vy);
    const across = v => cap ? `M${X(v)} ${py - cap}v${2 * cap}` : "", along = v => cap ? `M${px - cap} ${Y(v)}h${2 * cap}` : "";
    return (hx > lx ? `M${X(lx)} ${py}H${X(hx)}` + across(lx) + across(hx) : "") +
      (hy > ly ? `M${px} ${Y(ly)}V${Y(hy)}` + along(ly) + along(hy) : "");
  }).join("");
  node(area, "path", {class: "bars other-bars", d: bars(points.filter(p => !p.number), 0)});

  const others = node(svg, "g", {class: "others" + (data.points.length - members.length > 1000 ? " crowd" : "")});
  for (const p of points.filter(q => !q.number)) {
    const px = X(p.v[x][0]), py = Y(p.v[y][0]);
    if (p.kind === "infeasible") node(others, "path", {"data-i": p.i, class: "cross", d: `M${px - 3} ${py - 3}l6 6m0 -6l-6 6`});
    else mark(others, p.verdict, px, py, 3.2, {"data-i": p.i});
  }
  node(node(svg, "g", {"clip-path": "url(#plot-area)"}), "path", {class: "bars member-bars", d: bars(members, 3)});
  const group = node(svg, "g", {class: "members"}), numbers = node(svg, "g", {class: "numbers"});
  const placed = [], dx = ax.max ? 11 : -11, dy = ay.max ? -8 : 15;
  for (const p of members.filter(q => !q.knee).concat(members.filter(q => q.knee))) {
    const px = X(p.v[x][0]), py = Y(p.v[y][0]);
    const link = node(group, "a", {href: "#subnet-" + p.number, "data-i": p.i,
      class: "member" + (p.kind === "contested" ? " contested" : "") + (p.knee ? " knee" : "")});
    if (p.knee) node(link, "path", {class: "ring", d: `M${px} ${py - 12}l12 12l-12 12l-12 -12z`});
    mark(link, p.verdict, px, py, 5, {});
  }
  for (const p of members.filter(q => q.knee).concat(members.filter(q => !q.knee))) {
    const k = p.knee ? 1.3 : 1, px = X(p.v[x][0]) + k * dx, py = Y(p.v[y][0]) + k * dy;
    if (!p.knee && placed.some(([a, b]) => Math.abs(a - px) < 17 && Math.abs(b - py) < 13)) continue;
    for (let i = 0; i < (p.knee ? 4 : 1); i++) placed.push([px + i * (dx > 0 ? 16 : -16), py]);
    node(numbers, "text", {x: px, y: py, class: (dx > 0 ? "start" : "end") + (p.knee ? " knee" : "")},
      p.knee ? data.mark + " · " + p.number : p.number);
  }
  document.getElementById("plot-caption").textContent = points.length.toLocaleString("en-US") +
    (points.length === 1 ? " subnet has" : " subnets have") + " both values." +
    (members.length ? " The line joins the frontier's members that no other beats on these two axes." +
      " Numbers are those of the table." : "");
}

function show(target, clientX, clientY) {
  const p = data.points[target.dataset.i];
  if (!p) return;
  tip.textContent = "";
  const title = document.createElement("b");
  title.textContent = (p.number ? "Subnet " + p.number + " · " : "") + "trial " + p.trial + (p.knee ? " · " + data.mark : "");
  const net = document.createElement("span");
  net.textContent = p.net + {certain: "", contested: " · contested", infeasible: " · breaks a constraint", other: ""}[p.kind];
  const table = document.createElement("table");
  data.axes.forEach((axis, i) => {
    if (!p.v[i]) return;
    const row = table.insertRow(), [v, low, high] = p.v[i];
    row.insertCell().textContent = axis.label;
    row.insertCell().textContent = format(axis, v) + (high > low ? " [" + format(axis, low) + ", " + format(axis, high) + "]" : "") +
      (axis.unit ? " " + axis.unit : "");
  });
  const verdict = document.createElement("span");
  verdict.textContent = p.verdict + (p.verdict && p.reasons.length ? ": " + p.reasons.join(", ") : "");
  tip.append(title, net, table, verdict);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(8, clientX + 16 + box.width > innerWidth ? clientX - box.width - 16 : clientX + 16) + "px";
  tip.style.top = Math.max(8, Math.min(clientY + 14, innerHeight - box.height - 8)) + "px";
}

// The nearest subnet within reach, so that small dots need no steady hand.
function nearest(event) {
  let best = null, least = 20;
  for (const element of svg.querySelectorAll("[data-i]")) {
    const box = element.getBoundingClientRect();
    const distance = Math.hypot(event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2) -
      (element.classList.contains("member") ? 4 : 0);
    if (distance < least) { least = distance; best = element; }
  }
  return best;
}
let hovered = null;
function hover(element, clientX, clientY) {
  if (hovered && hovered !== element) hovered.classList.remove("hover");
  hovered = element;
  if (!element) { tip.hidden = true; return; }
  element.classList.add("hover");
  show(element, clientX, clientY);
}
svg.addEventListener("pointermove", event => hover(nearest(event), event.clientX, event.clientY));
svg.addEventListener("pointerleave", () => hover(null));
svg.addEventListener("focusin", event => {
  const element = event.target.closest("[data-i]");
  if (!element) return;
  const box = element.getBoundingClientRect();
  hover(element, box.right, box.bottom);
});
svg.addEventListener("focusout", () => hover(null));
// The browser's own tooltips would cover these.
svg.querySelectorAll("title").forEach(title => title.remove());

const usable = data.axes.map((axis, i) => data.points.some(p => p.v[i]) ? i : -1).filter(i => i >= 0);
if (usable.length > 1) {
  const fill = (id, chosen, set) => {
    const select = document.getElementById(id);
    for (const i of usable) select.add(new Option(data.axes[i].label, i, i === chosen, i === chosen));
    select.addEventListener("change", () => { set(Number(select.value)); hover(null); draw(); });
  };
  fill("axis-y", y, i => { y = i; });
  fill("axis-x", x, i => { x = i; });
  document.getElementById("axis-choice").hidden = false;
}
})();
)js";

}  // namespace forall
