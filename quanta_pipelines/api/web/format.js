// Numbers as people read them. Money stays whole: rao are big integers, never floats.

const RAO = 1_000_000_000n;

/** Rao as ALPHA with some decimals, cut off, thousands grouped; all nine where asked. */
export function alpha(rao, decimals = 2) {
  const amount = BigInt(rao), size = amount < 0n ? -amount : amount;
  const rest = String(size % RAO).padStart(9, "0").slice(0, decimals);
  const whole = (size / RAO).toLocaleString("en-US");
  return `${amount < 0n ? "−" : ""}${whole}${decimals ? `.${rest}` : ""}`;
}

/** A change of money with its sign. */
export function change(rao) {
  return BigInt(rao) > 0n ? `+${alpha(rao)}` : alpha(rao);
}

export function percent(value, decimals = 2) {
  if (value === null) return "–";
  const text = (Math.abs(value) * 100).toFixed(decimals);
  const sign = Number(text) === 0 ? "" : value < 0 ? "−" : "+";
  return `${sign}${text} %`;
}

export function share(value, decimals = 2) {
  return value === null ? "–" : `${(value * 100).toFixed(decimals)} %`;
}

export function decimals(value, n) {
  return value === null ? "–" : value.toFixed(n).replace("-", "−");
}

export function short(hotkey) {
  return `${hotkey.slice(0, 8)}…${hotkey.slice(-4)}`;
}

/** The same where there is little room; every digit stands in the steps below. */
export function brief(one) {
  if (one.value === null) return "–";
  const value = Number(one.value);
  if (one.kind === "percent") return signed(one.name) ? percent(value) : share(value);
  return decimals(value, one.kind === "score" ? 4 : 2);
}

/** Whether a percentage may be a loss; volatility, weight and drawdown never are. */
const signed = (name) => /return|contribution|^\d{4}-/.test(name);

/** A fact's text in the unit of its kind. */
export function fact({ name, value, kind }) {
  if (value === null) return "–";
  if (kind === "rao") return `${alpha(value, 9)} ALPHA`;
  if (kind === "percent") return signed(name) ? percent(Number(value), 4) : share(Number(value), 4);
  if (kind === "ratio") return decimals(Number(value), 4);
  if (kind === "score") return String(Number(Number(value).toPrecision(9)));
  if (kind === "moment") return `${value.slice(0, 16).replace("T", " ")} UTC`;
  return value.replaceAll("_", " ");
}
