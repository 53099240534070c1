// One tab stop for several controls: arrow keys, Home and End move the focus among them.

import { h } from "./dom.js";

// Fields for text and numbers need the arrow keys, and radio buttons are one tab stop by themselves.
const CONTROLS = "button, select, [role=option], input:is([type=checkbox], [type=range], [type=color])";

/** Whether a control needs a key for its value. */
function isOwnKey(control, key) {
  if (control.matches("select")) return key !== "ArrowLeft" && key !== "ArrowRight";
  return control.matches("[type=range]") && key !== "ArrowUp" && key !== "ArrowDown";
}

/** The item above or below another one on the page, in the nearest column; null if there is none. */
function vertically(items, from, direction) {
  const box = items[from].getBoundingClientRect();
  let best = null;
  let least = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const other = item.getBoundingClientRect();
    const down = direction * (other.top - box.top);
    if (down < box.height / 2) continue;
    const distance = 1000 * down + Math.abs(other.left - box.left);
    if (distance < least) [best, least] = [item, distance];
  }
  return best;
}

/** The item that a key leads to; null if it leads nowhere. */
function itemAfter(items, at, key) {
  if (key === "ArrowRight") return items[at + 1] ?? null;
  if (key === "ArrowLeft") return items[at - 1] ?? null;
  if (key === "Home") return items[0];
  if (key === "End") return items.at(-1);
  const direction = key === "ArrowDown" ? 1 : -1;
  const beside = items[at].matches("[type=range]") ? items[at + direction] : null; // it is left by these keys only
  return vertically(items, at, direction) ?? beside ?? null;
}

/**
 * Make controls one tab stop, the one that had the focus last; before, the selected or the first one.
 *
 * Right and left lead to the next and the previous one, up and down to the one above and below. In a list of choices, up
 * and down change the choice, and on a slider, right and left its value.
 *
 * @param container that has the controls; some may be added, removed or hidden later.
 * @param controls gives them in their order.
 */
export function rove(container, controls = () => container.querySelectorAll(CONTROLS)) {
  let stop;
  const usable = () => [...controls()].filter((item) => !item.closest("[hidden]"));
  const update = () => {
    const items = usable();
    if (!items.includes(stop)) stop = items.find((item) => item.getAttribute("aria-selected") === "true") ?? items[0];
    for (const item of items) item.tabIndex = item === stop ? 0 : -1;
  };
  container.addEventListener("focusin", ({ target }) => {
    if (!usable().includes(target)) return;
    stop = target;
    update();
  });
  container.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (!/^(Arrow(Up|Down|Left|Right)|Home|End)$/.test(key) || isOwnKey(target, key)) return;
    if (event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return;
    const items = usable();
    const at = items.indexOf(target);
    if (at < 0) return;
    event.preventDefault();
    itemAfter(items, at, key)?.focus();
  });
  new MutationObserver(update).observe(container, { subtree: true, childList: true, attributeFilter: ["hidden"] });
  update();
}

/** Controls in a row, which are one tab stop; `label` says what they are for. */
export function toolbar(label, className, ...controls) {
  const element = h("div", { class: className, role: "toolbar", "aria-label": label }, controls);
  rove(element);
  return element;
}
