// Elements from data. Text is always text: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; a function as an attribute listens to its event. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Facts under their names: pairs of a name and a value. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.map(([name, value]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** A table that may be scrolled sideways, also by keyboard. */
export function scrolling(label, table) {
  return h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, table);
}

/** A tier by name and colour. */
export function tier(name) {
  return name === null
    ? h("span", { class: "soft" }, "–")
    : h("span", { class: `tier ${name}` }, h("span", {}, name.replace("_", " ")));
}

/** Says something to who listens instead of looking. */
export function say(words) {
  document.getElementById("said").textContent = words;
}
