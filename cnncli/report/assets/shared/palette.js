// Values as colors, many at once: a color scale as a table of 256 colors.

import { interpolate } from "./color.js";
import { h } from "./dom.js";

const LEVELS = 256;
const ALPHA = 0xff000000;

/** A color [red, green, blue] as the 32 bits of a pixel of ImageData on a little-endian machine. */
const pixelOf = ([red, green, blue]) => (ALPHA | (blue << 16) | (green << 8) | red) >>> 0;

/** The colors of a page's scales, from `data.colors`: tables of 256 pixels. */
export class Palettes {
  constructor({ diverging, sequential, not_finite: notFinite }) {
    this.anchors = { diverging, sequential };
    const table = (anchors, low) =>
      Uint32Array.from({ length: LEVELS }, (_, i) =>
        pixelOf(interpolate(anchors, low + ((1 - low) * i) / (LEVELS - 1))),
      );
    this.diverging = table(diverging, -1);
    this.sequential = table(sequential, 0);
    this.notFinite = pixelOf(notFinite);
  }
}

/**
 * The range of the scale of some values: symmetric about zero if any is negative, else from zero up.
 *
 * @returns {low, high, signed}
 */
export function rangeOf(values) {
  let low = 0;
  let high = 0;
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i];
    if (value < low && value !== Number.NEGATIVE_INFINITY) low = value;
    else if (value > high && value !== Number.POSITIVE_INFINITY) high = value;
  }
  const signed = low < 0;
  const limit = Math.max(-low, high);
  return { low: signed ? -limit : 0, high: limit, signed };
}

/**
 * Write the colors of a map into pixels.
 *
 * @param pixels Uint32Array of an image `width` pixels wide; the map's first value goes to `offset`.
 * @param values of all maps; those of this one start at `first`, `rows` times `columns` of them.
 */
export function colorMap(pixels, offset, width, values, first, rows, columns, range, palettes) {
  const { low, high, signed } = range;
  const table = signed ? palettes.diverging : palettes.sequential;
  const factor = high > low ? (LEVELS - 1) / (high - low) : 0;
  const base = factor ? 0.5 : (signed ? LEVELS / 2 : 0) + 0.5;
  for (let row = 0; row < rows; row += 1) {
    let to = offset + row * width;
    let from = first + row * columns;
    for (let column = 0; column < columns; column += 1) {
      const value = values[from];
      let level = (value - low) * factor + base;
      if (level < 0) level = 0;
      else if (level > LEVELS - 1) level = LEVELS - 1;
      pixels[to] = value - value === 0 ? table[level | 0] : palettes.notFinite;
      to += 1;
      from += 1;
    }
  }
}

/** A bar of the colors of a scale. */
export function colorBar(palettes, signed) {
  const anchors = signed ? palettes.anchors.diverging : palettes.anchors.sequential;
  const bar = h("span", { class: "bar", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(to right, ${anchors.map(([, color]) => `rgb(${color.join(" ")})`).join(", ")})`;
  return bar;
}
