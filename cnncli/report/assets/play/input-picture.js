// A picture that somebody chose, dropped or pasted, decoded to its pixels.

import { reduction } from "./preparation.js";
import { reducePixels } from "./resampling.js";

const STRIP = 1 << 22; // pixels of a large picture that are decoded at once

/** The EXIF orientation of a JPEG, 1 to 8; 1 where it has none. */
export function exifOrientation(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return 1;
  for (let at = 2; at + 4 <= view.byteLength; ) {
    const [marker, length] = [view.getUint16(at), view.getUint16(at + 2)];
    if (marker === 0xffe1 && view.getUint32(at + 4) === 0x45786966) return orientationIn(view, at + 10);
    if (marker >> 8 !== 0xff || marker === 0xffda) return 1;
    at += 2 + length;
  }
  return 1;
}

/** The orientation in the TIFF header at an offset, whose first directory has entries of 12 bytes. */
function orientationIn(view, start) {
  const little = view.getUint16(start) === 0x4949;
  const directory = start + view.getUint32(start + 4, little);
  const count = view.getUint16(directory, little);
  for (let entry = directory + 2; entry < directory + 2 + 12 * count; entry += 12) {
    if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
  }
  return 1;
}

/** Whether a file is a PNG with 16 bits for each gray or color, of which a browser shows the upper 8. */
export function has16Bits(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.byteLength > 24 && view.getUint32(0) === 0x89504e47 && view.getUint8(24) === 16;
}

/** The pixels of a bitmap; a large one is reduced by a whole factor, by the mean over squares. */
export function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  const factor = reduction(height, width);
  const rows = factor * Math.max(1, Math.floor(STRIP / (width * factor)));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = Math.min(rows, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const size = { width: Math.ceil(width / factor), height: Math.ceil(height / factor) };
  const data = new Uint8ClampedArray(4 * size.width * size.height);
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.clearRect(0, 0, width, canvas.height);
    context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
    const strip = context.getImageData(0, 0, width, count).data;
    data.set(reducePixels(strip, [count, width], factor, 4).pixels, 4 * size.width * (top / factor));
  }
  return { ...size, data, original: { width, height } };
}

/**
 * A picture from a file, upright.
 *
 * @returns {width, height, data: RGBA, original: its size before it was reduced, rotated, reducedBits}.
 * @throws where the browser cannot decode it.
 */
export async function readPicture(file) {
  const options = { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options);
  try {
    const bytes = new Uint8Array(await file.slice(0, 1 << 17).arrayBuffer());
    let orientation = 1;
    try {
      orientation = exifOrientation(bytes);
    } catch {
      // Damaged metadata of an image that can be shown.
    }
    return { ...pixelsOf(bitmap), rotated: orientation > 1, reducedBits: has16Bits(bytes) };
  } finally {
    bitmap.close();
  }
}
