// One layer, or the input, as a grid of cells: its values, and above them what is lit.

const RATIO = Math.max(1, Math.round(window.devicePixelRatio || 1));
const GRID_FROM = 7; // cells of so many px and more are drawn apart

class Grid {
  /**
   * @param size rows and columns of cells.
   * @param margin cells around them, for padding.
   * @param cell px of a cell's side.
   * @param label for people who hear the page.
   */
  constructor({ size: [height, width], margin, cell, label }) {
    Object.assign(this, { height, width, margin, cell });
    this.values = h("canvas", { class: "values" });
    this.light = h("canvas", { class: "light" });
    for (const canvas of [this.values, this.light]) {
      canvas.width = (width + 2 * margin) * cell * RATIO;
      canvas.height = (height + 2 * margin) * cell * RATIO;
    }
    this.element = h("div",
      { class: "grid", tabindex: "0", role: "application", "aria-roledescription": "grid of units", "aria-label": label,
        "data-margin": margin },
      this.values, this.light);
    this.element.style.width = `${(width + 2 * margin) * cell}px`;
    this.element.style.aspectRatio = `${width + 2 * margin} / ${height + 2 * margin}`;
  }

  /** The row and column under a pointer, or null beside the cells. */
  cellAt(event) {
    const box = this.element.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * (this.width + 2 * this.margin)) - this.margin;
    const row = Math.floor(((event.clientY - box.top) / box.height) * (this.height + 2 * this.margin)) - this.margin;
    const there = row >= 0 && row < this.height && column >= 0 && column < this.width;
    return there ? [row, column] : null;
  }

  /** x, y, width and height of a rectangle of cells, in pixels of the canvas. */
  box([first, last], [left, right]) {
    const side = this.cell * RATIO;
    return [
      (left + this.margin) * side, (first + this.margin) * side, (right - left + 1) * side, (last - first + 1) * side,
    ];
  }

  /** Draw colors, a function of row and column; or empty paper. */
  paint(color) {
    const context = this.values.getContext("2d");
    context.clearRect(0, 0, this.values.width, this.values.height);
    const all = this.box([0, this.height - 1], [0, this.width - 1]);
    if (color) {
      const small = h("canvas");
      small.width = this.width;
      small.height = this.height;
      const pixels = new ImageData(this.width, this.height);
      for (let row = 0, place = 0; row < this.height; row += 1) {
        for (let column = 0; column < this.width; column += 1, place += 4) {
          const shown = color(row, column); // null: no such unit, as after the last feature of a row
          if (shown) pixels.data.set([...shown, 255], place);
        }
      }
      small.getContext("2d").putImageData(pixels, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(small, ...all);
    } else {
      context.fillStyle = themed("--paper");
      context.fillRect(...all);
    }
    context.strokeStyle = context.fillStyle = themed("--lines");
    const side = this.cell * RATIO;
    if (this.cell >= GRID_FROM) {
      const [x, y, width, height] = all;
      for (let row = 1; row < this.height; row += 1) context.fillRect(x, y + row * side, width, 1);
      for (let column = 1; column < this.width; column += 1) context.fillRect(x + column * side, y, 1, height);
    }
    context.lineWidth = RATIO;
    context.strokeRect(all[0] + RATIO / 2, all[1] + RATIO / 2, all[2] - RATIO, all[3] - RATIO);
  }

  /** Nothing lit, nothing dimmed. */
  clear() {
    this.light.getContext("2d").clearRect(0, 0, this.light.width, this.light.height);
  }

  /** Dim everything but `lit`, runs of rows and columns or null, in a color of the style; hatch its padding. */
  show(lit, color = "field") {
    this.clear();
    const context = this.light.getContext("2d");
    context.fillStyle = themed("--veil");
    context.fillRect(...this.box([0, this.height - 1], [0, this.width - 1]));
    if (!lit) return;
    const strong = themed(`--${color}`);
    const boxes = pairs(lit.rows).flatMap((rows) => pairs(lit.columns).map((columns) => this.box(rows, columns)));
    if (lit.padded) this.hatch(context, lit.padded, strong);
    for (const box of boxes) {
      context.clearRect(...box);
      context.fillStyle = themed(`--${color}-tint`);
      context.fillRect(...box);
    }
    context.strokeStyle = strong;
    const line = Math.min(2, this.cell / 3) * RATIO;
    context.lineWidth = line;
    for (const [x, y, width, height] of boxes) {
      context.strokeRect(x + line / 2, y + line / 2, width - line, height - line);
    }
  }

  /** Mark what of a rectangle lies outside: padding. */
  hatch(context, [rows, columns], color) {
    const [x, y, width, height] = this.box(rows, columns);
    const inside = this.box([0, this.height - 1], [0, this.width - 1]);
    context.save();
    context.beginPath();
    context.rect(0, 0, this.light.width, this.light.height);
    context.rect(...inside);
    context.clip("evenodd");
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.strokeStyle = color;
    context.lineWidth = RATIO;
    context.globalAlpha = 0.75;
    const step = 5 * RATIO;
    context.beginPath();
    for (let from = -this.light.height; from < this.light.width; from += step) {
      context.moveTo(from, this.light.height);
      context.lineTo(from + this.light.height, 0);
    }
    context.stroke();
    context.globalAlpha = 1;
    context.setLineDash([3 * RATIO, 2 * RATIO]);
    context.strokeRect(x + RATIO / 2, y + RATIO / 2, width - RATIO, height - RATIO);
    context.restore();
  }

  /** Mark the one unit that was chosen. */
  choose([row, column]) {
    this.show(null);
    const context = this.light.getContext("2d");
    const [x, y, width, height] = this.box([row, row], [column, column]);
    context.clearRect(x, y, width, height);
    const line = Math.max(RATIO, Math.min(3, this.cell / 3) * RATIO);
    context.strokeStyle = themed("--chosen");
    context.lineWidth = line;
    const out = this.cell < GRID_FROM ? line / 2 : -line / 2; // around a small cell, inside a large one
    context.strokeRect(x - out, y - out, width + 2 * out, height + 2 * out);
  }
}

/** Runs as pairs of first and last. */
function pairs(runs) {
  const found = [];
  for (let i = 0; i < runs.length; i += 2) found.push([runs[i], runs[i + 1]]);
  return found;
}
