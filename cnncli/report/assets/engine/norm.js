// Norms and scales. Values of a channel lie next to each other.

import { positionsOfShape } from "./shape.js";

/** `(x - mean) / sqrt(variance + eps) * weight + bias` of each value; mean and variance by channel. */
const BATCH_NORM = {
  forward(op, [input], tensors) {
    const size = positionsOfShape(input.shape);
    const { values } = input;
    const output = new Float32Array(values.length);
    for (let channel = 0, i = 0; channel < input.shape[0]; channel++) {
      const factor = batchNormFactor(op, tensors, channel);
      const mean = tensors.running_mean[channel];
      const bias = tensors.bias[channel];
      for (const end = i + size; i < end; i++) output[i] = (values[i] - mean) * factor + bias;
    }
    return output;
  },
  backward(op, [input], tensors, _output, gradient) {
    const size = positionsOfShape(input.shape);
    const slopes = Float64Array.from({ length: input.shape[0] }, (_, c) => batchNormFactor(op, tensors, c));
    return [gradient.map((each, i) => each * slopes[Math.floor(i / size)])];
  },
  /** Mean and variance with which the value at an index is normalized. */
  statistics(_op, _input, { running_mean, running_var }, channel) {
    return { mean: running_mean[channel], variance: running_var[channel] };
  },
};

const batchNormFactor = (op, tensors, channel) =>
  tensors.weight[channel] / Math.sqrt(tensors.running_var[channel] + op.eps);

/** Mean and variance of `count` values, `step` apart. */
function meanAndVariance(values, first, count, step) {
  let mean = 0;
  for (let i = 0, at = first; i < count; i++, at += step) mean += values[at];
  mean /= count;
  let variance = 0;
  for (let i = 0, at = first; i < count; i++, at += step) variance += (values[at] - mean) ** 2;
  return { mean, variance: variance / count };
}

/** The same around 0: the variance is the mean of the squares. */
function meanSquare(values, first, count, step) {
  let sum = 0;
  for (let i = 0, at = first; i < count; i++, at += step) sum += values[at] ** 2;
  return { mean: 0, variance: sum / count };
}

/**
 * A norm whose sets of values, normalized together, are `sets(op, shape)`: first index, count and step of each.
 *
 * It subtracts the mean if it is `centered`. Weights and biases, one of each channel, may be missing.
 */
function normOfSets(sets, setOf, { centered = true } = {}) {
  const statisticsOf = centered ? meanAndVariance : meanSquare;
  return {
    forward(op, [input], { weight, bias }) {
      const { values, shape } = input;
      const size = positionsOfShape(shape);
      const output = new Float32Array(values.length);
      for (const [first, count, step] of sets(op, shape)) {
        const { mean, variance } = statisticsOf(values, first, count, step);
        const factor = 1 / Math.sqrt(variance + op.eps);
        for (let i = 0, at = first; i < count; i++, at += step) {
          const channel = Math.floor(at / size);
          output[at] = (values[at] - mean) * factor * (weight ? weight[channel] : 1) + (bias ? bias[channel] : 0);
        }
      }
      return output;
    },
    backward(op, [input], { weight }, _output, gradient) {
      const { values, shape } = input;
      const size = positionsOfShape(shape);
      const result = new Float64Array(values.length);
      for (const [first, count, step] of sets(op, shape)) {
        const { mean, variance } = statisticsOf(values, first, count, step);
        const factor = 1 / Math.sqrt(variance + op.eps);
        // With z the normalized values and s the gradients times the weights: (s - mean(s) - z mean(s z)) * factor;
        // without mean(s) if no mean is subtracted.
        let sum = 0;
        let product = 0;
        for (let i = 0, at = first; i < count; i++, at += step) {
          const scaled = gradient[at] * (weight ? weight[Math.floor(at / size)] : 1);
          sum += scaled;
          product += scaled * (values[at] - mean) * factor;
        }
        const average = centered ? sum / count : 0;
        for (let i = 0, at = first; i < count; i++, at += step) {
          const scaled = gradient[at] * (weight ? weight[Math.floor(at / size)] : 1);
          result[at] = (scaled - average - ((values[at] - mean) * factor * product) / count) * factor;
        }
      }
      return [result];
    },
    /** Mean (null if none is subtracted) and variance with which the value at `position` of a channel is normalized. */
    statistics(op, input, _tensors, channel, position) {
      const { mean, variance } = statisticsOf(
        input.values,
        ...sets(op, input.shape)[setOf(op, input.shape, channel, position)],
      );
      return { mean: centered ? mean : null, variance };
    },
  };
}

const GROUP_NORM = normOfSets(
  (op, shape) => {
    const count = (shape[0] / op.num_groups) * positionsOfShape(shape);
    return Array.from({ length: op.num_groups }, (_, group) => [group * count, count, 1]);
  },
  (op, shape, channel) => Math.floor(channel / (shape[0] / op.num_groups)),
);

/** The channels of each position. */
function channelsOfPositions(_op, shape) {
  const size = positionsOfShape(shape);
  return Array.from({ length: size }, (_, position) => [position, shape[0], size]);
}

const LAYER_NORM = normOfSets(channelsOfPositions, (_op, _shape, _channel, position) => position);

const RMS_NORM = normOfSets(channelsOfPositions, (_op, _shape, _channel, position) => position, { centered: false });

/** The squares of the neighbors of each value in `size` channels, summed: of `op` over `values`. */
function neighborSums(op, shape, termOf) {
  const positions = positionsOfShape(shape);
  const before = Math.floor(op.size / 2);
  const sums = new Float64Array(shape[0] * positions);
  for (let channel = 0; channel < shape[0]; channel++) {
    const last = Math.min(shape[0] - 1, channel - before + op.size - 1);
    for (let other = Math.max(0, channel - before); other <= last; other++)
      for (let position = 0; position < positions; position++)
        termOf(sums, channel * positions + position, other * positions + position);
  }
  return sums;
}

/** `k + alpha m`, m the mean square of the neighbors. */
function responseDivisors(op, input) {
  const { values, shape } = input;
  const squares = neighborSums(op, shape, (sums, at, other) => {
    sums[at] += values[other] ** 2;
  });
  return squares.map((sum) => op.k + (op.alpha * sum) / op.size);
}

const LOCAL_RESPONSE_NORM = {
  forward(op, [input]) {
    const divisors = responseDivisors(op, input);
    return input.values.map((x, i) => x / divisors[i] ** op.beta);
  },
  backward(op, [input], _tensors, _output, gradient) {
    const { values, shape } = input;
    const divisors = responseDivisors(op, input);
    const reached = neighborSums(op, shape, (sums, at, other) => {
      sums[other] += gradient[at] * values[at] * divisors[at] ** (-op.beta - 1);
    });
    const factor = (2 * op.alpha * op.beta) / op.size;
    return [gradient.map((each, i) => each * divisors[i] ** -op.beta - factor * values[i] * reached[i])];
  },
};

const SCALE = {
  forward(_op, [input], { weight }) {
    const size = positionsOfShape(input.shape);
    return input.values.map((x, i) => x * weight[Math.floor(i / size)]);
  },
  backward(_op, [input], { weight }, _output, gradient) {
    const size = positionsOfShape(input.shape);
    return [gradient.map((each, i) => each * weight[Math.floor(i / size)])];
  },
};

export const NORMS = {
  batch_norm: BATCH_NORM,
  group_norm: GROUP_NORM,
  layer_norm: LAYER_NORM,
  rms_norm: RMS_NORM,
  local_response_norm: LOCAL_RESPONSE_NORM,
  scale: SCALE,
};
