// Convolutions. Letters: O output channels, C input channels, (H, W) map, (kh, kw) kernel.
//
// A convolution and its adjoint (the transposed convolution, and the gradient of either) relate a small side, one
// position for each place of the window, to a large side, which is kept in double precision with its padding. The
// windows of all places read the large side at the same `offsets` from their first position.

import { paddedSources } from "./padding.js";
import { positionsOfShape, sizeOfShape } from "./shape.js";

const BLOCK = 4; // output channels computed together, so that each number read is used as often

/** How the sides of a convolution lie in memory: of the operation `op`, for maps `small` and `large` (C, H, W). */
class Windows {
  constructor(op, small, large) {
    const [kernelHeight, kernelWidth] = op.kernel_size;
    [, this.height, this.width] = small;
    [this.rowStride, this.columnStride] = op.stride;
    [this.channels, this.largeHeight, this.largeWidth] = large;
    [this.top, this.left] = op.before;
    this.groups = op.groups;
    this.outputs = small[0] / op.groups; // of each group
    this.depth = large[0] / op.groups;
    const spanned = (count, stride, kernel, dilation) => (count - 1) * stride + (kernel - 1) * dilation + 1;
    const [downwards, across] = op.dilation;
    this.paddedHeight = Math.max(
      spanned(this.height, this.rowStride, kernelHeight, downwards),
      this.top + this.largeHeight,
    );
    this.paddedWidth = Math.max(
      spanned(this.width, this.columnStride, kernelWidth, across),
      this.left + this.largeWidth,
    );
    this.rows = paddedSources(op.padding_mode, this.paddedHeight, this.top, this.largeHeight);
    this.columns = paddedSources(op.padding_mode, this.paddedWidth, this.left, this.largeWidth);
    this.plane = this.paddedHeight * this.paddedWidth;
    this.offsets = new Int32Array(this.depth * kernelHeight * kernelWidth);
    let count = 0;
    for (let channel = 0; channel < this.depth; channel++)
      for (let row = 0; row < kernelHeight; row++)
        for (let column = 0; column < kernelWidth; column++)
          this.offsets[count++] = channel * this.plane + row * downwards * this.paddedWidth + column * across;
  }

  /** The large side with its padding, zeros or a copy of `values`; overwritten by the next call for any windows. */
  padded(values = null) {
    const size = this.channels * this.plane;
    if (size > scratch.length) scratch = new Float64Array(size);
    const padded = scratch.subarray(0, size).fill(0);
    if (!values) return padded;
    const { columns, left, largeWidth } = this;
    this.eachRow((from, to) => {
      copyRow(values, from, padded, to + left, largeWidth);
      for (const [position, source] of columns.repeated) padded[to + position] = values[from + source];
    });
    return padded;
  }

  /** Adds to `values` (C, H, W) what is inside the padding, and what stands for a repeated number. */
  cropInto(values, padded) {
    const { columns, left, largeWidth } = this;
    this.eachRow((from, to) => {
      for (let column = 0; column < largeWidth; column++) values[from + column] += padded[to + left + column];
      for (const [position, source] of columns.repeated) values[from + source] += padded[to + position];
    });
  }

  /** Visits every row that has numbers: `visit(its start in the large side, its start in the padded one)`. */
  eachRow(visit) {
    const { channels, rows, plane, largeHeight, largeWidth, paddedWidth } = this;
    for (let channel = 0; channel < channels; channel++)
      for (const [position, source] of rows.all)
        visit((channel * largeHeight + source) * largeWidth, channel * plane + position * paddedWidth);
  }
}

let scratch = new Float64Array(0);
const windowsOf = new WeakMap(); // operation -> Windows
const packedKernels = new WeakMap(); // weight tensor -> its kernels in the order in which they are read

function convolutionWindows(op, small, large) {
  let windows = windowsOf.get(op);
  if (!windows) {
    windows = new Windows(op, small, large);
    windowsOf.set(op, windows);
  }
  return windows;
}

function copyRow(from, start, to, position, count) {
  for (let i = 0; i < count; i++) to[position + i] = from[start + i];
}

/** Kernels in double precision. Those of a whole block of a group lie side by side: [offset][channel of the block]. */
function packKernels(weight, windows) {
  let packed = packedKernels.get(weight);
  if (packed) return packed;
  const taps = windows.offsets.length;
  packed = new Float64Array(weight.length);
  for (let group = 0; group < windows.groups; group++)
    for (let first = 0; first < windows.outputs; first += BLOCK) {
      const start = (group * windows.outputs + first) * taps;
      const count = first + BLOCK <= windows.outputs ? BLOCK : 1;
      const end = count === BLOCK ? BLOCK : windows.outputs - first;
      for (let k = 0; k < taps; k++)
        for (let channel = 0; channel < end; channel++) {
          const to = count === BLOCK ? k * BLOCK + channel : channel * taps + k;
          packed[start + to] = weight[start + channel * taps + k];
        }
    }
  packedKernels.set(weight, packed);
  return packed;
}

/** Visits the output channels: `block(first output channel, first kernel number, channel of the large side)`. */
function eachBlock(windows, block, single) {
  const taps = windows.offsets.length;
  for (let group = 0; group < windows.groups; group++) {
    const base = group * windows.depth * windows.plane;
    let first = 0;
    for (; first + BLOCK <= windows.outputs; first += BLOCK) {
      const channel = group * windows.outputs + first;
      block(channel, channel * taps, base);
    }
    for (; first < windows.outputs; first++) {
      const channel = group * windows.outputs + first;
      single(channel, channel * taps, base);
    }
  }
}

/** The cross-correlation of the large side with the kernels: (O, H, W) in single precision. */
function correlate(windows, weight, bias, values, output) {
  const padded = windows.padded(values);
  const kernels = packKernels(weight, windows);
  eachBlock(
    windows,
    (channel, kernel, base) => correlateBlock(windows, kernels, kernel, padded, base, bias, channel, output),
    (channel, kernel, base) => correlateSingle(windows, kernels, kernel, padded, base, bias, channel, output),
  );
  return output;
}

/** Four output channels at two positions at a time. */
function correlateBlock(windows, kernels, kernel, padded, base, bias, channel, output) {
  const { height, width, offsets, rowStride, columnStride, paddedWidth } = windows;
  const taps = offsets.length;
  const size = height * width;
  const a = bias ? bias[channel] : 0;
  const b = bias ? bias[channel + 1] : 0;
  const c = bias ? bias[channel + 2] : 0;
  const d = bias ? bias[channel + 3] : 0;
  for (let row = 0; row < height; row++) {
    let to = channel * size + row * width;
    let from = base + row * rowStride * paddedWidth;
    let column = 0;
    for (; column + 1 < width; column += 2, to += 2, from += 2 * columnStride) {
      let a0 = 0;
      let b0 = 0;
      let c0 = 0;
      let d0 = 0;
      let a1 = 0;
      let b1 = 0;
      let c1 = 0;
      let d1 = 0;
      for (let k = 0, w = kernel; k < taps; k++, w += 4) {
        const place = from + offsets[k];
        const x0 = padded[place];
        const x1 = padded[place + columnStride];
        const wa = kernels[w];
        const wb = kernels[w + 1];
        const wc = kernels[w + 2];
        const wd = kernels[w + 3];
        a0 += wa * x0;
        b0 += wb * x0;
        c0 += wc * x0;
        d0 += wd * x0;
        a1 += wa * x1;
        b1 += wb * x1;
        c1 += wc * x1;
        d1 += wd * x1;
      }
      output[to] = a0 + a;
      output[to + 1] = a1 + a;
      output[to + size] = b0 + b;
      output[to + size + 1] = b1 + b;
      output[to + 2 * size] = c0 + c;
      output[to + 2 * size + 1] = c1 + c;
      output[to + 3 * size] = d0 + d;
      output[to + 3 * size + 1] = d1 + d;
    }
    if (column < width) {
      let a0 = 0;
      let b0 = 0;
      let c0 = 0;
      let d0 = 0;
      for (let k = 0, w = kernel; k < taps; k++, w += 4) {
        const x = padded[from + offsets[k]];
        a0 += kernels[w] * x;
        b0 += kernels[w + 1] * x;
        c0 += kernels[w + 2] * x;
        d0 += kernels[w + 3] * x;
      }
      output[to] = a0 + a;
      output[to + size] = b0 + b;
      output[to + 2 * size] = c0 + c;
      output[to + 3 * size] = d0 + d;
    }
  }
}

/** One output channel at four positions at a time: of depthwise convolutions, and what is left of a block. */
function correlateSingle(windows, kernels, kernel, padded, base, bias, channel, output) {
  const { height, width, offsets, rowStride, columnStride, paddedWidth } = windows;
  const taps = offsets.length;
  const shift = bias ? bias[channel] : 0;
  for (let row = 0; row < height; row++) {
    let to = (channel * height + row) * width;
    let from = base + row * rowStride * paddedWidth;
    let column = 0;
    for (; column + 3 < width; column += 4, to += 4, from += 4 * columnStride) {
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let k = 0; k < taps; k++) {
        const place = from + offsets[k];
        const w = kernels[kernel + k];
        s0 += w * padded[place];
        s1 += w * padded[place + columnStride];
        s2 += w * padded[place + 2 * columnStride];
        s3 += w * padded[place + 3 * columnStride];
      }
      output[to] = s0 + shift;
      output[to + 1] = s1 + shift;
      output[to + 2] = s2 + shift;
      output[to + 3] = s3 + shift;
    }
    for (; column < width; column++, to++, from += columnStride) {
      let sum = 0;
      for (let k = 0; k < taps; k++) sum += kernels[kernel + k] * padded[from + offsets[k]];
      output[to] = sum + shift;
    }
  }
}

/** The adjoint of `correlate`: each number of the small side adds its kernel, times itself, to `output` (C, H, W). */
function spread(windows, weight, values, output) {
  const padded = windows.padded();
  const kernels = packKernels(weight, windows);
  eachBlock(
    windows,
    (channel, kernel, base) => spreadBlock(windows, kernels, kernel, padded, base, channel, values),
    (channel, kernel, base) => spreadSingle(windows, kernels, kernel, padded, base, channel, values),
  );
  windows.cropInto(output, padded);
  return output;
}

function spreadBlock(windows, kernels, kernel, padded, base, channel, values) {
  const { height, width, offsets, rowStride, columnStride, paddedWidth } = windows;
  const taps = offsets.length;
  const size = height * width;
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const from = channel * size + row * width + column;
      const to = base + row * rowStride * paddedWidth + column * columnStride;
      const a = values[from];
      const b = values[from + size];
      const c = values[from + 2 * size];
      const d = values[from + 3 * size];
      if (a === 0 && b === 0 && c === 0 && d === 0) continue;
      for (let k = 0, w = kernel; k < taps; k++, w += 4)
        padded[to + offsets[k]] += kernels[w] * a + kernels[w + 1] * b + kernels[w + 2] * c + kernels[w + 3] * d;
    }
}

function spreadSingle(windows, kernels, kernel, padded, base, channel, values) {
  const { height, width, offsets, rowStride, columnStride, paddedWidth } = windows;
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const value = values[(channel * height + row) * width + column];
      const to = base + row * rowStride * paddedWidth + column * columnStride;
      for (let k = 0; k < offsets.length; k++) padded[to + offsets[k]] += kernels[kernel + k] * value;
    }
}

/** The numbers of the weight tensor that are the kernel of an output channel, (C / groups, kh, kw). */
function kernelOfConvolution(_op, shape, channel) {
  const size = shape[1] * shape[2] * shape[3];
  return Array.from({ length: size }, (_, i) => channel * size + i);
}

/** The same of a transposed convolution, whose weights are (C, O / groups, kh, kw). */
function kernelOfTransposed(op, shape, channel) {
  const [inputs, outputs, height, width] = shape;
  const group = Math.floor(channel / outputs);
  const depth = inputs / op.groups;
  const size = height * width;
  const indices = [];
  for (let input = group * depth; input < (group + 1) * depth; input++)
    for (let i = 0; i < size; i++) indices.push((input * outputs + (channel % outputs)) * size + i);
  return indices;
}

export const CONVOLUTIONS = {
  convolution: {
    forward(op, [input], { weight, bias }) {
      const windows = convolutionWindows(op, op.shape, input.shape);
      return correlate(windows, weight, bias, input.values, new Float32Array(sizeOfShape(op.shape)));
    },
    backward(op, [input], { weight }, _output, gradient) {
      const windows = convolutionWindows(op, op.shape, input.shape);
      return [spread(windows, weight, gradient, new Float64Array(sizeOfShape(input.shape)))];
    },
    kernel: kernelOfConvolution,
  },
  transposed_convolution: {
    forward(op, [input], { weight, bias }) {
      const windows = convolutionWindows(op, input.shape, op.shape);
      const sums = new Float64Array(sizeOfShape(op.shape));
      const size = positionsOfShape(op.shape);
      if (bias) for (let i = 0; i < sums.length; i++) sums[i] = bias[Math.floor(i / size)];
      return new Float32Array(spread(windows, weight, input.values, sums));
    },
    backward(op, [input], { weight }, _output, gradient) {
      const windows = convolutionWindows(op, input.shape, op.shape);
      // In single precision, like all outputs of `correlate`, so that its loops are compiled for one type.
      const result = correlate(windows, weight, null, gradient, new Float32Array(sizeOfShape(input.shape)));
      return [Float64Array.from(result)];
    },
    kernel: kernelOfTransposed,
  },
};
