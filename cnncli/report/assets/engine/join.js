// Layers with several inputs, which join the paths of a network.

import { sizeOfShape } from "./shape.js";

export const JOINS = {
  add: {
    forward(op, inputs) {
      const sums = new Float64Array(sizeOfShape(op.shape));
      for (const { values } of inputs) for (let i = 0; i < sums.length; i++) sums[i] += values[i];
      return new Float32Array(sums);
    },
    backward: (_op, inputs, _tensors, _output, gradient) => inputs.map(() => gradient.slice()),
  },
  concat: {
    forward(op, inputs) {
      const output = new Float32Array(sizeOfShape(op.shape));
      let start = 0;
      for (const { values } of inputs) {
        output.set(values, start);
        start += values.length;
      }
      return output;
    },
    backward(_op, inputs, _tensors, _output, gradient) {
      let start = 0;
      return inputs.map(({ shape }) => {
        const end = start + sizeOfShape(shape);
        const part = gradient.slice(start, end);
        start = end;
        return part;
      });
    },
  },
};
