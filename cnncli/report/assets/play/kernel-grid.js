// A slice of a kernel as a grid of fields. Arrow keys move between them, so that the grid is one stop of the Tab key.

import { ARROW_KEYS, h } from "../shared/dom.js";
import { Palettes } from "../shared/palette.js";
import { FieldProblem, weightOf } from "./number-field.js";
import { limitOf } from "./pixel-map.js";
import { CellStyles } from "./unit-cells.js";

/** A weight in at most six characters, but for very large ones. */
export function weightText(value) {
  const size = Math.abs(value);
  if (value === 0 || !Number.isFinite(value)) return String(value);
  if (size < 0.0005) return value.toExponential(0);
  if (size >= 100) return String(Number(value.toPrecision(3)));
  return value.toFixed(size < 10 ? 3 : 2);
}

export class KernelGrid {
  /**
   * @param height, width of the slice.
   * @param colors of the page, see `Palettes`.
   * @param id of the fields, followed by their number.
   * @param label for screen readers; `cellLabel(row, column)` is that of a field.
   * @param change called with the number of a field and its new value.
   * @param refusal a text about what is not a number.
   */
  constructor({ height, width, colors, id, label, cellLabel, change, refusal }) {
    Object.assign(this, { height, width, change, refusal });
    this.problem = new FieldProblem();
    this.styles = new CellStyles(new Palettes(colors));
    this.fields = Array.from({ length: height * width }, (_, position) => {
      const [row, column] = [Math.floor(position / width), position % width];
      return h("input", {
        id: `${id}-${position}`,
        type: "text",
        inputmode: "decimal",
        autocomplete: "off",
        tabindex: position ? "-1" : "0",
        "aria-label": cellLabel(row, column),
        onkeydown: (event) => this.move(event, row, column),
        onfocus: () => this.select(position),
        onchange: () => this.read(position),
      });
    });
    const rows = Array.from({ length: height }, (_, row) =>
      h("div", { class: "kernel-row" }, this.fields.slice(row * width, (row + 1) * width)),
    );
    const grid = h("div", { class: "kernel-grid scrollable", role: "group", "aria-label": label }, rows);
    this.element = h("div", {}, grid, this.problem.element);
  }

  /** The field that Tab reaches. */
  select(position) {
    this.fields.forEach((field, i) => {
      field.tabIndex = i === position ? 0 : -1;
    });
  }

  /** Arrow keys: up and down always, left and right where the cursor is at the end of the text. */
  move(event, row, column) {
    const step = ARROW_KEYS[event.key];
    if (!step || event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return;
    const { selectionStart, selectionEnd, value } = event.target;
    const whole = selectionStart === 0 && selectionEnd === value.length;
    if (step[1] < 0 && selectionStart > 0 && !whole) return;
    if (step[1] > 0 && selectionEnd < value.length && !whole) return;
    event.preventDefault();
    const next = [row + step[0], column + step[1]];
    if (next[0] < 0 || next[0] >= this.height || next[1] < 0 || next[1] >= this.width) return;
    const field = this.fields[next[0] * this.width + next[1]];
    field.focus();
    field.select();
  }

  read(position) {
    const field = this.fields[position];
    const value = weightOf(field.value);
    if (value === null) this.problem.show(field, this.refusal(field.value, this.texts[position]));
    else this.change(position, value);
  }

  /** Show values; those that differ from the original are marked. Colors are on the scale of all slices. */
  show(values, originals, every) {
    const high = limitOf(every);
    this.problem.clear();
    this.texts = values.map(weightText);
    this.fields.forEach((field, i) => {
      field.value = this.texts[i];
      field.classList.toggle("changed", values[i] !== originals[i]);
      const { background, text } = this.styles.of(values[i], { low: -high, high, signed: true });
      field.style.backgroundColor = background;
      field.style.color = text;
    });
  }
}
