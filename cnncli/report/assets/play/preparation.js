// Images from anywhere, prepared for a network like the images of its data set: the same steps as `cnncli predict`,
// ported from cnncli.data.preparation. What a browser decodes has 8 bits per channel and is upright.

import { borderOffsets, borderShares, NEGLIGIBLE, placeInk, quantileOf, separateInk } from "./framing.js";
import { reducePixels, resamplePlane, roundHalfEven } from "./resampling.js";

const COLORED = 16; // differences between the channels of a pixel above this are color
const ALL_AROUND = 0.75; // of the border of an image for a folder must be bright, or dark, to be a background
export const MAX_SIDE = 1024; // larger images are reduced by a whole factor before their ink is found

/** The luma of ITU-R 601-2, as Pillow computes it. */
export const lumaOf = (red, green, blue) => (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;

/** The factor by which an image is reduced so that no side is longer than MAX_SIDE. */
export const reduction = (height, width) => Math.ceil(Math.max(height, width) / MAX_SIDE);

/** RGBA without transparency: mixed with white, or with black where the visible pixels are bright ink. */
function opaquePixels(data, steps, asInk) {
  const count = data.length / 4;
  let visible = 0;
  let brightness = 0;
  let lowest = 255;
  for (let offset = 0; offset < data.length; offset += 4) {
    const alpha = data[offset + 3];
    if (alpha < lowest) lowest = alpha;
    visible += alpha;
    brightness += alpha * lumaOf(data[offset], data[offset + 1], data[offset + 2]);
  }
  if (lowest === 255) return data;
  let filling = "white";
  if (asInk && visible > 0) {
    const bright = brightness / visible >= 128;
    const fills = visible / (255 * count) > 0.5;
    filling = bright === fills ? "white" : "black";
  }
  if (steps) steps.push(`transparent pixels filled with ${filling}`);
  const under = filling === "white" ? 255 : 0;
  const mixed = new Uint8ClampedArray(data.length);
  for (let offset = 0; offset < data.length; offset += 4) {
    const alpha = data[offset + 3];
    for (let channel = 0; channel < 3; channel += 1) {
      mixed[offset + channel] = Math.floor((data[offset + channel] * alpha + under * (255 - alpha)) / 255 + 0.5);
    }
    mixed[offset + 3] = 255;
  }
  return mixed;
}

function isColored(data, height, width) {
  const { pixels } = reducePixels(data, [height, width], reduction(height, width), 4);
  for (let offset = 0; offset < pixels.length; offset += 4) {
    const [red, green, blue] = [pixels[offset], pixels[offset + 1], pixels[offset + 2]];
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > COLORED) return true;
  }
  return false;
}

/** The planes of RGBA: one of gray, or three. */
function planesOf(data, channels) {
  const count = data.length / 4;
  if (channels === 1) {
    const gray = new Uint8Array(count);
    for (let i = 0; i < count; i += 1) gray[i] = lumaOf(data[4 * i], data[4 * i + 1], data[4 * i + 2]);
    return [gray];
  }
  return [0, 1, 2].map((channel) => {
    const plane = new Uint8Array(count);
    for (let i = 0; i < count; i += 1) plane[i] = data[4 * i + channel];
    return plane;
  });
}

const toBytes = (values) => Uint8Array.from(values, (value) => Math.min(255, Math.max(0, roundHalfEven(value))));

const invertedPlane = (plane) => plane.map((level) => 255 - level);

/** A plane resized, bilinear and antialiased, as the images of a data set are. */
function resizedBytes(plane, from, to) {
  if (from[0] === to[0] && from[1] === to[1]) return plane;
  return toBytes(resamplePlane(plane, from, to));
}

/** Whether an image has the opposite background of the data set's images. */
function isNegative(planes, height, width, { background, framing }) {
  if (background === null) return false;
  let values = planes[0];
  if (planes.length > 1) {
    values = Float32Array.from(planes[0], (_, i) => planes.reduce((sum, plane) => sum + plane[i], 0) / planes.length);
  }
  const { dark, bright } = borderShares({ height, width, values });
  const [opposite, same] = background === "dark" ? [bright, dark] : [dark, bright];
  return opposite > (framing === null ? ALL_AROUND : same);
}

/** Planes resized to fit `size`, with the color of their border around them. */
function paddedPlanes(planes, from, size, steps) {
  const factor = Math.min(size[0] / from[0], size[1] / from[1]);
  const [height, width] = from.map((length) => Math.max(1, roundHalfEven(factor * length)));
  const resized = planes.map((plane) => resizedBytes(plane, from, [height, width]));
  if (height === size[0] && width === size[1]) return resized;
  steps.push("padded");
  const border = borderOffsets({ height: from[0], width: from[1] });
  const [y, x] = [Math.floor((size[0] - height) / 2), Math.floor((size[1] - width) / 2)];
  return resized.map((plane, channel) => {
    const values = border.map((offset) => planes[channel][offset]);
    const canvas = new Uint8Array(size[0] * size[1]).fill(roundHalfEven(quantileOf(values, 0.5)));
    for (let row = 0; row < height; row += 1) {
      canvas.set(plane.subarray(row * width, (row + 1) * width), (y + row) * size[1] + x);
    }
    return canvas;
  });
}

/** Planes in the size of the data set's images, with their proportions. */
function fittedPlanes(planes, from, { stored, framing }, steps) {
  const size = stored.slice(1);
  if (framing !== null) {
    const reduced = reducePixels(planes[0], from, reduction(...from));
    const { ink, corrected } = separateInk({ ...reduced, values: reduced.pixels });
    if (ink === null) steps.push("no ink found");
    else {
      const { placed, done } = placeInk(ink, framing, size);
      let strongest = 0; // thin strokes become pale when they are reduced
      for (const value of placed.values) strongest = Math.max(strongest, value);
      if (corrected || strongest < 255 - NEGLIGIBLE) steps.push("contrast stretched");
      steps.push(...done);
      return [toBytes(placed.values.map((value) => value * (255 / strongest)))];
    }
  }
  return paddedPlanes(planes, from, size, steps);
}

/** Planes resized and converted as the images of the data set are. */
function asInput(planes, from, { input_shape: [channels, height, width], stored }) {
  let result = planes;
  if (from[0] !== height || from[1] !== width) {
    const small = stored.slice(1);
    result = result.map((plane) => resizedBytes(resizedBytes(plane, from, small), small, [height, width]));
  }
  if (result.length === channels) return result;
  if (channels === 3) return [result[0], result[0], result[0]];
  const [red, green, blue] = result;
  return [Uint8Array.from(red, (_, i) => lumaOf(red[i], green[i], blue[i]))];
}

/**
 * An image as a network sees it.
 *
 * @param image {width, height, data: RGBA, row by row}, or instead of `data` its `planes`: one of gray or three;
 *   `original`: {width, height} before it was reduced; `rotated`, `reducedBits`: whether that was done.
 * @param preparation as `Preparation.description` in Python gives it.
 * @param invert "auto", "yes" or "no": "auto" inverts an image whose background is the opposite of the data set's.
 * @param fit "auto" places an image as the makers of the data set placed theirs; "none" stretches it.
 * @returns {pixels: Uint8Array of C * H * W levels before normalization, steps: what was done, in English}.
 */
export function prepareImage(image, preparation, { invert = "auto", fit = "auto" } = {}) {
  const { width, height } = image;
  const { input_shape: shape, stored } = preparation;
  const [channels, ...size] = shape;
  const from = [height, width];
  const isSize = (other) => other[0] === height && other[1] === width;
  const steps = image.reducedBits ? ["upper 8 of 16 bits per color"] : [];
  if (image.rotated) steps.push("rotated as EXIF says");
  let { planes } = image;
  if (!planes) {
    const isKnown = stored !== null;
    const data = opaquePixels(image.data, isKnown ? steps : null, isKnown && preparation.background !== null);
    planes = planesOf(data, channels === 1 || stored?.[0] === 1 ? 1 : 3);
    if (channels === 1 && isColored(isKnown ? data : image.data, height, width)) steps.push("converted to gray");
  }
  if (stored === null && !isSize(size)) {
    planes = planes.map((plane) => toBytes(resamplePlane(plane, from, size)));
  }
  const current = stored === null ? size : from;
  if (invert === "yes" || (invert === "auto" && isNegative(planes, ...current, preparation))) {
    steps.push("inverted");
    planes = planes.map(invertedPlane);
  }
  if (stored !== null) {
    let now = from;
    if (fit === "auto" && !isSize(stored.slice(1)) && !isSize(size)) {
      planes = fittedPlanes(planes, from, preparation, steps);
      now = stored.slice(1);
    }
    planes = asInput(planes, now, preparation);
  }
  const original = image.original ?? image;
  if (original.height !== size[0] || original.width !== size[1]) {
    steps.push(`resized from ${original.width}x${original.height}`);
    const stretched = original.height * size[1] !== original.width * size[0];
    if (stretched && !steps.includes("centered") && !steps.includes("padded")) steps.push("stretched");
  }
  const pixels = new Uint8Array(channels * size[0] * size[1]);
  planes.forEach((plane, channel) => {
    pixels.set(plane, channel * plane.length);
  });
  return { pixels, steps };
}
