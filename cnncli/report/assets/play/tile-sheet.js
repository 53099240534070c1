// All channels of a layer as tiles on one sheet: a canvas with a pixel for each value, enlarged by the browser, and an
// overlay for borders. The overlay takes part in painting only while it has some.

import { themeColor } from "../shared/color.js";
import { h, svg } from "../shared/dom.js";
import { pairs } from "../shared/grid.js";
import { colorMap } from "../shared/palette.js";

const SCALE = Math.min(3, Math.max(1, globalThis.devicePixelRatio || 1));
const CELLS = [16, 14, 12, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8];
const GAP = 3; // px between tiles, at least
const VECTOR_CELL = 8;
const MOST_BOXES = 400; // of a receptive field with many gaps on a layer with many channels

const COLORS = ["halo", "receptive-field", "dependent", "selected"];

/** Px of a tile's longer side, by the number of channels. */
function tileSide(channels) {
  if (channels <= 8) return 58;
  if (channels <= 16) return 40;
  if (channels <= 64) return 32;
  return channels <= 160 ? 24 : 18;
}

/**
 * Where the tiles of a layer are, in px of the page.
 *
 * @param shape [C, H, W], or [F]: features are cells of one tile, in rows.
 * @param margin units around a map for the padding in receptive fields.
 * @param side px of a tile, and `most` px of the sheet; by default according to the number of channels.
 */
export function tileLayout(shape, { margin = 0, side = null, most = 330, widestGap = 8 } = {}) {
  const isVector = shape.length === 1;
  const features = shape[0];
  const across = isVector ? Math.max(1, Math.min(20, Math.floor(Math.sqrt(features)))) : null;
  const [channels, height, width] = isVector ? [1, Math.ceil(features / across), across] : shape;
  const columns = Math.max(1, Math.floor(Math.sqrt(channels)));
  const rows = Math.ceil(channels / columns);
  const wanted = side ?? (isVector ? VECTOR_CELL * Math.max(height, width) : tileSide(channels));
  const room = Math.min(wanted, most / columns);
  const fits = (cell) => cell * Math.max(height, width) <= room;
  let cell = CELLS.find(fits) ?? CELLS.at(-1);
  if (isVector) cell = Math.min(VECTOR_CELL, Math.max(4, cell));
  const gap = Math.max(Math.ceil(GAP / cell), Math.min(margin, Math.floor(widestGap / cell)));
  return {
    isVector,
    channels,
    height,
    width,
    features,
    columns,
    rows,
    cell,
    gap,
    unitsAcross: columns * (width + gap) + gap,
    unitsDown: rows * (height + gap) + gap,
  };
}

export class TileSheet {
  /** @param layout see `tileLayout`. */
  constructor(layout) {
    Object.assign(this, { layout });
    this.order = Array.from({ length: layout.channels }, (_, i) => i); // slot -> channel
    this.slots = [...this.order]; // channel -> slot
    this.pxWidth = layout.unitsAcross * layout.cell;
    this.pxHeight = layout.unitsDown * layout.cell;
    const { unitsAcross, unitsDown } = layout;
    this.values = h("canvas", { class: "values", width: unitsAcross, height: unitsDown });
    this.values.style.imageRendering = layout.cell < 1 ? "auto" : "pixelated";
    this.overlay = h("canvas", {
      class: "overlay",
      width: Math.round(this.pxWidth * SCALE),
      height: Math.round(this.pxHeight * SCALE),
    });
    this.overlay.style.visibility = "hidden";
    this.scale = layout.cell * SCALE; // pixels of the overlay for a unit
    const isSmall = layout.cell * Math.max(layout.width, layout.height) < 48;
    this.halo = (isSmall ? 1 : 2) * SCALE;
    this.line = isSmall ? 1.25 : 2;
    const { columns, width, height, gap, cell } = layout;
    const places = JSON.stringify({ columns, width, height, gap, cell });
    const parts = [this.#edges(), this.values, this.overlay];
    this.element = h("div", { class: "sheet", "data-layout": places }, parts);
    this.element.style.width = `${this.pxWidth}px`;
    this.element.style.aspectRatio = `${unitsAcross} / ${unitsDown}`;
    this.image = new ImageData(unitsAcross, unitsDown);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.marked = false;
  }

  /** A line around each tile. */
  #edges() {
    const { channels, width, height, unitsAcross, unitsDown } = this.layout;
    const tiles = Array.from({ length: channels }, (_, slot) => {
      const [left, top] = this.origin(slot);
      return `M${left} ${top}h${width}v${height}h${-width}z`;
    });
    const path = svg("path", { d: tiles.join("") });
    return svg("svg", { class: "edges", viewBox: `0 0 ${unitsAcross} ${unitsDown}`, "aria-hidden": "true" }, path);
  }

  /** The color of a border. Theme colors are the same until the parts are rebuilt. */
  #color(name) {
    this.colors ??= Object.fromEntries(COLORS.map((each) => [each, themeColor(each)]));
    return this.colors[name];
  }

  /** Show the channels in an order: slot -> channel. */
  arrange(order) {
    this.order = order;
    order.forEach((channel, slot) => {
      this.slots[channel] = slot;
    });
  }

  /** Column and row of a tile's first unit, in units of the sheet. */
  origin(slot) {
    const { columns, width, height, gap } = this.layout;
    return [gap + (slot % columns) * (width + gap), gap + Math.floor(slot / columns) * (height + gap)];
  }

  /** Draw the values of all channels in the colors of a range. */
  paint(values, range, palettes) {
    const { height, width, unitsAcross, features, isVector } = this.layout;
    this.order.forEach((channel, slot) => {
      const [left, top] = this.origin(slot);
      const offset = top * unitsAcross + left;
      if (!isVector) {
        colorMap(this.pixels, offset, unitsAcross, values, channel * height * width, height, width, range, palettes);
        return;
      }
      for (let row = 0; row < height; row += 1) {
        const first = row * width;
        const count = Math.min(width, features - first); // the last row may be shorter
        colorMap(this.pixels, offset + row * unitsAcross, unitsAcross, values, first, 1, count, range, palettes);
      }
    });
    this.#show();
  }

  /** Draw an image, levels 0 to 255: in color if it has three channels and one tile, else each channel in gray. */
  paintImage(levels, inColor) {
    const { height, width, unitsAcross, channels } = this.layout;
    const size = height * width;
    for (let slot = 0; slot < channels; slot += 1) {
      const [left, top] = this.origin(slot);
      for (let row = 0; row < height; row += 1) {
        for (let column = 0; column < width; column += 1) {
          const from = row * width + column;
          const red = levels[(inColor ? 0 : slot * size) + from];
          const green = inColor ? levels[size + from] : red;
          const blue = inColor ? levels[2 * size + from] : red;
          this.pixels[(top + row) * unitsAcross + left + column] =
            (0xff000000 | (Math.round(blue) << 16) | (Math.round(green) << 8) | Math.round(red)) >>> 0;
        }
      }
    }
    this.#show();
  }

  #show() {
    this.values.getContext("2d").putImageData(this.image, 0, 0);
  }

  /** Erase the values of a rectangle of units in a tile. */
  erase(slot, [first, last], [left, right]) {
    const [column, row] = this.origin(slot);
    this.values.getContext("2d").clearRect(column + left, row + first, right - left + 1, last - first + 1);
  }

  /** x, y, width and height of a tile in pixels of the overlay. */
  tileBox(slot) {
    const { height, width } = this.layout;
    return this.box(slot, [0, height - 1], [0, width - 1]);
  }

  /** The same of a rectangle of units in a tile. */
  box(slot, [first, last], [left, right]) {
    const [column, row] = this.origin(slot);
    const side = this.scale;
    return [(column + left) * side, (row + first) * side, (right - left + 1) * side, (last - first + 1) * side];
  }

  /**
   * The [channel, row, column] under a pointer, or [feature, null, null]; null between the tiles.
   *
   * @param nearest between the tiles, the nearest unit to the left and above, for fingers.
   */
  unitAt({ clientX, clientY }, { nearest = false } = {}) {
    const box = this.element.getBoundingClientRect();
    const { columns, width, height, gap, unitsAcross, unitsDown, isVector, features, channels } = this.layout;
    const x = ((clientX - box.left) / box.width) * unitsAcross - gap;
    const y = ((clientY - box.top) / box.height) * unitsDown - gap;
    const [across, down] = [Math.floor(x / (width + gap)), Math.floor(y / (height + gap))];
    let [column, row] = [Math.floor(x - across * (width + gap)), Math.floor(y - down * (height + gap))];
    if (nearest) [column, row] = [Math.min(column, width - 1), Math.min(row, height - 1)];
    if (x < 0 || y < 0 || across >= columns || column >= width || row >= height) return null;
    if (isVector) {
      const feature = row * width + column;
      return down === 0 && feature < features ? [feature, null, null] : null;
    }
    const slot = down * columns + across;
    return slot < channels ? [this.order[slot], row, column] : null;
  }

  /** Remove all borders. */
  clear() {
    if (!this.marked) return;
    this.overlay.getContext("2d").clearRect(0, 0, this.overlay.width, this.overlay.height);
    this.overlay.style.visibility = "hidden";
    this.marked = false;
  }

  /** The context of the overlay, for another border. */
  #marking() {
    this.marked = true;
    this.overlay.style.visibility = "visible";
    return this.overlay.getContext("2d");
  }

  /**
   * Draw borders around a region {rows, columns, padded} of the tiles of some channels; its padding is hatched.
   *
   * @param channels the channels, or null for all.
   */
  outline(region, channels, color) {
    const slots = channels ? channels.map((channel) => this.slots[channel]) : this.order.map((_, slot) => slot);
    const ranges = pairs(region.rows).flatMap((rows) => pairs(region.columns).map((columns) => [rows, columns]));
    const few = ranges.length * slots.length <= MOST_BOXES;
    const whole = [
      [region.rows[0], region.rows.at(-1)],
      [region.columns[0], region.columns.at(-1)],
    ];
    const boxes = slots.flatMap((slot) => (few ? ranges : [whole]).map((each) => this.box(slot, ...each)));
    const context = this.#marking();
    if (region.padded) for (const slot of slots) this.#hatch(context, slot, region.padded, this.#color(color));
    this.#stroke(context, boxes, this.#color(color), this.line);
  }

  /** Frame a unit [channel, row, column], or a feature [feature, null, null]. */
  frame([channel, row, column], color) {
    const { isVector, width } = this.layout;
    const [slot, at] = isVector
      ? [0, [Math.floor(channel / width), channel % width]]
      : [this.slots[channel], [row, column]];
    const context = this.#marking();
    this.#stroke(context, [this.box(slot, [at[0], at[0]], [at[1], at[1]])], this.#color(color), this.line);
  }

  /** Border around the whole sheet's tiles. */
  outlineAll(color) {
    const context = this.#marking();
    this.#stroke(
      context,
      this.order.map((_, slot) => this.tileBox(slot)),
      this.#color(color),
      1.5,
    );
  }

  /** A line around each box, with a line in the color of the page around and inside it: seen on every color. */
  #stroke(context, boxes, color, width) {
    const line = width * SCALE;
    for (const [style, thickness] of [
      [this.#color("halo"), line + this.halo],
      [color, line],
    ]) {
      context.strokeStyle = style;
      context.lineWidth = thickness;
      for (const [x, y, w, h] of boxes) {
        context.strokeRect(x - line / 2, y - line / 2, w + line, h + line);
      }
    }
  }

  /** Hatch what lies of a rectangle outside a tile, as far as there is room around the tile. */
  #hatch(context, slot, [rows, columns], color) {
    const { gap } = this.layout;
    const [x, y, width, height] = this.tileBox(slot);
    const room = gap * this.scale - SCALE / 2;
    context.save();
    context.beginPath();
    context.rect(x - room, y - room, width + 2 * room, height + 2 * room);
    context.rect(x, y, width, height);
    context.clip("evenodd");
    const [left, top, w, h] = this.box(slot, rows, columns);
    context.beginPath();
    context.rect(left, top, w, h);
    context.clip();
    context.strokeStyle = color;
    context.lineWidth = SCALE;
    context.beginPath();
    const step = 4 * SCALE;
    const from = Math.floor((x - room - height - 2 * room) / step) * step;
    for (let start = from; start < x + width + room; start += step) {
      context.moveTo(start, y + height + room);
      context.lineTo(start + height + 2 * room, y - room);
    }
    context.stroke();
    context.restore();
  }
}
