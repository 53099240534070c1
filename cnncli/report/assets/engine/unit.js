// The arithmetic of one unit, step by step: what it reads, the products, and every number from their sum to its value.
//
// Sums are made here once more, one number after another, so that a result equal to the engine's is a check.
// Letters: C channels, (H, W) input, (kh, kw) kernel. An index is [channel, row, column], or [number] in a vector.

import { softmaxAt } from "./activation.js";
import { coordinateOf } from "./coordinates.js";
import { OPERATIONS } from "./operations.js";
import { paddedSource } from "./padding.js";
import { blurKernel } from "./pooling.js";
import { resampling } from "./resizing.js";

const totalOf = (values) => values.reduce((total, each) => total + each, 0);

/** The number at an index of {shape, values}. */
export function numberAt({ shape, values }, index) {
  const [channel, row, column] = index;
  return values[index.length === 1 ? channel : (channel * shape[1] + row) * shape[2] + column];
}

/**
 * How a unit computes its value.
 *
 * - `inputs`: of its layer, {name, shape, values} each.
 * - `patches`: what it reads, channel by channel, where it reads a window: {channel, rows, columns, values, kernel,
 *   total}. A row or column in the padding is null, the values there are 0. `values` and `kernel` have kh * kw numbers;
 *   `kernel` and `total`, the sum of the products, are null in a pool.
 * - `terms`: every value that it reads, {source, index, value, weight, product}: of which input, where in it, and what
 *   it is multiplied by. Of a max pool only the largest.
 * - `stages`: the numbers on the way, {kind, value, ...}, the last one the unit's own. The kinds are `sum` (of
 *   `channels`, `products`, `powers` or `paths`), `root`, `largest`, `mean`, `weighted`, `passed`, `divided`, `scaled`
 *   (`of` a `gate`: by its sigmoid), `bias`, `norm`, `activation`, `constant` (a number of the layer itself, as in
 *   padding), and `edit`: the factor of a channel that was edited. `mean`, `weight` and `bias` of a norm are null where
 *   it has none; without a mean, its `variance` is the mean of the squares.
 *
 * @param values layer -> its output for the image, of all layers that this one reads.
 * @param input the normalized image.
 */
export function unitTrace(network, layer, index, values, input) {
  const spec = network.layer(layer);
  const inputs = spec.inputs.map((name) => ({
    name,
    shape: network.shapeOf(name),
    values: name === "input" ? input : values.get(name),
  }));
  const [first, ...others] = network.operationsOf(spec);
  const trace = first
    ? traceOf(first, inputs, network.tensorsOf(first), index)
    : passedOn(inputs, { source: 0, index });
  const needsMaps = others.some(({ name }) => OPERATIONS[name].statistics);
  const maps = needsMaps ? network.intermediates(layer, values, input) : [];
  let { shape } = first ?? spec;
  others.forEach((op, i) => {
    trace.stages.push(stageOf(trace.stages.at(-1).value, op, { shape, values: maps[i] }, network.tensorsOf(op), index));
    ({ shape } = op);
  });
  const factor = network.factors.get(layer)?.get(index[0]);
  if (factor !== undefined) {
    trace.stages.push({ kind: "edit", factor, value: trace.stages.at(-1).value * factor });
  }
  return { inputs, ...trace };
}

/** The trace of the first operation of a layer. */
function traceOf(op, inputs, tensors, index) {
  const move = moveOf(
    op,
    inputs.map(({ shape }) => shape),
    index,
  );
  if (move) return passedOn(inputs, move);
  if (op.name in UNIT_TRACES) return UNIT_TRACES[op.name](op, inputs, tensors, index);
  const value = numberAt(inputs[0], index);
  const stage = stageOf(value, op, inputs[0], tensors, index);
  return { patches: [], terms: [termOf(0, index, value, stage.factor ?? 1)], stages: [stage] };
}

const termOf = (source, index, value, weight) => ({ source, index, value, weight, product: value * weight });

/** The trace of a unit that is a number of an input, unchanged. */
function passedOn(inputs, { source, index }) {
  const value = numberAt(inputs[source], index);
  return { patches: [], terms: [termOf(source, index, value, 1)], stages: [{ kind: "passed", value }] };
}

/** The trace of a unit that reads nothing. */
const constant = (value) => ({ patches: [], terms: [], stages: [{ kind: "constant", value }] });

// Operations that only move numbers

/** The {source, index} of the number that is a unit of an operation, where it is only moved; else null. */
function moveOf(op, shapes, index) {
  const { source } = OPERATIONS[op.name];
  if (source) {
    const place = source(op, ...index, shapes[0]);
    return place && { source: 0, index: place };
  }
  return REARRANGED[op.name]?.(op, shapes, index) ?? null;
}

const REARRANGED = {
  flatten(_op, [[, height, width]], [number]) {
    const place = number % (height * width);
    return { source: 0, index: [Math.floor(number / (height * width)), Math.floor(place / width), place % width] };
  },
  concat(_op, shapes, [number, ...place]) {
    let [source, channel] = [0, number];
    while (channel >= shapes[source][0]) {
      channel -= shapes[source][0];
      source += 1;
    }
    return { source, index: [channel, ...place] };
  },
  coordinates: (_op, [shape], index) => (index[0] < shape[0] ? { source: 0, index } : null),
  upsample(op, [shape], [channel, row, column]) {
    if (op.mode !== "nearest") return null;
    const { rows, columns } = resampling(op, shape);
    return { source: 0, index: [channel, rows.first[row], columns.first[column]] };
  },
};

/**
 * Where the number of a unit comes from, followed back through layers that only move numbers, such as flatten.
 *
 * @returns {layer, index}; the layer is `input` at the image.
 */
export function originOf(network, layer, index) {
  while (layer !== "input") {
    const spec = network.layer(layer);
    const operations = network.operationsOf(spec);
    if (operations.length > 1 || network.factors.get(layer)?.has(index[0])) break;
    const shapes = spec.inputs.map((name) => network.shapeOf(name));
    const move = operations.length ? moveOf(operations[0], shapes, index) : { source: 0, index };
    if (!move) break;
    layer = spec.inputs[move.source];
    index = move.index;
  }
  return { layer, index };
}

/** The layer with maps of which a vector, the output of `layer`, has the numbers in order; null if there is none. */
export function mapsBehind(network, layer) {
  while (network.shapeOf(layer).length === 1) {
    const spec = network.layer(layer);
    const operations = network.operationsOf(spec);
    if (operations.some(({ name }) => name !== "flatten")) return null;
    [layer] = spec.inputs;
  }
  return layer;
}

// Operations that combine numbers: (op, inputs, tensors, index) -> trace

const UNIT_TRACES = {
  convolution(op, [x], { weight, bias }, index) {
    const [channel] = index;
    const depth = x.shape[0] / op.groups; // weight (O, C / groups, kh, kw)
    const first = Math.floor(channel / (op.shape[0] / op.groups)) * depth;
    const axes = slidingAxes(op, x, index);
    return sumOfChannels(depth, bias, channel, (k) =>
      cropPatch(x, first + k, axes, kernelAt(weight, channel * depth + k, op.kernel_size)),
    );
  },

  transposed_convolution(op, [x], { weight, bias }, [channel, ...place]) {
    const outputs = op.shape[0] / op.groups; // weight (C, O / groups, kh, kw)
    const depth = x.shape[0] / op.groups;
    const first = Math.floor(channel / outputs) * depth;
    const axes = place.map((each, i) =>
      positionsAlong(
        op.kernel_size[i],
        x.shape[i + 1],
        (tap) => (each + op.before[i] - tap * op.dilation[i]) / op.stride[i],
      ),
    );
    return sumOfChannels(depth, bias, channel, (k) =>
      cropPatch(x, first + k, axes, kernelAt(weight, (first + k) * outputs + (channel % outputs), op.kernel_size)),
    );
  },

  linear(_op, [x], { weight, bias }, [number]) {
    const count = x.values.length;
    const terms = Array.from(x.values, (value, i) => termOf(0, [i], value, weight[number * count + i]));
    const total = totalOf(terms.map(({ product }) => product));
    return { patches: [], terms, stages: withBias({ kind: "sum", of: "products", value: total }, bias, number) };
  },

  max_pool: (op, [x], _tensors, index) => largestOfPatch(cropPatch(x, index[0], slidingAxes(op, x, index))),
  adaptive_max_pool: (op, [x], _tensors, index) => largestOfPatch(cropPatch(x, index[0], binAxes(op, x, index))),
  global_max_pool: (_op, [x], _tensors, [channel]) => largestOfPatch(cropPatch(x, channel, wholeAxes(x))),

  avg_pool(op, [x], _tensors, index) {
    // Padding counts unless that is turned off; what a window covers beyond the padding never does.
    const counts = [0, 1].map((i) => {
      const pad = op.count_include_pad ? op.before[i] : 0;
      const places = Array.from({ length: op.kernel_size[i] }, (_, tap) => slidingPosition(op, i, index[i + 1], tap));
      return places.filter((each) => each >= -pad && each < x.shape[i + 1] + pad).length;
    });
    return meanOfPatch(cropPatch(x, index[0], slidingAxes(op, x, index)), counts[0] * counts[1]);
  },
  lp_pool(op, [x], _tensors, index) {
    const { norm_type: power, kernel_size: kernel } = op;
    const patch = cropPatch(x, index[0], slidingAxes(op, x, index));
    const inside = patchTerms(patch);
    const scale = (kernel[0] * kernel[1]) / inside.length; // a window beyond the end is scaled up to a whole one
    const terms = inside.map((each) => termOf(0, each.index, each.value, scale * each.value ** (power - 1)));
    const sum = totalOf(terms.map(({ product }) => product));
    const stages = [
      { kind: "sum", of: "powers", value: sum },
      { kind: "root", power, value: sum ** (1 / power) },
    ];
    return { patches: [patch], terms, stages };
  },
  blur_pool(op, [x], _tensors, index) {
    const patch = cropPatch(x, index[0], slidingAxes(op, x, index), blurKernel(op));
    return { patches: [patch], terms: patchTerms(patch), stages: [{ kind: "weighted", value: patch.total }] };
  },
  adaptive_avg_pool: (op, [x], _tensors, index) => meanOfPatch(cropPatch(x, index[0], binAxes(op, x, index))),
  global_avg_pool: (_op, [x], _tensors, [channel]) => meanOfPatch(cropPatch(x, channel, wholeAxes(x))),

  upsample(op, [x], _tensors, [channel, ...place]) {
    const { rows, columns } = resampling(op, x.shape);
    const [down, across] = [rows, columns].map((axis, i) => sharesAt(axis, place[i]));
    const terms = down.flatMap(([row, a]) =>
      across.map(([column, b]) => termOf(0, [channel, row, column], numberAt(x, [channel, row, column]), a * b)),
    );
    const value = totalOf(terms.map(({ product }) => product));
    return { patches: [], terms, stages: [{ kind: terms.length === 1 ? "passed" : "weighted", value }] };
  },

  pad: ({ value }) => constant(value), // other units are moved
  coordinates: (_op, [x], _tensors, index) => constant(coordinateOf(x.shape, index)),

  local_response_norm({ size, alpha, beta, k }, [x], _tensors, [channel, row, column]) {
    const first = channel - Math.floor(size / 2);
    let squares = 0;
    for (let each = Math.max(0, first); each < Math.min(x.shape[0], first + size); each += 1) {
      squares += numberAt(x, [each, row, column]) ** 2;
    }
    const divisor = (k + (alpha * squares) / size) ** beta;
    const own = termOf(0, [channel, row, column], numberAt(x, [channel, row, column]), 1 / divisor);
    return { patches: [], terms: [own], stages: [{ kind: "divided", divisor, value: own.product }] };
  },

  softmax(op, [x], _tensors, index) {
    const [channel, row, column] = index;
    const before = numberAt(x, index);
    const shares = softmaxAt(x, index.length === 1 ? 0 : row * x.shape[2] + column);
    const value = shares[channel];
    // As a function of this number, while those of the other channels stay.
    const apply = (each) => 1 / (1 + (1 / value - 1) * Math.exp(before - each));
    return {
      patches: [],
      terms: [termOf(0, index, before, 1)],
      stages: [{ kind: "activation", type: op.name, before, value, apply }],
    };
  },

  self_attention(op, [x], { qkv_weight, qkv_bias, out_weight, out_bias }, [channel, row, column]) {
    const [channels, , width] = x.shape;
    const positions = x.values.length / channels;
    const size = channels / op.num_heads;
    const at = (place) => Array.from({ length: channels }, (_, c) => x.values[c * positions + place]);
    /** Row `number` of the queries (`part` 0), keys (1) or values (2) at a position. */
    const projected = (part, number, numbers) => {
      const first = part * channels + number;
      const products = numbers.map((value, c) => value * qkv_weight[first * channels + c]);
      return totalOf(products) + (qkv_bias ? qkv_bias[first] : 0);
    };
    const inputs = Array.from({ length: positions }, (_, place) => at(place));
    const weights = inputs.map(() => new Float64Array(channels)); // of each input of each position
    for (let first = 0; first < channels; first += size) {
      const head = Array.from({ length: size }, (_, i) => first + i);
      const query = head.map((number) => projected(0, number, inputs[row * width + column]));
      const scores = inputs.map(
        (each) => totalOf(head.map((number, i) => query[i] * projected(1, number, each))) / Math.sqrt(size),
      );
      const largest = scores.reduce((one, other) => Math.max(one, other), -Infinity);
      const exponentials = scores.map((score) => Math.exp(score - largest));
      const total = totalOf(exponentials);
      for (let c = 0; c < channels; c += 1) {
        const throughValues = totalOf(
          head.map(
            (number) => out_weight[channel * channels + number] * qkv_weight[(2 * channels + number) * channels + c],
          ),
        );
        exponentials.forEach((each, place) => {
          weights[place][c] += (throughValues * each) / total;
        });
      }
    }
    const terms = Array.from({ length: channels }, (_, c) =>
      inputs.map((each, place) => termOf(0, [c, Math.floor(place / width), place % width], each[c], weights[place][c])),
    ).flat();
    const sum = { kind: "sum", of: "products", value: totalOf(terms.map(({ product }) => product)) };
    if (!qkv_bias && !out_bias) return { patches: [], terms, stages: [sum] };
    // The attention of a position adds up to 1: the bias of the values arrives as a constant.
    const ofValues = Array.from({ length: channels }, (_, number) =>
      qkv_bias ? out_weight[channel * channels + number] * qkv_bias[2 * channels + number] : 0,
    );
    const bias = totalOf(ofValues) + (out_bias ? out_bias[channel] : 0);
    return { patches: [], terms, stages: withBias(sum, [bias], 0) };
  },

  glu(op, [x], _tensors, [channel, ...place]) {
    const before = numberAt(x, [channel, ...place]);
    const factor = 1 / (1 + Math.exp(-numberAt(x, [channel + op.shape[0], ...place])));
    const own = termOf(0, [channel, ...place], before, factor);
    return { patches: [], terms: [own], stages: [{ kind: "scaled", of: "gate", before, factor, value: own.product }] };
  },

  maxout({ pieces }, [x], _tensors, [channel, ...place]) {
    const indices = Array.from({ length: pieces }, (_, piece) => [channel * pieces + piece, ...place]);
    const numbers = indices.map((index) => numberAt(x, index));
    const value = Math.max(...numbers);
    return {
      patches: [],
      terms: [termOf(0, indices[numbers.indexOf(value)], value, 1)],
      stages: [{ kind: "largest", value }],
    };
  },

  add(_op, inputs, _tensors, index) {
    const terms = inputs.map((each, source) => termOf(source, index, numberAt(each, index), 1));
    const value = totalOf(terms.map(({ product }) => product));
    return { patches: [], terms, stages: [{ kind: "sum", of: "paths", value }] };
  },

  multiply(_op, inputs, _tensors, index) {
    const places = inputs.map(({ shape }) => shape.map((size, axis) => (size > 1 ? index[axis] : 0)));
    const [before, ...others] = inputs.map((each, source) => numberAt(each, places[source]));
    const factor = others.reduce((product, each) => product * each, 1);
    const value = before * factor;
    return {
      patches: [],
      terms: [termOf(0, places[0], before, factor)],
      stages: [{ kind: "scaled", before, factor, value }],
    };
  },

  max(_op, inputs, _tensors, index) {
    const numbers = inputs.map((each) => numberAt(each, index));
    const value = Math.max(...numbers);
    return {
      patches: [],
      terms: [termOf(numbers.indexOf(value), index, value, 1)],
      stages: [{ kind: "largest", value }],
    };
  },

  mean(_op, inputs, _tensors, index) {
    const terms = inputs.map((each, source) => termOf(source, index, numberAt(each, index), 1 / inputs.length));
    const total = totalOf(terms.map((each) => each.value));
    const divisor = inputs.length;
    return { patches: [], terms, stages: [{ kind: "mean", total, divisor, value: total / divisor }] };
  },
};

// Windows

/** The input position of each of `count` taps; null outside the input, and between its positions. */
const positionsAlong = (count, size, positionOf) =>
  Array.from({ length: count }, (_, tap) => {
    const position = positionOf(tap);
    return Number.isInteger(position) && position >= 0 && position < size ? position : null;
  });

const slidingPosition = ({ stride, before, dilation }, axis, place, tap) =>
  place * stride[axis] - before[axis] + tap * dilation[axis];

/** Rows and columns of the window of a unit with a kernel; of padding that repeats numbers, those that it repeats. */
const slidingAxes = (op, x, index) =>
  [0, 1].map((i) =>
    Array.from({ length: op.kernel_size[i] }, (_, tap) =>
      paddedSource(op.padding_mode, slidingPosition(op, i, index[i + 1], tap), x.shape[i + 1]),
    ),
  );

/** Rows and columns of a bin of an adaptive pool: floor(i n / m) to ceil((i + 1) n / m) - 1. */
const binAxes = ({ shape }, x, index) =>
  [1, 2].map((i) => {
    const first = Math.floor((index[i] * x.shape[i]) / shape[i]);
    const end = Math.ceil(((index[i] + 1) * x.shape[i]) / shape[i]);
    return Array.from({ length: end - first }, (_, place) => first + place);
  });

const wholeAxes = ({ shape }) => shape.slice(1).map((size) => Array.from({ length: size }, (_, place) => place));

const LEAST_SHARE = 1e-6; // smaller ones are the rounding of a share of 0

/** The positions from which a unit is interpolated along an axis, with their shares. */
function sharesAt({ first, second, shares }, unit) {
  if (first[unit] === second[unit]) return [[first[unit], 1]];
  const both = [
    [first[unit], 1 - shares[unit]],
    [second[unit], shares[unit]],
  ];
  return both.filter(([, share]) => share > LEAST_SHARE);
}

/** The patch of a channel of x at rows and columns, under a kernel if there is one. */
function cropPatch(x, channel, [rows, columns], kernel = null) {
  const values = rows.flatMap((row) =>
    columns.map((column) => (row === null || column === null ? 0 : numberAt(x, [channel, row, column]))),
  );
  const total = kernel && totalOf(values.map((value, i) => value * kernel[i]));
  return { channel, rows, columns, values, kernel, total };
}

const kernelAt = (weight, number, [height, width]) =>
  weight.subarray(number * height * width, (number + 1) * height * width);

/** The terms of a patch, without padding. */
const patchTerms = ({ channel, rows, columns, values, kernel }, weight = 1) =>
  rows.flatMap((row, a) =>
    columns.flatMap((column, b) => {
      if (row === null || column === null) return [];
      const i = a * columns.length + b;
      return [termOf(0, [channel, row, column], values[i], kernel ? kernel[i] : weight)];
    }),
  );

function sumOfChannels(depth, bias, channel, patchOf) {
  const patches = Array.from({ length: depth }, (_, k) => patchOf(k));
  const sum = { kind: "sum", of: "channels", value: totalOf(patches.map(({ total }) => total)) };
  return { patches, terms: patches.flatMap((each) => patchTerms(each)), stages: withBias(sum, bias, channel) };
}

/** A stage, and the bias of a channel added to it where there is one. */
function withBias(stage, bias, channel) {
  return bias ? [stage, { kind: "bias", bias: bias[channel], value: stage.value + bias[channel] }] : [stage];
}

function largestOfPatch(patch) {
  const winner = patchTerms(patch).reduce((best, each) => (each.value > best.value ? each : best));
  return { patches: [patch], terms: [winner], stages: [{ kind: "largest", value: winner.value }] };
}

function meanOfPatch(patch, divisor = patch.values.length) {
  const total = totalOf(patch.values);
  const stage = { kind: "mean", total, divisor, value: total / divisor };
  return { patches: [patch], terms: patchTerms(patch, 1 / divisor), stages: [stage] };
}

// Operations on a single number

/**
 * The effect of a norm, a scale or an activation on a number.
 *
 * @param maps all numbers among which it is, {shape, values}; only norms that take statistics of them need the values.
 */
function stageOf(before, op, maps, tensors, index) {
  const { value, statistics } = OPERATIONS[op.name];
  if (value) {
    const apply = value(op, tensors, index[0]);
    return { kind: "activation", type: op.name, before, value: apply(before), apply };
  }
  if (statistics) {
    const [channel, row, column] = index;
    const position = index.length === 1 ? 0 : row * maps.shape[2] + column;
    const { mean, variance } = statistics(op, maps, tensors, channel, position);
    const [weight, bias] = [tensors.weight, tensors.bias].map((each) => each?.[channel] ?? null);
    const factor = (weight ?? 1) / Math.sqrt(variance + op.eps);
    const numbers = { mean, variance, eps: op.eps, weight, bias, factor };
    return { kind: "norm", before, ...numbers, value: (before - (mean ?? 0)) * factor + (bias ?? 0) };
  }
  return SCALED_STAGES[op.name](before, tensors, index);
}

const SCALED_STAGES = {
  scale: (before, { weight }, [channel]) => ({
    kind: "scaled",
    before,
    factor: weight[channel],
    value: weight[channel] * before,
  }),
};
