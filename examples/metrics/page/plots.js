// Plots of values over time: by uPlot where the build has it, else by a few lines of SVG.
"use strict";

// The colors of the page, which follow the reader's choice of light or dark.
function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const SERIES_COLORS = ["--accent", "--second", "--third"];

class UPlotChart {
  constructor(place, names) {
    this.place = place;
    this.names = names;
    this.data = [[], ...names.map(() => [])];
    this.make();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.plot.destroy();
      this.make();
    });
  }
  size() {
    return { width: Math.max(this.place.clientWidth, 120), height: this.place.clientHeight - 28 };
  }
  make() {
    const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
    const options = {
      ...this.size(),
      axes: [axis, { ...axis, size: 56 }],
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      cursor: { y: false },
      series: [{}, ...this.names.map((label, i) => ({ label, stroke: color(SERIES_COLORS[i % 3]), width: 2, dash: i > 0 ? [6 * i, 4] : undefined }))],
    };
    this.plot = new uPlot(options, this.data, this.place);
  }
  show(data) {
    this.data = data;
    this.plot.setData(data);
  }
}

class SvgChart {
  constructor(place, names) {
    this.place = place;
    this.names = names;
  }
  node(name, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }
  show(data) {
    const [times, ...lines] = data;
    const most = Math.max(0, ...lines.flat().map((v) => v || 0));
    const high = most > 0 ? most * 1.1 : 1;
    const svg = this.node("svg", { viewBox: "0 0 400 200", preserveAspectRatio: "none" });
    const first = times[0] || 0;
    const span = Math.max(1, (times[times.length - 1] || 0) - first);
    lines.forEach((line, i) => {
      const points = line.map((v, at) => (v === null ? "" : `${((times[at] - first) / span) * 400},${180 - (v / high) * 170}`));
      svg.append(this.node("polyline", { points: points.filter(Boolean).join(" "), fill: "none", stroke: color(SERIES_COLORS[i % 3]), "stroke-width": 2, "stroke-dasharray": i > 0 ? "6 4" : "none" }));
    });
    svg.append(this.node("text", { x: 4, y: 14, fill: color("--dim"), "font-size": 12 }, high.toPrecision(3)));
    svg.append(this.node("text", { x: 4, y: 196, fill: color("--dim"), "font-size": 12 }, this.names.join(", ")));
    this.place.replaceChildren(svg);
  }
}

function chart(id, names) {
  const place = document.getElementById(id);
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `${place.previousElementSibling.textContent}: ${names.join(", ")}`);
  return typeof uPlot === "function" ? new UPlotChart(place, names) : new SvgChart(place, names);
}
