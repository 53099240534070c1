// Layers with several inputs, which join the paths of a network.

import { sizeOfShape } from "./shape.js";

/** For each number of the output of a product, the place of the factor in an input of this shape, which is repeated. */
function placesOf(shape, [channels, height = 1, width = 1]) {
  const places = new Int32Array(channels * height * width);
  const [ownChannels, ownHeight = 1, ownWidth = 1] = shape;
  let at = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let row = 0; row < height; row++) {
      const start = ((ownChannels > 1 ? channel : 0) * ownHeight + (ownHeight > 1 ? row : 0)) * ownWidth;
      for (let column = 0; column < width; column++) places[at++] = start + (ownWidth > 1 ? column : 0);
    }
  }
  return places;
}

/** The number of the input that is the largest at a place, the first of several. */
function largestAt(inputs, i) {
  let best = 0;
  for (let each = 1; each < inputs.length; each++) if (inputs[each].values[i] > inputs[best].values[i]) best = each;
  return best;
}

export const JOINS = {
  multiply: {
    forward(op, inputs) {
      const output = new Float32Array(sizeOfShape(op.shape)).fill(1);
      for (const { shape, values } of inputs) {
        const places = placesOf(shape, op.shape);
        for (let i = 0; i < output.length; i++) output[i] *= values[places[i]];
      }
      return output;
    },
    backward(op, inputs, _tensors, _output, gradient) {
      const places = inputs.map(({ shape }) => placesOf(shape, op.shape));
      return inputs.map(({ values }, own) => {
        const result = new Float64Array(values.length);
        for (let i = 0; i < gradient.length; i++) {
          let others = gradient[i];
          inputs.forEach((each, j) => {
            if (j !== own) others *= each.values[places[j][i]];
          });
          result[places[own][i]] += others;
        }
        return result;
      });
    },
  },
  max: {
    forward(_op, inputs) {
      return inputs[0].values.map((_, i) => inputs[largestAt(inputs, i)].values[i]);
    },
    backward(_op, inputs, _tensors, _output, gradient) {
      const results = inputs.map(() => new Float64Array(gradient.length));
      for (let i = 0; i < gradient.length; i++) {
        // Equal numbers share the gradient as torch shares it: half each, from the last to the first.
        const ties = inputs.map(({ values }) => values[i] === inputs[largestAt(inputs, i)].values[i]);
        let rest = gradient[i];
        for (let each = inputs.length - 1; each >= 0; each--) {
          if (!ties[each]) continue;
          const part = ties.indexOf(true) === each ? rest : rest / 2;
          results[each][i] = part;
          rest -= part;
        }
      }
      return results;
    },
  },
  mean: {
    forward(op, inputs) {
      const sums = new Float64Array(sizeOfShape(op.shape));
      for (const { values } of inputs) for (let i = 0; i < sums.length; i++) sums[i] += values[i];
      return new Float32Array(sums.map((sum) => sum / inputs.length));
    },
    backward: (_op, inputs, _tensors, _output, gradient) =>
      inputs.map(() => gradient.map((each) => each / inputs.length)),
  },
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
