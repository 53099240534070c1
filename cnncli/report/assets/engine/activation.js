// Activations: a function of each value, and its derivative. Values of a channel lie next to each other.

import { positionsOfShape } from "./shape.js";

/** `function_(op)` and `derivative(op)` return functions of one value. */
function elementwise(function_, derivative) {
  return {
    forward(op, [input]) {
      const value = function_(op);
      const { values } = input;
      const output = new Float32Array(values.length);
      for (let i = 0; i < values.length; i++) output[i] = value(values[i]);
      return output;
    },
    backward(op, [input], _tensors, _output, gradient) {
      const slope = derivative(op);
      return [gradient.map((each, i) => each * slope(input.values[i]))];
    },
    value: (op, _tensors, _channel) => function_(op),
  };
}

const sigmoidOf = (x) => 1 / (1 + Math.exp(-x));
const softplusOf = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const clampTo = (x, low, high) => Math.min(Math.max(x, low), high);
const between = (x, low, high) => (x > low && x < high ? 1 : 0);

function mishSlope(x) {
  const softened = Math.tanh(softplusOf(x));
  return softened + x * (1 - softened * softened) * sigmoidOf(x);
}

const silu = (x) => x * sigmoidOf(x);
const siluSlope = (x) => sigmoidOf(x) * (1 + x * (1 - sigmoidOf(x)));

function hardswishSlope(x) {
  if (x <= -3) return 0;
  return x < 3 ? x / 3 + 0.5 : 1;
}

/** Coefficients of Chebyshev polynomials in 2 t - 1, fitted at their nodes to `erfc(x) exp(x^2) / t`, t = 1 / (1 + x / 2), x from 0. */
const ERFC = [
  0.5770337386164697, 0.3554369212704985, 0.06509515882878654, 0.003671142395836622, -0.00111284474335267,
  -0.0001607582991537626, 3.27803157416362e-5, 5.44244164555785e-6, -1.51546655534851e-6, -1.429760817606152e-7,
  8.234608817936362e-8, -1.296284684038085e-9, -4.154721660043493e-9, 6.347058234545955e-10, 1.43208211955681e-10,
  -6.16040152223718e-11,
];

/** The complementary error function. */
export function erfc(x) {
  if (Number.isNaN(x)) return x;
  const size = Math.abs(x);
  const t = 1 / (1 + size / 2);
  const y = 2 * t - 1;
  let b = 0;
  let c = 0;
  for (let i = ERFC.length - 1; i > 0; i--) {
    const next = 2 * y * b - c + ERFC[i];
    c = b;
    b = next;
  }
  const tail = t * Math.exp(-size * size) * (y * b - c + ERFC[0]);
  return x >= 0 ? tail : 2 - tail;
}

const gelu = (x) => (x === -Infinity ? 0 : (x * erfc(-x * Math.SQRT1_2)) / 2);
const geluSlope = (x) => erfc(-x * Math.SQRT1_2) / 2 + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);

const RELU = {
  forward(_op, [input]) {
    const { values } = input;
    const output = new Float32Array(values.length);
    for (let i = 0; i < values.length; i++) output[i] = Math.max(values[i], 0);
    return output;
  },
  backward: (_op, [input], _tensors, _output, gradient) => [
    gradient.map((each, i) => (input.values[i] > 0 ? each : 0)),
  ],
  value: () => (x) => Math.max(x, 0),
};

/** The slopes of negative values: one for all channels, or one for each. */
const preluSlope = (weight, channel) => weight[weight.length > 1 ? channel : 0];

const PRELU = {
  forward(_op, [input], { weight }) {
    const size = positionsOfShape(input.shape);
    return input.values.map((x, i) => (x > 0 ? x : x * preluSlope(weight, Math.floor(i / size))));
  },
  backward(_op, [input], { weight }, _output, gradient) {
    const size = positionsOfShape(input.shape);
    const slope = (i) => (input.values[i] > 0 ? 1 : preluSlope(weight, Math.floor(i / size)));
    return [gradient.map((each, i) => each * slope(i))];
  },
  value:
    (_op, { weight }, channel) =>
    (x) =>
      x > 0 ? x : x * preluSlope(weight, channel),
};

const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

/** The softmax of the channels at a position of x, {shape, values}: over all of its numbers in a vector. */
export function softmaxAt({ shape, values }, position) {
  const size = positionsOfShape(shape);
  const channels = Array.from({ length: shape[0] }, (_, channel) => values[channel * size + position]);
  const largest = Math.max(...channels);
  const powers = channels.map((each) => Math.exp(each - largest));
  const total = powers.reduce((sum, each) => sum + each, 0);
  return powers.map((each) => each / total);
}

/** Over the channels of each position: no function of one value. */
export const SOFTMAX = {
  forward(_op, [input]) {
    const size = positionsOfShape(input.shape);
    const output = new Float32Array(input.values.length);
    for (let position = 0; position < size; position++)
      softmaxAt(input, position).forEach((share, channel) => {
        output[channel * size + position] = share;
      });
    return output;
  },
  backward(_op, [input], _tensors, _output, gradient) {
    const size = positionsOfShape(input.shape);
    const result = new Float64Array(gradient.length);
    for (let position = 0; position < size; position++) {
      const shares = softmaxAt(input, position);
      const mean = shares.reduce((sum, share, channel) => sum + share * gradient[channel * size + position], 0);
      shares.forEach((share, channel) => {
        result[channel * size + position] = share * (gradient[channel * size + position] - mean);
      });
    }
    return [result];
  },
};

/** `value(op, tensors, channel)` gives the function that is applied to the values of a channel. */
export const ACTIVATIONS = {
  relu: RELU,
  relu6: elementwise(
    () => (x) => clampTo(x, 0, 6),
    () => (x) => between(x, 0, 6),
  ),
  leaky_relu: elementwise(
    (op) => (x) => (x > 0 ? x : op.negative_slope * x),
    (op) => (x) => (x > 0 ? 1 : op.negative_slope),
  ),
  prelu: PRELU,
  elu: elementwise(
    (op) => (x) => (x > 0 ? x : op.alpha * Math.expm1(x)),
    (op) => (x) => (x > 0 ? 1 : op.alpha * Math.exp(x)),
  ),
  celu: elementwise(
    (op) => (x) => (x > 0 ? x : op.alpha * Math.expm1(x / op.alpha)),
    (op) => (x) => (x > 0 ? 1 : Math.exp(x / op.alpha)),
  ),
  selu: elementwise(
    () => (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)),
    () => (x) => SELU_SCALE * (x > 0 ? 1 : SELU_ALPHA * Math.exp(x)),
  ),
  gelu: elementwise(
    () => gelu,
    () => geluSlope,
  ),
  silu: elementwise(
    () => silu,
    () => siluSlope,
  ),
  mish: elementwise(
    () => (x) => x * Math.tanh(softplusOf(x)),
    () => mishSlope,
  ),
  softplus: elementwise(
    (op) => (x) => (x * op.beta > op.threshold ? x : softplusOf(x * op.beta) / op.beta),
    (op) => (x) => (x * op.beta > op.threshold ? 1 : sigmoidOf(x * op.beta)),
  ),
  softsign: elementwise(
    () => (x) => x / (1 + Math.abs(x)),
    () => (x) => 1 / (1 + Math.abs(x)) ** 2,
  ),
  softshrink: elementwise(
    (op) => (x) => Math.sign(x) * Math.max(Math.abs(x) - op.lambd, 0),
    (op) => (x) => (Math.abs(x) > op.lambd ? 1 : 0),
  ),
  hardshrink: elementwise(
    (op) => (x) => (Math.abs(x) > op.lambd ? x : 0),
    (op) => (x) => (Math.abs(x) > op.lambd ? 1 : 0),
  ),
  tanhshrink: elementwise(
    () => (x) => x - Math.tanh(x),
    () => (x) => Math.tanh(x) ** 2,
  ),
  threshold: elementwise(
    (op) => (x) => (x > op.threshold ? x : op.value),
    (op) => (x) => (x > op.threshold ? 1 : 0),
  ),
  tanh: elementwise(
    () => Math.tanh,
    () => (x) => 1 - Math.tanh(x) ** 2,
  ),
  hardtanh: elementwise(
    (op) => (x) => clampTo(x, op.min_val, op.max_val),
    (op) => (x) => between(x, op.min_val, op.max_val),
  ),
  sigmoid: elementwise(
    () => sigmoidOf,
    () => (x) => sigmoidOf(x) * sigmoidOf(-x),
  ),
  logsigmoid: elementwise(
    () => (x) => -softplusOf(-x),
    () => (x) => sigmoidOf(-x),
  ),
  hardsigmoid: elementwise(
    () => (x) => clampTo(x + 3, 0, 6) / 6,
    () => (x) => between(x, -3, 3) / 6,
  ),
  hardswish: elementwise(
    () => (x) => (x * clampTo(x + 3, 0, 6)) / 6,
    () => hardswishSlope,
  ),
};
