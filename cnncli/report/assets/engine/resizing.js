// Layers that change the number of positions, or rearrange values, without weights.

import { paddedSource } from "./padding.js";
import { sizeOfShape } from "./shape.js";

/**
 * The positions and shares from which the units along an axis are interpolated: unit i is `values[first[i]]` and
 * `values[second[i]]`, which has the share `shares[i]`. Rounded to single precision where torch rounds.
 */
function resampledAxis(mode, size, units) {
  const first = new Int32Array(units);
  const second = new Int32Array(units);
  const shares = new Float64Array(units);
  const ratio = Math.fround(size / units);
  for (let unit = 0; unit < units; unit++) {
    if (size === units) {
      first[unit] = second[unit] = unit;
    } else if (mode === "nearest") {
      first[unit] = second[unit] = Math.min(Math.floor(Math.fround(unit * ratio)), size - 1);
    } else {
      const point = Math.max(0, Math.fround(ratio * (unit + 0.5) - 0.5));
      first[unit] = Math.min(Math.floor(point), size - 1);
      second[unit] = Math.min(first[unit] + 1, size - 1);
      shares[unit] = point - first[unit];
    }
  }
  return { first, second, shares };
}

const resamplingPlans = new WeakMap(); // operation -> rows and columns

/** The rows and columns from which an upsampling interpolates; see `resampledAxis`. */
export function resampling(op, shape) {
  let plan = resamplingPlans.get(op);
  if (!plan) {
    const [rows, columns] = [1, 2].map((axis) => resampledAxis(op.mode, shape[axis], op.shape[axis]));
    plan = { rows, columns };
    resamplingPlans.set(op, plan);
  }
  return plan;
}

/** Visits the (up to four) values that each unit is made of: `visit(unit, index in the input, weight)`. */
function eachResampled(op, shape, visit) {
  const { rows, columns } = resampling(op, shape);
  const [channels, height, width] = shape;
  const [, outHeight, outWidth] = op.shape;
  let unit = 0;
  for (let channel = 0; channel < channels; channel++)
    for (let row = 0; row < outHeight; row++) {
      const above = (channel * height + rows.first[row]) * width;
      const below = (channel * height + rows.second[row]) * width;
      const down = rows.shares[row];
      for (let column = 0; column < outWidth; column++, unit++) {
        const left = columns.first[column];
        const right = columns.second[column];
        const across = columns.shares[column];
        visit(unit, above + left, (1 - down) * (1 - across));
        if (across) visit(unit, above + right, (1 - down) * across);
        if (down) visit(unit, below + left, down * (1 - across));
        if (across && down) visit(unit, below + right, down * across);
      }
    }
}

const UPSAMPLE = {
  forward(op, [input]) {
    const sums = new Float64Array(sizeOfShape(op.shape));
    eachResampled(op, input.shape, (unit, at, weight) => {
      sums[unit] += weight * input.values[at];
    });
    return new Float32Array(sums);
  },
  backward(op, [input], _tensors, _output, gradient) {
    const result = new Float64Array(sizeOfShape(input.shape));
    eachResampled(op, input.shape, (unit, at, weight) => {
      result[at] += weight * gradient[unit];
    });
    return [result];
  },
};

const rearranged = new WeakMap(); // operation -> the index in the input of each output value, -1 for none

/**
 * An operation whose output has values of its input at other places; `sourceOf(op, channel, row, column, shape of the
 * input)` gives the place, or null where the output is `op.value`.
 */
function rearrangement(sourceOf) {
  const sources = (op, shape) => {
    let indices = rearranged.get(op);
    if (!indices) {
      const [channels, height, width] = op.shape;
      indices = new Int32Array(channels * height * width);
      let unit = 0;
      for (let channel = 0; channel < channels; channel++)
        for (let row = 0; row < height; row++)
          for (let column = 0; column < width; column++) {
            const source = sourceOf(op, channel, row, column, shape);
            indices[unit++] = source ? (source[0] * shape[1] + source[1]) * shape[2] + source[2] : -1;
          }
      rearranged.set(op, indices);
    }
    return indices;
  };
  return {
    forward(op, [input]) {
      const indices = sources(op, input.shape);
      const output = new Float32Array(indices.length);
      for (let i = 0; i < indices.length; i++) output[i] = indices[i] < 0 ? op.value : input.values[indices[i]];
      return output;
    },
    backward(op, [input], _tensors, _output, gradient) {
      const result = new Float64Array(input.values.length);
      sources(op, input.shape).forEach((index, unit) => {
        if (index >= 0) result[index] += gradient[unit];
      });
      return [result];
    },
    /** The unit of the input, [channel, row, column], whose value a unit passes on; null where it reads none. */
    source: sourceOf,
  };
}

const CHANNEL_SHUFFLE = rearrangement((op, channel, row, column, shape) => [
  (channel % op.groups) * (shape[0] / op.groups) + Math.floor(channel / op.groups),
  row,
  column,
]);

const PIXEL_SHUFFLE = rearrangement(({ upscale_factor: r }, channel, row, column) => [
  channel * r * r + (row % r) * r + (column % r),
  Math.floor(row / r),
  Math.floor(column / r),
]);

const PIXEL_UNSHUFFLE = rearrangement(({ downscale_factor: r }, channel, row, column) => [
  Math.floor(channel / (r * r)),
  row * r + (Math.floor(channel / r) % r),
  column * r + (channel % r),
]);

const PAD = rearrangement(({ before: [first, top, left], mode }, channel, row, column, [channels, height, width]) => {
  const source = [
    paddedSource("constant", channel - first, channels),
    paddedSource(mode, row - top, height),
    paddedSource(mode, column - left, width),
  ];
  return source.includes(null) ? null : source;
});

const CROP = rearrangement(({ before: [top, left] }, channel, row, column) => [channel, row + top, column + left]);

export const RESIZING = {
  pad: PAD,
  crop: CROP,
  upsample: UPSAMPLE,
  channel_shuffle: CHANNEL_SHUFFLE,
  pixel_shuffle: PIXEL_SHUFFLE,
  pixel_unshuffle: PIXEL_UNSHUFFLE,
};
