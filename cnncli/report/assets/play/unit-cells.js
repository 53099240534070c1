// Tables of numbers on colored cells: a patch, a kernel and their products.

import { h, setText } from "../shared/dom.js";
import { rangeOf } from "../shared/palette.js";

const LINEAR_LEVELS = Float64Array.from({ length: 256 }, (_, level) => {
  const share = level / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
});
const DARK_TEXT_FROM = 0.18; // relative luminance at which black and white are equally legible

/** A background and the color of legible text on it, for [red, green, blue]. */
function cellStyle([red, green, blue]) {
  const luminance = 0.2126 * LINEAR_LEVELS[red] + 0.7152 * LINEAR_LEVELS[green] + 0.0722 * LINEAR_LEVELS[blue];
  return { background: `rgb(${red} ${green} ${blue})`, text: luminance > DARK_TEXT_FROM ? "#000" : "#fff" };
}

/** The styles of cells for numbers on the page's scales, and for gray levels. */
export class CellStyles {
  constructor(palettes) {
    const styles = (table) =>
      Array.from(table, (pixel) => cellStyle([pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255]));
    this.diverging = styles(palettes.diverging);
    this.sequential = styles(palettes.sequential);
    [this.notFinite] = styles([palettes.notFinite]);
    this.gray = Array.from({ length: 256 }, (_, level) => cellStyle([level, level, level]));
  }

  /** The style of a value in a range of `rangeOf`. */
  of(value, { low, high, signed }) {
    if (!Number.isFinite(value)) return this.notFinite;
    const table = signed ? this.diverging : this.sequential;
    const share = high > low ? (value - low) / (high - low) : signed ? 0.5 : 0;
    return table[Math.round(Math.min(1, Math.max(0, share)) * (table.length - 1))];
  }

  ofLevel(level) {
    return this.gray[Math.round(Math.min(255, Math.max(0, level)))];
  }
}

/** The range of a color scale for several lists of numbers. */
export function commonRange(lists) {
  const ranges = lists.map(rangeOf);
  const signed = ranges.some((range) => range.signed);
  const high = Math.max(0, ...ranges.map((range) => range.high));
  return { low: signed ? -high : 0, high, signed };
}

/** A table of rows x columns of numbers, updated in place. */
export class NumberTable {
  /** @param headed whether rows and columns have the positions that they show before them. */
  constructor([rows, columns], headed) {
    this.caption = h("caption", {});
    this.cells = Array.from({ length: rows * columns }, () => ({
      element: h("td", {}),
      style: null,
      kind: "",
    }));
    this.columnHeads = headed ? Array.from({ length: columns }, () => h("th", { scope: "col" })) : [];
    this.rowHeads = headed ? Array.from({ length: rows }, () => h("th", { scope: "row" })) : [];
    const head = headed ? h("thead", {}, h("tr", {}, h("td", {}), this.columnHeads)) : null;
    const body = Array.from({ length: rows }, (_, row) =>
      h(
        "tr",
        {},
        this.rowHeads[row] ?? null,
        this.cells.slice(row * columns, (row + 1) * columns).map(({ element }) => element),
      ),
    );
    this.element = h("table", { class: `cells${headed ? " headed" : ""}` }, this.caption, head, h("tbody", {}, body));
    this.element.classList.toggle("narrow", columns > 4);
  }

  /** The number of a cell, -1 of anything else. */
  placeOf(element) {
    return this.cells.findIndex((cell) => cell.element === element);
  }

  /** @param cellOf gives {text, style, kind} of a cell by its number; the kind is "", "padding" or "winner". */
  update(caption, cellOf, { rows = [], columns = [] } = {}) {
    setText(this.caption, caption);
    this.rowHeads.forEach((head, i) => {
      setText(head, String(rows[i] ?? "–")); // padding
    });
    this.columnHeads.forEach((head, i) => {
      setText(head, String(columns[i] ?? "–"));
    });
    this.cells.forEach((cell, i) => {
      const { text, style, kind } = cellOf(i);
      setText(cell.element, text);
      if (cell.style !== style) {
        cell.element.style.backgroundColor = style ? style.background : "";
        cell.element.style.color = style ? style.text : "";
      }
      if (cell.kind !== kind) cell.element.className = kind;
      Object.assign(cell, { style, kind });
    });
  }
}
