// A layer, or the input, as a grid of cells: one canvas for the values, and an overlay for what is highlighted.

import { themeColor } from "./color.js";
import { h } from "./dom.js";

const RATIO = Math.max(1, Math.round(globalThis.devicePixelRatio || 1));
const LINES_FROM = 7; // cells with sides of so many px and more have lines between them

/**
 * The [row, column] under a pointer; null in the margin and outside the grid.
 *
 * @param pointer clientX and clientY.
 * @param box left, top, width and height of the grid with its margin, in the same pixels.
 * @param size rows and columns without the margin.
 * @param margin cells of margin on each side.
 */
export function cellAt({ clientX, clientY }, box, [height, width], margin) {
  const column = Math.floor(((clientX - box.left) / box.width) * (width + 2 * margin)) - margin;
  const row = Math.floor(((clientY - box.top) / box.height) * (height + 2 * margin)) - margin;
  return row >= 0 && row < height && column >= 0 && column < width ? [row, column] : null;
}

/** Runs [first, last, first, last, ...] as pairs. */
export function pairs(runs) {
  return Array.from({ length: runs.length / 2 }, (_, i) => [runs[2 * i], runs[2 * i + 1]]);
}

export class Grid {
  /**
   * @param size rows and columns of cells.
   * @param margin cells around them, for padding.
   * @param cell px of a cell's side.
   * @param label for screen readers.
   */
  constructor({ size: [height, width], margin, cell, label }) {
    Object.assign(this, { height, width, margin, cell });
    this.values = h("canvas", { class: "values" });
    this.overlay = h("canvas", { class: "overlay" });
    for (const canvas of [this.values, this.overlay]) {
      canvas.width = (width + 2 * margin) * cell * RATIO;
      canvas.height = (height + 2 * margin) * cell * RATIO;
    }
    const aria = { role: "application", "aria-roledescription": "grid of units", "aria-label": label };
    this.element = h(
      "div",
      { class: "grid", tabindex: "0", ...aria, "data-margin": margin },
      this.values,
      this.overlay,
    );
    this.element.style.width = `${(width + 2 * margin) * cell}px`;
    this.element.style.aspectRatio = `${width + 2 * margin} / ${height + 2 * margin}`;
  }

  /** The row and column under a pointer, or null beside the cells. */
  cellAt(event) {
    return cellAt(event, this.element.getBoundingClientRect(), [this.height, this.width], this.margin);
  }

  /** x, y, width and height of a rectangle of cells, in pixels of the canvas. */
  box([first, last], [left, right]) {
    const side = this.cell * RATIO;
    const [x, y] = [(left + this.margin) * side, (first + this.margin) * side];
    return [x, y, (right - left + 1) * side, (last - first + 1) * side];
  }

  /** All cells, without the margin. */
  get wholeBox() {
    return this.box([0, this.height - 1], [0, this.width - 1]);
  }

  /** Draw the cells: `color` gives [red, green, blue] of a row and column, null for an empty cell. */
  paint(color) {
    const context = this.values.getContext("2d");
    context.clearRect(0, 0, this.values.width, this.values.height);
    if (color) {
      const image = this.image(color);
      context.imageSmoothingEnabled = false;
      context.drawImage(image, ...this.wholeBox);
    } else {
      context.fillStyle = themeColor("paper");
      context.fillRect(...this.wholeBox);
    }
    this.drawLines(context);
  }

  /** A canvas with one pixel for each cell. */
  image(color) {
    const canvas = h("canvas", { width: this.width, height: this.height });
    const pixels = new ImageData(this.width, this.height);
    for (let row = 0, offset = 0; row < this.height; row += 1) {
      for (let column = 0; column < this.width; column += 1, offset += 4) {
        const rgb = color(row, column);
        if (rgb) pixels.data.set([...rgb, 255], offset);
      }
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  }

  /** Draw a frame, and lines between cells that are large enough. */
  drawLines(context) {
    const [x, y, width, height] = this.wholeBox;
    const side = this.cell * RATIO;
    context.strokeStyle = context.fillStyle = themeColor("lines");
    if (this.cell >= LINES_FROM) {
      for (let row = 1; row < this.height; row += 1) context.fillRect(x, y + row * side, width, 1);
      for (let column = 1; column < this.width; column += 1) context.fillRect(x + column * side, y, 1, height);
    }
    context.lineWidth = RATIO;
    context.strokeRect(x + RATIO / 2, y + RATIO / 2, width - RATIO, height - RATIO);
  }

  /** Remove the overlay. */
  clear() {
    this.overlay.getContext("2d").clearRect(0, 0, this.overlay.width, this.overlay.height);
  }

  /** Dim the whole grid. */
  dim() {
    this.clear();
    const context = this.overlay.getContext("2d");
    context.fillStyle = themeColor("veil");
    context.fillRect(...this.wholeBox);
    return context;
  }

  /** Dim everything but a region {rows, columns, padded}, in a color of the theme; hatch its padding. */
  highlight(region, color) {
    const context = this.dim();
    const strong = themeColor(color);
    if (region.padded) this.hatch(context, region.padded, strong);
    const boxes = pairs(region.rows).flatMap((rows) => pairs(region.columns).map((columns) => this.box(rows, columns)));
    for (const box of boxes) {
      context.clearRect(...box);
      context.fillStyle = themeColor(`${color}-tint`);
      context.fillRect(...box);
    }
    context.strokeStyle = strong;
    const line = Math.min(2, this.cell / 3) * RATIO;
    context.lineWidth = line;
    for (const [x, y, width, height] of boxes) {
      context.strokeRect(x + line / 2, y + line / 2, width - line, height - line);
    }
  }

  /** Hatch the part of a rectangle that lies in the margin: padding. */
  hatch(context, [rows, columns], color) {
    const [x, y, width, height] = this.box(rows, columns);
    context.save();
    context.beginPath();
    context.rect(0, 0, this.overlay.width, this.overlay.height);
    context.rect(...this.wholeBox);
    context.clip("evenodd");
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.strokeStyle = color;
    context.lineWidth = RATIO;
    context.globalAlpha = 0.75;
    context.beginPath();
    for (let from = -this.overlay.height; from < this.overlay.width; from += 5 * RATIO) {
      context.moveTo(from, this.overlay.height);
      context.lineTo(from + this.overlay.height, 0);
    }
    context.stroke();
    context.globalAlpha = 1;
    context.setLineDash([3 * RATIO, 2 * RATIO]);
    context.strokeRect(x + RATIO / 2, y + RATIO / 2, width - RATIO, height - RATIO);
    context.restore();
  }

  /** Dim everything but the selected unit, and frame that. */
  select([row, column]) {
    const context = this.dim();
    const [x, y, width, height] = this.box([row, row], [column, column]);
    context.clearRect(x, y, width, height);
    const line = Math.max(RATIO, Math.min(3, this.cell / 3) * RATIO);
    context.strokeStyle = themeColor("selected");
    context.lineWidth = line;
    const outset = this.cell < LINES_FROM ? line / 2 : -line / 2; // around a small cell, inside a large one
    context.strokeRect(x - outset, y - outset, width + 2 * outset, height + 2 * outset);
  }
}
