// The leaderboard of one epoch: who is ranked, what they earned, and who is not ranked and why.

import * as api from "./api.js";
import { span } from "./charts.js";
import { facts, h, say, scrolling, tier } from "./dom.js";
import { alpha, decimals, percent, share, short } from "./format.js";

const COLUMNS = [
  { name: "Rank", by: (e) => e.rank },
  { name: "Miner", by: (e) => e.miner_hotkey, left: true },
  { name: "Tier", by: (e) => e.rank, left: true },
  { name: "Score", by: (e) => e.composite_score, down: true },
  { name: "Interval", wide: true, left: true },
  { name: "Return 30", by: (e) => e.return_30d, down: true, wide: true },
  { name: "Sharpe", by: (e) => e.sharpe_30d, down: true, wide: true },
  { name: "Drawdown", by: (e) => e.max_drawdown_30d, wide: true },
  { name: "Reward", by: (e) => BigInt(e.reward_rao), down: true, wide: true },
  { name: "Payout", by: (e) => BigInt(e.payout_rao), down: true },
];

/** The page of an epoch. */
export async function show(epoch, known) {
  const [board, economy, everyone] = await Promise.all([
    api.board(epoch), api.economy(epoch),
    api.standings(epoch).catch((refused) => { if (refused.code === "not_explained") return null; throw refused; })]);
  const state = { query: "", tier: "", column: 0, down: false };
  const body = h("tbody");
  const none = h("p", { class: "empty", hidden: "" }, "No miner fits. Clear the search or choose another tier.");
  const heads = COLUMNS.map((column, at) => head(column, () => {
    state.down = state.column === at ? !state.down : Boolean(column.down);
    state.column = at;
    fill();
    say(`Sorted by ${column.name}, ${state.down ? "highest" : "lowest"} first`);
  }));
  const fill = () => {
    const found = arranged(board.entries, state);
    body.replaceChildren(...found.map((entry) => row(entry, epoch)));
    none.hidden = found.length > 0;
    heads.forEach((cell, at) => {
      if (at === state.column) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    return found.length;
  };
  fill();
  const changed = (field) => (event) => { state[field] = event.target.value.trim(); say(`${fill()} miners shown`); };
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", { tabindex: "-1" }, `Epoch ${epoch}`), h("p", { class: "soft" }, told(economy, known, epoch))),
      h("div", { class: "controls" }, chooser(epoch, known, (id) => `#/epoch/${id}`))),
    facts([
      ["ranked miners", String(economy.total_signals)],
      ["earned a reward", String(known.find((one) => one.epoch_id === epoch)?.paid ?? "–")],
      ["paid out, ALPHA", alpha(economy.total_distributed_rao)],
      ["burned, ALPHA", alpha(economy.total_burned_rao)],
      ["median score", decimals(board.median_score, 6)]]),
    h("h2", {}, "Ranking"),
    h("div", { class: "controls" },
      h("label", {}, "Search a hotkey", h("input", { type: "search", input: changed("query"), autocomplete: "off", spellcheck: "false" })),
      h("label", {}, "Tier", h("select", { change: changed("tier") }, h("option", { value: "" }, "all tiers"),
        ["top_tier", "profitable", "break_even", "penalty_band"].map((name) => h("option", { value: name }, name.replace("_", " ")))))),
    board.entries.length
      ? scrolling("Ranking", h("table", { class: "board" }, h("thead", {}, h("tr", {}, heads)), body))
      : h("p", { class: "empty" }, "Nobody is ranked in this epoch."),
    none,
    ...others(everyone, epoch),
  ];
}

/** Chooses an epoch: a list, and a step to either side. */
export function chooser(epoch, known, target) {
  const ids = known.map((one) => one.epoch_id), at = ids.indexOf(epoch);
  const go = (id) => { location.hash = target(id); };
  const step = (label, sign, id) =>
    h("button", { type: "button", "aria-label": label, disabled: id === undefined ? "" : null, click: () => go(id) }, sign);
  const list = h("select", { change: (event) => go(event.target.value) },
    ids.map((id) => h("option", { value: id, selected: id === epoch ? "" : null }, id)));
  return h("div", { class: "pair" },
    step("Earlier epoch", "‹", ids[at + 1]), h("label", {}, "Epoch", list), step("Later epoch", "›", at > 0 ? ids[at - 1] : undefined));
}

function head(column, sort) {
  const shown = column.by ? h("button", { type: "button", click: sort }, column.name) : column.name;
  return h("th", { scope: "col", class: classes(column) }, shown);
}

function classes(column) {
  return [column.left && "left", column.wide && "wide"].filter(Boolean).join(" ") || null;
}

function row(entry, epoch) {
  const cell = (at, ...inside) => h("td", { class: classes(COLUMNS[at]) }, ...inside);
  const settled = entry.final_tier ?? entry.performance_tier;
  return h("tr", {},
    cell(0, String(entry.rank)),
    h("th", { scope: "row" }, h("a", { class: "mono", href: `#/miner/${epoch}/${entry.miner_hotkey}`, title: entry.miner_hotkey }, short(entry.miner_hotkey))),
    cell(2, tier(settled)),
    cell(3, decimals(entry.composite_score, 6)),
    cell(4, span(entry.composite_score, entry.score_lower, entry.score_upper, settled)),
    cell(5, percent(entry.return_30d)),
    cell(6, decimals(entry.sharpe_30d, 2)),
    cell(7, share(entry.max_drawdown_30d)),
    cell(8, alpha(entry.reward_rao)),
    cell(9, alpha(entry.payout_rao)));
}

function arranged(entries, state) {
  const wanted = state.query.toLowerCase(), by = COLUMNS[state.column].by;
  const kept = entries.filter((entry) => entry.miner_hotkey.toLowerCase().includes(wanted)
    && (!state.tier || entry.final_tier === state.tier));
  const compared = (one, other) => {
    const [a, b] = [by(one), by(other)];
    if (a === b) return one.rank - other.rank;
    if (a === null || b === null) return a === null ? 1 : -1; // what is not known comes last
    return (a < b ? -1 : 1) * (state.down ? -1 : 1);
  };
  return kept.sort(compared);
}

function others(everyone, epoch) {
  if (everyone === null) return [];
  const left = everyone.entries.filter((entry) => entry.standing !== "ranked");
  const rows = left.map((entry) => h("tr", {},
    h("th", { scope: "row" }, h("a", { class: "mono", href: `#/miner/${epoch}/${entry.miner_hotkey}`, title: entry.miner_hotkey }, short(entry.miner_hotkey))),
    h("td", { class: "left" }, entry.standing),
    h("td", { class: "left wrap" }, entry.reason)));
  const head = h("tr", {}, ["Miner", "Standing", "Reason"].map((name) => h("th", { scope: "col", class: "left" }, name)));
  return [h("h2", {}, "Not ranked"),
    left.length ? scrolling("Not ranked", h("table", {}, h("thead", {}, head), h("tbody", {}, rows)))
      : h("p", { class: "empty" }, "Everyone who took part is ranked.")];
}

function told(economy, known, epoch) {
  const words = economy.has_consensus ? "Rank and tier by the validators' consensus. " : "No consensus: antes went back. ";
  return known.find((one) => one.epoch_id === epoch)?.report
    ? h("span", {}, words, h("a", { href: `/reports/${epoch}.html` }, "The epoch's report")) : words;
}
