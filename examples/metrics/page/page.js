// The status page: asks /status.json every two seconds and shows what it says. Rates are differences
// of two answers. Text of peers is only ever set as text.
"use strict";

const PERIOD_MS = 2000;
const KEPT = 300; // answers in the plots
const byId = (id) => document.getElementById(id);

let token = "";
let paused = false;
let before = null;
let charts = null;
const kept = { times: [], iops: [[], []], rate: [[], []], latency: [[], []], pools: [[], []] };

// Text.

const count = (value) => Math.round(value).toLocaleString("en");
function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (value >= 1024 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
function time(ns) {
  if (ns < 1e6) return `${(ns / 1e3).toFixed(0)} µs`;
  return ns < 1e9 ? `${(ns / 1e6).toFixed(ns < 1e7 ? 1 : 0)} ms` : `${(ns / 1e9).toFixed(1)} s`;
}
function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const shown = [];
  for (const [size, name] of parts) {
    if (seconds >= size && shown.length < 2) shown.push(`${Math.floor(seconds / size)} ${name}`);
    seconds %= size;
  }
  return shown.join(" ") || "0 s";
}
const mean = (sum) => (sum.completed > 0 ? time(sum.ns / sum.completed) : "–");

// Elements.

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}
// `columns`: [heading, class]; a row is a list of texts.
function table(caption, columns, rows) {
  const cells = (kind, texts, scope) => element("tr", {}, ...texts.map((text, i) => {
    const cell = element(scope ? "th" : kind, { className: columns[i][1] || "" }, text);
    if (scope) cell.scope = "col";
    return cell;
  }));
  const body = rows.length > 0 ? rows.map((row) => cells("td", row)) :
    [element("tr", {}, element("td", { colSpan: columns.length }, "none"))];
  const box = element("div", { className: "scroll", tabIndex: 0 }, element("table", {},
    element("caption", {}, caption),
    element("thead", {}, cells("th", columns.map((column) => column[0]), true)),
    element("tbody", {}, ...body)));
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", caption);
  return box;
}
function show(id, ...nodes) {
  const place = byId(id);
  const scrolled = [...place.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  if (place.contains(document.activeElement)) return; // who reads it with the keyboard keeps it
  place.replaceChildren(...nodes);
  place.querySelectorAll(".scroll").forEach((box, i) => { box.scrollLeft = scrolled[i] || 0; });
}

// What the parts show.

const N = "number";
const IO_COLUMNS = [["reads", N], ["read", N], ["mean", N], ["writes", N], ["written", N], ["mean", N], ["errors", N], ["slow", N]];
const ioCells = (io) => [count(io.reads.completed), bytes(io.reads.bytes), mean(io.reads),
  count(io.writes.completed), bytes(io.writes.bytes), mean(io.writes), count(io.errors), count(io.slow)];

function showTargets(status) {
  const unit = status.protocol === "nvme" ? "namespace" : "LUN";
  show("targets", ...status.targets.map((target) => table(
    `${target.name}${target.any_host ? ", for any host" : ""}`,
    [[unit, N], ["store", "name"], ["size", N], ...IO_COLUMNS],
    target.units.map((each) => [String(each.number), each.store, bytes(each.bytes), ...ioCells(each.io)]))));
}
function showSessions(status) {
  const nvme = status.protocol === "nvme";
  show("sessions", table(nvme ? "Controllers" : "Sessions",
    [[nvme ? "controller" : "session", N], ["host", "name"], ["subsystem", "name"], [nvme ? "queues (worker)" : "worker", "name"]],
    status.sessions.map((each) => [String(each.number), each.host, each.target,
      each.queues.map((q) => (nvme ? `${q.number} (${q.worker})` : q.worker)).join(", ")])));
}
function showLatency(status) {
  const label = (i) => (i < status.latency_bounds_ns.length ? `up to ${time(status.latency_bounds_ns[i])}` : "longer");
  const rows = status.read_latencies.map((reads, i) => [label(i), count(reads), count(status.write_latencies[i]), reads + status.write_latencies[i]]);
  show("latency", table("Reads and writes by their time", [["time", ""], ["reads", N], ["writes", N]],
    rows.filter((row) => row[3] > 0).map((row) => row.slice(0, 3))));
}
function showPools(status) {
  const pools = status.devices.filter((device) => device.pool);
  show("pools", table("MR pools", [["device", "name"], ["MRs", N], ["in use", N], ["high water", N], ["gets", N], ["waits", N], ["waited", N], ["exhaustions", N], ["repairs", N]],
    pools.map(({ name, pool }) => [name, count(pool.size), count(pool.in_use), count(pool.high_water), count(pool.gets), count(pool.waits), time(pool.wait_ns), count(pool.exhaustions), count(pool.repairs)])));
  show("workers", table("Workers", [["worker", N], ["connections", N], ["staging in use", N], ["high water", N], ["of", N], ["waits", N], ["waited", N]],
    status.workers.map((each, i) => [String(i), count(each.connections), count(each.chunks_in_use), count(each.chunks_high_water), count(each.chunks), count(each.waits), time(each.wait_ns)])));
  show("devices", ...status.devices.map((device) => table(device.name, [["counter", "name"], ["value", N]],
    Object.entries(device.counters).map(([name, value]) => [name, count(value)]))));
}
function showAll(status) {
  const hosts = status.protocol === "nvme" ? "Hosts" : "Initiators";
  document.title = `${status.program}: status`;
  byId("program").textContent = status.program;
  byId("about").textContent = `${status.version}, up ${duration(status.uptime_s)}, listening on ${status.listening.join(", ") || "nothing"}`;
  byId("h-targets").textContent = status.protocol === "nvme" ? "Subsystems" : "Targets";
  byId("h-hosts").textContent = hosts;
  byId("h-sessions").textContent = status.protocol === "nvme" ? "Controllers and queues" : "Sessions";
  const hung = byId("warning");
  hung.hidden = status.hung_stores.length === 0;
  hung.textContent = `Does not answer: ${status.hung_stores.join(", ")}`;
  showTargets(status);
  show("hosts", table(hosts, [["name", "name"], ["connections", N], ...IO_COLUMNS],
    status.hosts.map((host) => [host.name, count(host.connections), ...ioCells(host.io)])));
  showSessions(status);
  showLatency(status);
  showPools(status);
}

// A reader of screens hears what changes.
function say(text) {
  if (byId("state").textContent !== text) byId("state").textContent = text;
}

// Rates.

function totals(status) {
  const sum = { reads: { completed: 0, bytes: 0, ns: 0 }, writes: { completed: 0, bytes: 0, ns: 0 }, errors: 0 };
  for (const { io } of status.hosts) {
    for (const way of ["reads", "writes"]) {
      for (const key of ["completed", "bytes", "ns"]) sum[way][key] += io[way][key];
    }
    sum.errors += io.errors;
  }
  return sum;
}
function share(entries, used, size) {
  const all = entries.reduce((sum, each) => sum + each[size], 0);
  return all > 0 ? (100 * entries.reduce((sum, each) => sum + each[used], 0)) / all : 0;
}
function note(now, status) {
  const sum = totals(status);
  const pools = status.devices.filter((device) => device.pool).map((device) => device.pool);
  const shares = [share(pools, "in_use", "size"), share(status.workers, "chunks_in_use", "chunks")];
  const rates = { iops: [0, 0], rate: [0, 0], latency: [null, null] };
  if (before) {
    const seconds = Math.max((now - before.now) / 1000, 0.001);
    ["reads", "writes"].forEach((way, i) => {
      // A restart begins again at zero.
      const change = (key) => Math.max(0, sum[way][key] - before.sum[way][key]);
      rates.iops[i] = change("completed") / seconds;
      rates.rate[i] = change("bytes") / seconds / 1e6;
      rates.latency[i] = change("completed") > 0 ? change("ns") / change("completed") / 1e6 : null;
    });
    kept.times.push(now / 1000);
    for (const [key, values] of Object.entries({ ...rates, pools: shares })) {
      values.forEach((value, i) => kept[key][i].push(value));
    }
    const lists = [kept.times, ...kept.iops, ...kept.rate, ...kept.latency, ...kept.pools];
    if (kept.times.length > KEPT) lists.forEach((list) => list.shift());
  }
  before = { now, sum };
  showNow(status, sum, rates);
}
function showNow(status, sum, rates) {
  const connections = status.workers.reduce((all, worker) => all + worker.connections, 0);
  const tiles = [["Connections", count(connections)], ["Reads/s", count(rates.iops[0])], ["Writes/s", count(rates.iops[1])],
    ["Read MB/s", rates.rate[0].toFixed(1)], ["Write MB/s", rates.rate[1].toFixed(1)], ["Errors", count(sum.errors)]];
  byId("now").replaceChildren(...tiles.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}
function draw() {
  charts = charts || {
    iops: chart("plot-iops", ["reads", "writes"]), rate: chart("plot-rate", ["reads", "writes"]),
    latency: chart("plot-latency", ["reads", "writes"]), pools: chart("plot-pools", ["MRs", "staging"]),
  };
  for (const [key, each] of Object.entries(charts)) each.show([kept.times, ...kept[key]]);
}

// The loop.

async function ask() {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch("status.json", { headers, cache: "no-store", signal: AbortSignal.timeout(10000) });
  if (answer.status === 401) return null;
  if (!answer.ok) throw new Error(`the daemon answered ${answer.status}`);
  return answer.json();
}
async function look() {
  try {
    const status = await ask();
    byId("login").hidden = status !== null;
    byId("content").hidden = status === null;
    if (status === null) {
      say(token ? "That token is not the daemon's." : "This daemon asks for a token.");
      token = "";
      return; // until one is given
    }
    showAll(status);
    note(Date.now(), status);
    draw();
    say("Live");
    document.body.dataset.shown = kept.times.length; // for tests
  } catch (error) {
    say(`No answer (${error.message}); trying again`);
  }
  setTimeout(() => (paused ? wait() : look()), PERIOD_MS);
}
function wait() {
  setTimeout(() => (paused ? wait() : look()), 200);
}
byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  say(paused ? "Paused" : "Live");
});
byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  look();
});
look();
