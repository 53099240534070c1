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
 * it can be scrolled by keyboard, and only then does it say so, with `wideHint` where it is too wide.
 */
export function scrollable(label, content, wideHint = "Scroll sideways to see all columns →") {
  const hint = h("p", { class: "scroll-hint", hidden: true });
  const box = h("div", { class: "scrollable" }, content);
  const update = () => {
    const wide = box.scrollWidth > box.clientWidth + 1;
    const high = box.scrollHeight > box.clientHeight + 1;
    const attributes = wide || high ? { tabindex: "0", role: "group", "aria-label": label } : {};
    for (const name of ["tabindex", "role", "aria-label"]) {
      if (name in attributes) box.setAttribute(name, attributes[name]);
      else box.removeAttribute(name);
    }
    hint.hidden = !wide;
    hint.textContent = wide ? wideHint : "";
  };
  const observer = new ResizeObserver(update);
  observer.observe(box);
  observer.observe(content);
  return h("div", { class: "scrollable-with-hint" }, hint, box);
}

/**
 * Disable a control, or enable it. It keeps the focus, which it would lose with the attribute `disabled`; see
 * `ignoreDisabled`.
 */
export function setDisabled(control, isDisabled) {
  control.setAttribute("aria-disabled", String(isDisabled));
}

/** Let clicks on disabled controls of the page do nothing. */
export function ignoreDisabled() {
  const ignore = (event) => {
    if (event.target.closest('[aria-disabled="true"]')) event.stopImmediatePropagation();
  };
  document.addEventListener("click", ignore, { capture: true });
}

/** Terms and their descriptions. */
export function definitions(pairs) {
  const items = pairs.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]);
  return h("dl", { class: "definitions" }, items);
}
