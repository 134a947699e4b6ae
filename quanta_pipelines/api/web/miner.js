// One miner in one epoch: what it got, why, what else it would have got, and its record so far.

import * as api from "./api.js";
import { chooser } from "./board.js";
import { equity } from "./charts.js";
import { facts, h, say, scrolling, tier } from "./dom.js";
import { alpha, brief, change, decimals, fact, percent, short } from "./format.js";

const BASIS = {
  settlement: "votes and ranks as they are",
  own_scores: "by this validator's scores alone",
  position: "only this miner moved",
};
const SCORES = ["sortino_score", "calmar_score", "drawdown_score", "turnover_score", "horizon_score"];
const MEASURES = ["total_return", "volatility", "max_drawdown", "sharpe_ratio", "sortino_ratio", "calmar_ratio"];

/** The page of a miner. */
export async function show(epoch, hotkey, known) {
  const told = await api.explanation(epoch, hotkey);
  const last = told.record.at(-1);
  const played = known.filter((one) => told.record.some((line) => line.epoch_id === one.epoch_id) || one.epoch_id >= epoch);
  return [
    h("div", { class: "head" },
      h("div", {},
        h("h1", { class: "hotkey", tabindex: "-1" }, h("span", { class: "mono", title: hotkey }, short(hotkey)), copy(hotkey)),
        h("p", { class: "soft" }, told.summary)),
      h("div", { class: "controls" }, chooser(epoch, played, (id) => `#/miner/${id}/${hotkey}`))),
    facts([
      ["settled as", last.tier ? tier(last.tier) : told.standing],
      ["rank", last.rank === null ? "–" : String(last.rank)],
      ["final score", decimals(last.final_score, 6)],
      ["return of the epoch", percent(last.epoch_return)],
      ["paid, ALPHA", alpha(last.payout_rao)]]),
    h("h2", {}, "Equity"),
    h("p", {}, "By epoch: returns by session are the miner's own to see."),
    equity(told.record),
    h("h2", {}, "Scores by horizon"),
    horizons(told.steps.find((step) => step.name === "horizons")),
    h("h2", {}, "Why"),
    h("p", {}, "Every number with the row it stands in, from the commitment to the payout."),
    told.steps.map(section),
    h("h2", {}, "If one thing were different"),
    h("p", {}, "Computed by the rules that settle epochs, with one of them changed."),
    otherwise(told),
    h("h2", {}, "Rewards"),
    rewards(told.record, hotkey),
  ];
}

function copy(hotkey) {
  const button = h("button", { type: "button", "aria-label": "Copy the hotkey", click: async () => {
    await navigator.clipboard.writeText(hotkey);
    button.textContent = "Copied";
    say("The hotkey was copied");
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return button;
}

function horizons(step) {
  const groups = [...new Set(step.facts.map((one) => one.group))];
  if (groups.length === 0) return h("p", { class: "empty" }, step.says);
  const value = (group, name) => step.facts.find((one) => one.group === group && one.name === name);
  const row = (name) => {
    const label = value(groups[0], name).label;
    return h("tr", {}, h("th", { scope: "row" }, label), groups.map((group) => h("td", {}, brief(value(group, name)))));
  };
  const head = h("tr", {}, h("th", { scope: "col", class: "left" }, "Measure"), groups.map((group) => h("th", { scope: "col" }, group)));
  return scrolling("Scores by horizon", h("table", {}, h("thead", {}, head), h("tbody", {}, [...MEASURES, ...SCORES].map(row))));
}

function section(step) {
  const rows = [];
  let group = "";
  for (const one of step.facts) {
    if (one.group !== group) {
      group = one.group;
      rows.push(h("tr", { class: "group" }, h("th", { scope: "colgroup", colspan: "3" }, group || "Altogether")));
    }
    rows.push(h("tr", {}, h("th", { scope: "row" }, one.label), h("td", {}, fact(one)), h("td", { class: "where" }, where(one))));
  }
  const head = h("tr", {}, h("th", { scope: "col", class: "left" }, "What"), h("th", { scope: "col" }, "Value"), h("th", { scope: "col", class: "left" }, "From"));
  return h("details", { open: step.name === "payout" ? "" : null },
    h("summary", {}, h("b", {}, step.title), h("span", {}, step.says)),
    rows.length ? scrolling(step.title, h("table", {}, h("thead", {}, head), h("tbody", {}, rows))) : null);
}

function where(one) {
  if (one.source === null) return one.formula;
  const key = Object.values(one.source.key).map((value) => (value.length > 20 ? short(value) : value)).join(", ");
  const cell = h("span", { class: "mono", title: JSON.stringify(one.source.key) }, `${one.source.table}[${key}].${one.source.column}`);
  return one.formula ? h("span", {}, cell, h("br"), one.formula) : cell;
}

function otherwise(told) {
  if (told.counterfactuals.length === 0) return h("p", { class: "empty" }, told.without_counterfactuals);
  const rows = told.counterfactuals.map((one) => h("tr", {},
    h("th", { scope: "row" }, one.label),
    h("td", {}, one.rank === null ? "–" : String(one.rank), one.base_rank !== null && one.base_rank !== one.rank ? h("span", { class: "soft" }, ` from ${one.base_rank}`) : null),
    h("td", {}, alpha(one.payout_rao)),
    h("td", { class: one.change_rao.startsWith("-") ? "minus" : one.change_rao === "0" ? "soft" : "plus" }, one.change_rao === "0" ? "no change" : change(one.change_rao)),
    h("td", { class: "where wide" }, BASIS[one.basis])));
  const head = h("tr", {}, ["If", "Rank", "Paid, ALPHA", "Change", "Compared"].map((name, at) =>
    h("th", { scope: "col", class: at === 0 ? "left" : at === 4 ? "left wide" : null }, name)));
  return scrolling("If one thing were different", h("table", {}, h("thead", {}, head), h("tbody", {}, rows)));
}

function rewards(record, hotkey) {
  const rows = record.toReversed().map((line) => h("tr", {},
    h("th", { scope: "row" }, h("a", { href: `#/miner/${line.epoch_id}/${hotkey}` }, line.epoch_id)),
    h("td", { class: "left" }, line.tier ? tier(line.tier) : line.standing),
    h("td", {}, line.rank === null ? "–" : String(line.rank)),
    h("td", { class: "wide" }, decimals(line.final_score, 6)),
    h("td", {}, percent(line.epoch_return)),
    h("td", { class: "wide" }, alpha(line.ante_rao)),
    h("td", {}, alpha(line.payout_rao))));
  const names = ["Epoch", "Settled as", "Rank", "Final score", "Return", "Ante", "Paid, ALPHA"];
  const head = h("tr", {}, names.map((name, at) => h("th", { scope: "col", class: at < 2 ? "left" : at === 3 || at === 5 ? "wide" : null }, name)));
  return scrolling("Rewards by epoch", h("table", {}, h("thead", {}, head), h("tbody", {}, rows)));
}
