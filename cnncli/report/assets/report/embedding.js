// Test images as points in the space of the last layer's inputs.

import { ARROW_KEYS, h, section, svg } from "../shared/dom.js";
import { formatCount, formatPercent } from "../shared/numbers.js";
import { rove } from "../shared/roving.js";
import { shorten } from "../shared/text.js";

const SPAN = 1000;
const SYMBOLS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const COLORS = 6; // in the style sheet
const EDGE_POINTS = 24;
const KEY_LETTERS = 26;

/** One character for each class: its name if all names are that short, else digits and letters in turn. */
export function classSymbols(classes) {
  if (classes.every((name) => [...name].length === 1)) return [...classes];
  return classes.map((_, i) => SYMBOLS[i % SYMBOLS.length]);
}

/** The nearest of some points in a direction [rows, columns], within 45 degrees of it; null if there is none. */
export function nextPoint(points, from, [down, right]) {
  let best = null;
  points.forEach(([x, y], i) => {
    const [dx, dy] = [x - points[from][0], points[from][1] - y];
    const along = dx * right + dy * down;
    const across = Math.abs(dx * down) + Math.abs(dy * right);
    if (i === from || along <= 0 || across > along) return;
    const distance = dx * dx + dy * dy;
    if (best === null || distance < best.distance) best = { i, distance };
  });
  return best === null ? null : best.i;
}

class Embedding {
  constructor({ points, classes }) {
    Object.assign(this, { points, classes });
    this.symbols = classSymbols(classes);
    this.chosenClass = null;
    this.current = 0;
    this.readout = h("p", { class: "readout point-readout", "aria-live": "polite" });
    this.picture = this.draw();
    this.element = h("div", { class: "embedding" }, h("div", {}, this.picture, this.readout), this.key());
    this.show(0);
  }

  /** The color of a class; classes with the same symbol have different ones. */
  color(label) {
    return `var(--class-${(label + Math.floor(label / SYMBOLS.length)) % COLORS})`;
  }

  draw() {
    const side = SPAN + 2 * EDGE_POINTS;
    const description =
      "Test images as points. Arrow keys move to the nearest point in a direction; the text below describes it.";
    const picture = svg("svg", {
      viewBox: `${-EDGE_POINTS} ${-EDGE_POINTS} ${side} ${side}`,
      class: "points",
      role: "application",
      "aria-roledescription": "scatter plot",
      "aria-label": description,
      tabindex: "0",
    });
    this.marks = this.points.map(([x, y, , label, predicted]) => {
      const mark = svg("text", { x, y: SPAN - y, dy: "0.35em" }, this.symbols[label]);
      mark.style.fill = this.color(label);
      if (label !== predicted) mark.classList.add("wrong-point");
      return mark;
    });
    const rings = this.points
      .filter(([, , , label, predicted]) => label !== predicted)
      .map(([x, y]) => svg("circle", { class: "ring", cx: x, cy: SPAN - y, r: 15 }));
    this.cursor = svg("circle", { class: "point-cursor", r: 19 });
    picture.append(...this.marks, ...rings, this.cursor);
    picture.addEventListener("pointermove", (event) => this.show(this.nearest(event)));
    picture.addEventListener("click", (event) => this.show(this.nearest(event)));
    picture.addEventListener("keydown", (event) => {
      const direction = ARROW_KEYS[event.key];
      if (!direction || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const next = nextPoint(this.points, this.current, direction);
      if (next !== null) this.show(next);
    });
    return picture;
  }

  nearest(event) {
    const box = this.picture.getBoundingClientRect();
    const scale = (SPAN + 2 * EDGE_POINTS) / box.width;
    const x = (event.clientX - box.left) * scale - EDGE_POINTS;
    const y = SPAN - ((event.clientY - box.top) * scale - EDGE_POINTS);
    let best = 0;
    let least = Infinity;
    this.points.forEach((point, i) => {
      const distance = (point[0] - x) ** 2 + (point[1] - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    });
    return best;
  }

  show(i) {
    this.current = i;
    const [x, y, index, label, predicted] = this.points[i];
    this.cursor.setAttribute("cx", x);
    this.cursor.setAttribute("cy", SPAN - y);
    const answer = label === predicted ? "correct" : `predicted as ${this.classes[predicted]}`;
    this.readout.textContent = `test image ${index}, class ${this.classes[label]}, ${answer}`;
  }

  /** The classes with their symbols; a click emphasizes one of them. */
  key() {
    const buttons = this.classes.map((name, label) => {
      const symbol = h("b", { class: "symbol" }, this.symbols[label]);
      symbol.style.color = this.color(label);
      const text = this.symbols[label] === name ? [] : ` ${shorten(name, KEY_LETTERS)}`;
      const onclick = () => this.emphasize(this.chosenClass === label ? null : label);
      return h(
        "button",
        { type: "button", class: "keep", "aria-pressed": "false", "aria-label": name, title: name, onclick },
        symbol,
        text,
      );
    });
    this.buttons = buttons;
    const key = h("div", { class: "classes", role: "group", "aria-label": "emphasize a class" }, buttons);
    rove(key);
    return key;
  }

  emphasize(label) {
    this.chosenClass = label;
    for (const [i, button] of this.buttons.entries()) button.setAttribute("aria-pressed", String(i === label));
    for (const [i, mark] of this.marks.entries()) {
      mark.classList.toggle("faded", label !== null && this.points[i][3] !== label);
    }
  }
}

export function embeddingSection({ views, classes, unavailable }) {
  const heading = "Embedding";
  if (!views) return section("embedding", heading, `Not available: ${unavailable}.`);
  const { layer, count, of, features, shares, points } = views.embedding;
  const some = count < of ? `${formatCount(count)} of ${formatCount(of)}` : formatCount(count);
  const intro =
    `${some} test images, each with ${formatCount(features)} features after ${layer}, along their first two principal ` +
    `components, which have ${formatPercent(shares[0])} and ${formatPercent(shares[1])} of the variance. ` +
    "A character is the true class; ringed images are misclassified.";
  return section("embedding", heading, intro, new Embedding({ points, classes }).element);
}
