// Elements of the page.

/** Keys that move a selection -> change of row and column. */
export const ARROW_KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** An HTML element. String children become text nodes: nothing that comes from a run is ever parsed as HTML. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** An SVG element. */
export function svg(name, properties = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A section of the page with its heading; `intro` is a sentence or null. */
export function section(id, heading, intro, ...content) {
  const lead = intro ? h("p", { class: "intro" }, intro) : null;
  const title = h("h2", { id: `${id}-heading`, tabindex: "-1" }, heading);
  return h("section", { id, "aria-labelledby": `${id}-heading` }, title, lead, content);
}

/** A table that scrolls on its own where it is too wide, also by keyboard. */
export function scrollable(label, table) {
  return h("div", { class: "scrollable", tabindex: "0", role: "region", "aria-label": label }, table);
}

/** Terms and their descriptions. */
export function definitions(pairs) {
  const items = pairs.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]);
  return h("dl", { class: "definitions" }, items);
}
