// Pools. Letters: C channels, (H, W) input, (OH, OW) output.

import { CONVOLUTIONS } from "./convolution.js";
import { sizeOfShape } from "./shape.js";

/**
 * The input positions inside the input that the units along an axis read: from `first[unit]`, `counts[unit]` of them,
 * `step` apart. `covered[unit]` also counts those in the padding, but none beyond it.
 */
function poolAxis(op, axis, size, units) {
  const first = new Int32Array(units);
  const counts = new Int32Array(units);
  const covered = new Int32Array(units);
  const step = op.kernel_size ? op.dilation[axis] : 1;
  for (let unit = 0; unit < units; unit++) {
    if (!op.kernel_size) {
      first[unit] = Math.floor((unit * size) / units);
      counts[unit] = covered[unit] = Math.ceil(((unit + 1) * size) / units) - first[unit];
      continue;
    }
    const before = op.before[axis];
    let found = false;
    for (let tap = 0; tap < op.kernel_size[axis]; tap++) {
      const position = unit * op.stride[axis] - before + tap * step;
      if (position < size + before) covered[unit]++;
      if (position < 0 || position >= size) continue;
      if (!found) first[unit] = position;
      found = true;
      counts[unit]++;
    }
  }
  return { first, counts, covered, step };
}

const poolPlans = new WeakMap(); // operation -> its axes and sizes

/** Rows and columns that the units of a pool read; a global pool has one unit for each channel. */
export function poolWindows(op, shape) {
  let plan = poolPlans.get(op);
  if (!plan) {
    const [channels, height, width] = shape;
    const [outHeight, outWidth] = op.shape.length === 3 ? op.shape.slice(1) : [1, 1];
    const rows = poolAxis(op, 0, height, outHeight);
    const columns = poolAxis(op, 1, width, outWidth);
    plan = { channels, height, width, outHeight, outWidth, rows, columns };
    poolPlans.set(op, plan);
  }
  return plan;
}

/** Visits every unit: `visit(unit, base of its channel in the input, row, column)`. */
function eachPooled({ channels, height, width, outHeight, outWidth }, visit) {
  let unit = 0;
  for (let channel = 0; channel < channels; channel++)
    for (let row = 0; row < outHeight; row++)
      for (let column = 0; column < outWidth; column++) visit(unit++, channel * height * width, row, column);
}

/** The index of the largest value of a window, the first of equal ones, as in torch; NaN counts as the largest. */
function largestIndex(plan, values, base, row, column) {
  const { rows, columns, width } = plan;
  let best = -1;
  let largest = -Infinity;
  for (let i = 0, y = rows.first[row]; i < rows.counts[row]; i++, y += rows.step)
    for (
      let j = 0, at = base + y * width + columns.first[column];
      j < columns.counts[column];
      j++, at += columns.step
    ) {
      const value = values[at];
      if (value > largest || best < 0 || Number.isNaN(value)) {
        largest = value;
        best = at;
      }
    }
  return best;
}

const LARGEST = {
  forward(op, [input]) {
    const plan = poolWindows(op, input.shape);
    const output = new Float32Array(sizeOfShape(op.shape));
    eachPooled(plan, (unit, base, row, column) => {
      const best = largestIndex(plan, input.values, base, row, column);
      output[unit] = best < 0 ? -Infinity : input.values[best];
    });
    return output;
  },
  backward(op, [input], _tensors, _output, gradient) {
    const plan = poolWindows(op, input.shape);
    const result = new Float64Array(input.values.length);
    eachPooled(plan, (unit, base, row, column) => {
      const best = largestIndex(plan, input.values, base, row, column);
      if (best >= 0) result[best] += gradient[unit];
    });
    return [result];
  },
};

/** By how much the sum of a window is divided. */
export function poolDivisor(op, { rows, columns }, row, column) {
  if (op.count_include_pad) return rows.covered[row] * columns.covered[column];
  return rows.counts[row] * columns.counts[column];
}

const MEAN = {
  forward(op, [input]) {
    const plan = poolWindows(op, input.shape);
    const { rows, columns, width } = plan;
    const output = new Float32Array(sizeOfShape(op.shape));
    eachPooled(plan, (unit, base, row, column) => {
      let sum = 0;
      for (let i = 0; i < rows.counts[row]; i++) {
        const from = base + (rows.first[row] + i) * width + columns.first[column];
        for (let at = from; at < from + columns.counts[column]; at++) sum += input.values[at];
      }
      output[unit] = sum / poolDivisor(op, plan, row, column);
    });
    return output;
  },
  backward(op, [input], _tensors, _output, gradient) {
    const plan = poolWindows(op, input.shape);
    const { rows, columns, width } = plan;
    const result = new Float64Array(input.values.length);
    eachPooled(plan, (unit, base, row, column) => {
      const share = gradient[unit] / poolDivisor(op, plan, row, column);
      for (let i = 0; i < rows.counts[row]; i++) {
        const from = base + (rows.first[row] + i) * width + columns.first[column];
        for (let at = from; at < from + columns.counts[column]; at++) result[at] += share;
      }
    });
    return [result];
  },
};

/** Visits the numbers of a window inside the input: `visit(index in the input)`. */
function eachRead({ rows, columns, width }, base, row, column, visit) {
  for (let i = 0; i < rows.counts[row]; i++) {
    const from = base + (rows.first[row] + i) * width + columns.first[column];
    for (let at = from; at < from + columns.counts[column]; at++) visit(at);
  }
}

/** The sum of the powers of a window; one that extends beyond the end is scaled up to a whole one. */
function sumOfPowers(op, plan, values, base, row, column) {
  let sum = 0;
  eachRead(plan, base, row, column, (at) => {
    sum += values[at] ** op.norm_type;
  });
  return sum * wholeOverPart(op, plan, row, column);
}

const wholeOverPart = ({ kernel_size: [height, width] }, plan, row, column) =>
  (height * width) / (plan.rows.counts[row] * plan.columns.counts[column]);

const ROOT_OF_POWERS = {
  forward(op, [input]) {
    const plan = poolWindows(op, input.shape);
    const output = new Float32Array(sizeOfShape(op.shape));
    eachPooled(plan, (unit, base, row, column) => {
      output[unit] = sumOfPowers(op, plan, input.values, base, row, column) ** (1 / op.norm_type);
    });
    return output;
  },
  backward(op, [input], _tensors, _output, gradient) {
    const plan = poolWindows(op, input.shape);
    const result = new Float64Array(input.values.length);
    eachPooled(plan, (unit, base, row, column) => {
      const sum = sumOfPowers(op, plan, input.values, base, row, column);
      if (sum === 0) return; // there is no gradient; torch says 0
      const share = gradient[unit] * sum ** (1 / op.norm_type - 1) * wholeOverPart(op, plan, row, column);
      eachRead(plan, base, row, column, (at) => {
        result[at] += share * input.values[at] ** (op.norm_type - 1);
      });
    });
    return [result];
  },
};

/** The binomial filter of `count` numbers, with a sum of 1. */
function binomial(count) {
  let row = [1];
  while (row.length < count) row = [...row, 0].map((each, i) => (each + (row[i - 1] ?? 0)) / 2);
  return row;
}

/** The kernel (kh, kw) of a blur: binomial along both axes. */
export function blurKernel({ kernel_size: [height, width] }) {
  const columns = binomial(width);
  return Float32Array.from(binomial(height).flatMap((row) => columns.map((column) => row * column)));
}

const blurs = new WeakMap(); // operation -> the convolution that it is, and its kernels

function blurOf(op, channels) {
  let blur = blurs.get(op);
  if (!blur) {
    const kernel = blurKernel(op);
    const weight = new Float32Array(channels * kernel.length);
    for (let channel = 0; channel < channels; channel++) weight.set(kernel, channel * kernel.length);
    blur = { convolution: { ...op, groups: channels }, tensors: { weight } };
    blurs.set(op, blur);
  }
  return blur;
}

const BLUR = {
  forward(op, [input]) {
    const { convolution, tensors } = blurOf(op, input.shape[0]);
    return CONVOLUTIONS.convolution.forward(convolution, [input], tensors);
  },
  backward(op, [input], _tensors, output, gradient) {
    const { convolution, tensors } = blurOf(op, input.shape[0]);
    return CONVOLUTIONS.convolution.backward(convolution, [input], tensors, output, gradient);
  },
};

export const POOLS = {
  lp_pool: ROOT_OF_POWERS,
  blur_pool: BLUR,
  max_pool: LARGEST,
  adaptive_max_pool: LARGEST,
  global_max_pool: LARGEST,
  avg_pool: MEAN,
  adaptive_avg_pool: MEAN,
  global_avg_pool: MEAN,
};
