// Which page an address means: #/, #/epoch/ID, #/miner/EPOCH/HOTKEY.

import * as api from "./api.js";
import * as board from "./board.js";
import { h, say } from "./dom.js";
import * as miner from "./miner.js";

const view = document.getElementById("view");
let turn = 0; // an answer that comes after the reader went on is not shown

async function page(parts) {
  const { epochs } = await api.epochs();
  const newest = epochs[0].epoch_id;
  if (parts[0] === "miner" && parts.length === 3) return [`Miner ${parts[2].slice(0, 8)}… in ${parts[1]}`, await miner.show(parts[1], parts[2], epochs)];
  const epoch = parts[0] === "epoch" && parts[1] ? parts[1] : newest;
  return [`Epoch ${epoch}`, await board.show(epoch, epochs)];
}

function refused(error) {
  const told = error.code === "nothing_published"
    ? ["Nothing is published yet", "The leaderboard appears with the first epoch that is settled: make demo plays thirty."]
    : ["This cannot be shown", error.message];
  return [told[0], [h("h1", { tabindex: "-1" }, told[0]), h("p", { class: "empty" }, told[1]), h("p", {}, h("a", { href: "#/" }, "To the leaderboard"))]];
}

async function render(first) {
  const mine = ++turn;
  const parts = decodeURIComponent(location.hash.replace(/^#\/?/, "")).split("/").filter(Boolean);
  view.setAttribute("aria-busy", "true");
  let made;
  try {
    made = await page(parts);
  } catch (error) {
    if (!(error instanceof api.Refused)) throw error;
    made = refused(error);
  }
  if (mine !== turn) return;
  const [title, content] = made;
  document.title = `${title} · QUANTA`;
  view.replaceChildren(...content.flat(2));
  view.removeAttribute("aria-busy");
  if (first) return;
  scrollTo(0, 0);
  view.querySelector("h1").focus();
  say(title);
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  view.focus();
});
addEventListener("hashchange", () => render(false));
render(true);
