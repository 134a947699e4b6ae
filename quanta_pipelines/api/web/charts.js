// Pictures: a score with its interval in a table's cell, and equity with its drawdown by epoch.

import { h, s } from "./dom.js";
import { percent } from "./format.js";

const LEFT = 86; // room for a percentage also in the larger letters of a phone

/** A score between 0 and 1 with its interval; the numbers stand in its title. */
export function span(value, lower, upper, tier) {
  const x = (at) => 4 + at * 112;
  const known = lower !== null && upper !== null;
  const words = known ? `between ${lower.toFixed(3)} and ${upper.toFixed(3)}` : "no interval";
  return s("svg", { class: `span ${tier}`, viewBox: "0 0 120 16", role: "img", "aria-label": words },
    s("title", {}, words),
    s("line", { x1: 4, x2: 116, y1: 8, y2: 8 }),
    known ? s("line", { class: "whisker", x1: x(lower), x2: x(upper), y1: 8, y2: 8 }) : null,
    value === null ? null : s("circle", { cx: x(value), cy: 8, r: 3.5 }));
}

/** Equity of a miner and of the benchmark by epoch, its drawdown below. */
export function equity(record) {
  const lines = record.filter((line) => line.level !== null);
  if (lines.length === 0) return h("p", { class: "empty" }, "Nothing was held yet, so there is no curve.");
  const own = [1, ...lines.map((line) => line.level)];
  const benchmark = [1, ...lines.map((line) => line.benchmark_level ?? 1)];
  const fall = [0, ...lines.map((line) => line.drawdown ?? 0)];
  const low = Math.min(...own, ...benchmark), high = Math.max(...own, ...benchmark);
  const deepest = Math.max(...fall, 0.01);
  const x = (at) => LEFT + ((704 - LEFT) * at) / (own.length - 1);
  const y = (level) => 12 + (170 * (high - level)) / (high - low || 1);
  const d = (depth) => 200 + (44 * depth) / deepest;
  const path = (values, height) => values.map((value, at) => `${x(at).toFixed(1)},${height(value).toFixed(1)}`).join(" ");
  const mark = (level) => [
    s("line", { class: "grid", x1: LEFT, x2: 704, y1: y(level), y2: y(level) }),
    s("text", { class: "end", x: LEFT - 6, y: y(level) + 4 }, percent(level - 1, 1))];
  const last = lines.at(-1);
  const words = `Equity by epoch: ${percent(last.level - 1)} since ${lines[0].epoch_id}, `
    + `benchmark ${percent((last.benchmark_level ?? 1) - 1)}, deepest drawdown ${percent(-Math.max(...fall))}`;
  return h("figure", {},
    s("svg", { viewBox: "0 0 720 272", role: "img", "aria-label": words },
      mark(high), low < 1 && high > 1 ? mark(1) : null, mark(low),
      s("polyline", { class: "benchmark", points: path(benchmark, y) }),
      s("polyline", { class: "own", points: path(own, y) }),
      s("polygon", { class: "drawdown", points: `${x(0)},200 ${path(fall, d)} ${x(own.length - 1)},200` }),
      s("line", { class: "grid", x1: LEFT, x2: 704, y1: 200, y2: 200 }),
      s("text", { class: "end", x: LEFT - 6, y: d(deepest) + 4 }, percent(-deepest, 1)),
      s("text", { x: LEFT, y: 266 }, lines[0].epoch_id),
      lines.length > 1 ? s("text", { class: "end", x: 704, y: 266 }, last.epoch_id) : null),
    h("figcaption", {},
      h("span", { class: "key" }, "miner"), h("span", { class: "key benchmark" }, "benchmark"),
      h("span", { class: "key drawdown" }, "drawdown")));
}
