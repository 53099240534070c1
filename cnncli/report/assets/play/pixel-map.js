// An image, or a map of one signed number for each of its pixels, with its color scale.

import { h, setText } from "../shared/dom.js";
import { cellAt } from "../shared/grid.js";
import { formatNumber } from "../shared/numbers.js";
import { colorBar, colorMap } from "../shared/palette.js";

const SIDE = 150; // px for the longer side, about
const DARKEST = 0.72; // brightness, under a map, of the image's pixels that differ most from its background

/** The largest finite magnitude. */
export function limitOf(values) {
  return values.reduce((largest, value) => (Number.isFinite(value) ? Math.max(largest, Math.abs(value)) : largest), 0);
}

/** The mean over the channels of an image (C, H, W). */
export function grayOf(pixels, positions) {
  const gray = new Float64Array(positions);
  const channels = pixels.length / positions;
  for (let i = 0; i < pixels.length; i += 1) gray[i % positions] += pixels[i] / channels;
  return gray;
}

/** Multiply the colors (RGBA) of a map with an image whose background, dark or bright, is white. */
export function laidOver(colors, gray) {
  const mean = gray.reduce((total, level) => total + level, 0) / gray.length;
  gray.forEach((level, i) => {
    const ink = (mean < 128 ? level : 255 - level) / 255;
    const factor = 1 - (1 - DARKEST) * ink;
    for (let part = 4 * i; part < 4 * i + 3; part += 1) colors[part] *= factor;
  });
}

export class PixelMap {
  /**
   * @param height, width of the image.
   * @param name, about its caption.
   * @param compute text of the button that calls `retry`, where the map is not computed without being asked for.
   * @param onpoint called with the [row, column] under the pointer.
   */
  constructor({ height, width, name, about, compute = "", retry = null, onpoint }) {
    Object.assign(this, { height, width, found: null });
    this.canvas = h("canvas", { width, height, class: "pixel-canvas" });
    this.cursor = h("div", { class: "pixel-cursor", hidden: true });
    this.box = h("div", { class: "pixel-box" }, this.canvas, this.cursor);
    const cell = Math.max(1, Math.floor(SIDE / Math.max(height, width)));
    this.box.style.width = `${width * cell}px`;
    this.box.style.aspectRatio = `${width} / ${height}`;
    const point = (event) => {
      const pixel = cellAt(event, this.box.getBoundingClientRect(), [height, width], 0);
      if (pixel) onpoint(pixel);
    };
    this.box.addEventListener("pointermove", point);
    this.box.addEventListener("pointerdown", point);
    this.legend = h("p", { class: "map-legend" });
    this.noteText = h("p", { class: "map-note" });
    this.button = retry && h("button", { type: "button", hidden: true, onclick: retry }, compute);
    const caption = h("figcaption", {}, h("b", {}, name), h("span", {}, about));
    this.element = h("figure", { class: "pixel-map" }, caption, this.box, this.legend, this.noteText, this.button);
    this.context = this.canvas.getContext("2d");
    this.data = new ImageData(width, height);
  }

  /** Show an image, levels 0 to 255 (C, H, W): in color if it has three channels, else the mean in gray. */
  showImage(pixels) {
    const size = this.height * this.width;
    const color = pixels.length === 3 * size;
    const gray = color ? null : grayOf(pixels, size);
    for (let i = 0; i < size; i += 1) {
      for (let part = 0; part < 3; part += 1) this.data.data[4 * i + part] = color ? pixels[part * size + i] : gray[i];
      this.data.data[4 * i + 3] = 255;
    }
    this.context.putImageData(this.data, 0, 0);
  }

  /** Show signed values (H, W) on a symmetric scale, over an image (C, H, W) if one is given. */
  showValues(values, palettes, pixels) {
    const limit = limitOf(values);
    const range = { low: -limit, high: limit, signed: true };
    const colors = new Uint32Array(this.data.data.buffer);
    colorMap(colors, 0, this.width, values, 0, this.height, this.width, range, palettes);
    if (pixels) laidOver(this.data.data, grayOf(pixels, values.length));
    this.context.putImageData(this.data, 0, 0);
    this.legend.replaceChildren(formatNumber(0 - limit), colorBar(palettes, true), formatNumber(limit));
    this.element.classList.remove("outdated");
    if (this.button) this.button.hidden = true;
  }

  /** Say that the map is that of an earlier image. */
  outdate() {
    this.asked = null;
    this.element.classList.add("outdated");
  }

  /** Offer to compute the map. */
  offer(text) {
    this.note(text);
    this.button.hidden = false;
  }

  note(text) {
    setText(this.noteText, text);
  }

  /** Frame a pixel [row, column]; null for none. */
  mark(pixel) {
    this.cursor.hidden = !pixel;
    if (!pixel) return;
    const { style } = this.cursor;
    style.left = `${(100 * pixel[1]) / this.width}%`;
    style.top = `${(100 * pixel[0]) / this.height}%`;
    style.width = `${100 / this.width}%`;
    style.height = `${100 / this.height}%`;
  }
}
