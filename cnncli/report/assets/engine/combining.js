// Activations that make one channel of several. Values of a channel lie next to each other.

import { positionsOfShape, sizeOfShape } from "./shape.js";

const sigmoidOf = (x) => 1 / (1 + Math.exp(-x));

const GLU = {
  forward(op, [input]) {
    const { values } = input;
    const half = sizeOfShape(op.shape);
    return Float32Array.from({ length: half }, (_, i) => values[i] * sigmoidOf(values[i + half]));
  },
  backward(op, [input], _tensors, _output, gradient) {
    const { values } = input;
    const half = sizeOfShape(op.shape);
    const result = new Float64Array(values.length);
    for (let i = 0; i < half; i++) {
      const gate = sigmoidOf(values[i + half]);
      result[i] = gradient[i] * gate;
      result[i + half] = gradient[i] * values[i] * gate * sigmoidOf(-values[i + half]);
    }
    return [result];
  },
};

/** The place of the largest of the numbers that an output is made of, the first of equal ones. */
function placeOfLargest({ shape, pieces }, values, output) {
  const size = positionsOfShape(shape);
  const channel = Math.floor(output / size);
  const first = channel * pieces * size + (output % size);
  let best = first;
  for (let at = first + size; at < first + pieces * size; at += size) {
    if (values[at] > values[best] || Number.isNaN(values[at])) best = at;
  }
  return best;
}

const MAXOUT = {
  forward(op, [{ values }]) {
    return Float32Array.from({ length: sizeOfShape(op.shape) }, (_, i) => values[placeOfLargest(op, values, i)]);
  },
  backward(op, [{ values }], _tensors, _output, gradient) {
    const result = new Float64Array(values.length);
    for (let i = 0; i < gradient.length; i++) result[placeOfLargest(op, values, i)] += gradient[i];
    return [result];
  },
};

export const COMBINING = { glu: GLU, maxout: MAXOUT };
