// Fully connected layers and `flatten`. Letters: F inputs, O outputs; weights (O, F).

import { sizeOfShape } from "./shape.js";

/** The product of the weights with the inputs, four outputs at a time. */
function multiplyMatrix(weight, bias, x, outputs) {
  const features = x.length;
  const y = new Float32Array(outputs);
  let output = 0;
  for (; output + 3 < outputs; output += 4) {
    const row = output * features;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let i = 0, at = row; i < features; i++, at++) {
      const value = x[i];
      a += weight[at] * value;
      b += weight[at + features] * value;
      c += weight[at + 2 * features] * value;
      d += weight[at + 3 * features] * value;
    }
    y[output] = a + (bias ? bias[output] : 0);
    y[output + 1] = b + (bias ? bias[output + 1] : 0);
    y[output + 2] = c + (bias ? bias[output + 2] : 0);
    y[output + 3] = d + (bias ? bias[output + 3] : 0);
  }
  for (; output < outputs; output++) {
    let sum = 0;
    for (let i = 0, at = output * features; i < features; i++, at++) sum += weight[at] * x[i];
    y[output] = sum + (bias ? bias[output] : 0);
  }
  return y;
}

export const LINEAR = {
  linear: {
    forward: (op, [input], { weight, bias }) => multiplyMatrix(weight, bias, input.values, op.shape[0]),
    backward(op, [input], { weight }, _output, gradient) {
      const features = sizeOfShape(input.shape);
      const result = new Float64Array(features);
      for (let output = 0; output < op.shape[0]; output++) {
        const slope = gradient[output];
        if (slope === 0) continue;
        for (let i = 0, at = output * features; i < features; i++, at++) result[i] += weight[at] * slope;
      }
      return [result];
    },
    kernel: (_op, shape, channel) => Array.from({ length: shape[1] }, (_, i) => channel * shape[1] + i),
  },
  flatten: {
    forward: (_op, [input]) => input.values.slice(),
    backward: (_op, _inputs, _tensors, _output, gradient) => [gradient.slice()],
  },
};
