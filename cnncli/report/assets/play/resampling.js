// Images resized, as Pillow and torch do it: separable filters whose support grows when an image is reduced.

/** A whole number; halves go to the even one, as in Python and NumPy. */
export function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

const RESIZE_FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
};

/** For each new position of an axis the first old one that counts, and the weights from there on; they sum to 1. */
function filterWeights(length, [from, to], size, name) {
  const { support, weight } = RESIZE_FILTERS[name];
  const scale = (to - from) / size;
  const stretch = Math.max(1, scale);
  return Array.from({ length: size }, (_, position) => {
    const center = from + (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support * stretch + 0.5));
    const last = Math.min(length, Math.trunc(center + support * stretch + 0.5));
    const weights = Float64Array.from({ length: last - first }, (_, i) => weight((i + first - center + 0.5) / stretch));
    const total = weights.reduce((sum, each) => sum + each, 0);
    return { first, weights: weights.map((each) => each / total) };
  });
}

/**
 * A part of a plane of numbers, resized.
 *
 * @param values height * width numbers, row by row.
 * @param size [height, width] of the plane.
 * @param to [height, width] of the result.
 * @param box {top, bottom, left, right} of the part; by default all.
 * @param filter "box", the mean over an area, or "bilinear".
 * @returns Float32Array of the new size.
 */
export function resamplePlane(values, [height, width], to, { box, filter = "bilinear" } = {}) {
  const { top, bottom, left, right } = box ?? { top: 0, bottom: height, left: 0, right: width };
  const [newHeight, newWidth] = to;
  const columns = filterWeights(width, [left, right], newWidth, filter);
  const rows = filterWeights(height, [top, bottom], newHeight, filter);
  const wide = new Float32Array(height * newWidth);
  const [firstRow, { first, weights }] = [rows[0].first, rows.at(-1)];
  for (let row = firstRow; row < first + weights.length; row += 1) {
    for (let column = 0; column < newWidth; column += 1) {
      const axis = columns[column];
      const offset = row * width + axis.first;
      let sum = 0;
      for (let i = 0; i < axis.weights.length; i += 1) sum += axis.weights[i] * values[offset + i];
      wide[row * newWidth + column] = sum;
    }
  }
  const result = new Float32Array(newHeight * newWidth);
  for (let row = 0; row < newHeight; row += 1) {
    const axis = rows[row];
    for (let column = 0; column < newWidth; column += 1) {
      const offset = axis.first * newWidth + column;
      let sum = 0;
      for (let i = 0; i < axis.weights.length; i += 1) sum += axis.weights[i] * wide[offset + i * newWidth];
      result[row * newWidth + column] = sum;
    }
  }
  return result;
}

/**
 * Means of squares of `factor` pixels a side; those at the right and lower edge may be smaller.
 *
 * @param pixels whole numbers 0..255, row by row, `channels` of them for each pixel.
 * @returns {height, width, pixels} with rounded means.
 */
export function reducePixels(pixels, [height, width], factor, channels = 1) {
  if (factor === 1) return { height, width, pixels };
  const [newHeight, newWidth] = [Math.ceil(height / factor), Math.ceil(width / factor)];
  const sums = new Uint32Array(newHeight * newWidth * channels);
  for (let row = 0, offset = 0; row < height; row += 1) {
    const start = Math.floor(row / factor) * newWidth;
    for (let column = 0; column < width; column += 1) {
      const target = (start + Math.floor(column / factor)) * channels;
      for (let channel = 0; channel < channels; channel += 1, offset += 1) sums[target + channel] += pixels[offset];
    }
  }
  const means = new Uint8ClampedArray(sums.length);
  for (let row = 0, offset = 0; row < newHeight; row += 1) {
    const rows = Math.min(factor, height - row * factor);
    for (let column = 0; column < newWidth; column += 1) {
      const count = rows * Math.min(factor, width - column * factor);
      for (let channel = 0; channel < channels; channel += 1, offset += 1) {
        means[offset] = Math.floor(sums[offset] / count + 0.5);
      }
    }
  }
  return { height: newHeight, width: newWidth, pixels: means };
}
