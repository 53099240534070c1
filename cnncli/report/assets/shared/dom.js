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

/** Set the text of an element that contains nothing else. The same text again costs nothing, another one no new node. */
export function setText(element, text) {
  const node = element.firstChild;
  if (!node) element.append(text);
  else if (node.data !== text) node.data = text;
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

/**
 * A box that scrolls on its own where its content is too wide or too high for it. Only then is it a tab stop, so that
 * it can be scrolled by keyboard, and only then does it say so.
 */
export function scrollable(label, content) {
  const hint = h("p", { class: "scroll-hint", hidden: true });
  const box = h("div", { class: "scrollable" }, content);
  const update = () => {
    const wide = box.scrollWidth > box.clientWidth + 1;
    const high = box.scrollHeight > box.clientHeight + 1;
    const attributes = wide || high ? { tabindex: "0", role: "region", "aria-label": label } : {};
    for (const name of ["tabindex", "role", "aria-label"]) {
      if (name in attributes) box.setAttribute(name, attributes[name]);
      else box.removeAttribute(name);
    }
    hint.hidden = !wide;
    hint.textContent = wide ? "Scroll sideways to see all columns →" : "";
  };
  const observer = new ResizeObserver(update);
  observer.observe(box);
  observer.observe(content);
  return h("div", { class: "scrollable-with-hint" }, hint, box);
}

/**
 * Make some controls one tab stop: arrow keys, Home and End move between them, in their order.
 *
 * @param items elements that take the focus.
 * @param columns how many of them stand side by side, for the up and down keys; null where that is one or all.
 */
export function roving(items, columns = () => null) {
  const choose = (item) => {
    for (const each of items) each.tabIndex = each === item ? 0 : -1;
  };
  items.forEach((item, i) => {
    item.addEventListener("focus", () => choose(item));
    item.addEventListener("keydown", (event) => {
      const step = ARROW_KEYS[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      let target = null;
      if (step) target = i + step[1] + step[0] * (columns() ?? 1);
      else if (event.key === "Home") target = 0;
      else if (event.key === "End") target = items.length - 1;
      if (target === null) return;
      event.preventDefault();
      items[target]?.focus();
    });
  });
  choose(items[0]);
}

/** Terms and their descriptions. */
export function definitions(pairs) {
  const items = pairs.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]);
  return h("dl", { class: "definitions" }, items);
}
