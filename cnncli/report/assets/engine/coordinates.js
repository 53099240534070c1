// Channels that say where a position is.

import { positionsOfShape, sizeOfShape } from "./shape.js";

const coordinate = (place, size) => (size > 1 ? (2 * place) / (size - 1) - 1 : 0);

/** The number of a unit [channel, row, column] that is a coordinate; null where the unit is that of the input. */
export function coordinateOf([channels, height, width], [channel, row, column]) {
  if (channel < channels) return null;
  return channel === channels ? coordinate(row, height) : coordinate(column, width);
}

/** The channels of the input, then the row and the column of each position, from -1 to 1. */
export const COORDINATES = {
  coordinates: {
    forward(op, [input]) {
      const output = new Float32Array(sizeOfShape(op.shape));
      output.set(input.values);
      const size = positionsOfShape(input.shape);
      const [channels, , width] = input.shape;
      for (const axis of [0, 1])
        for (let place = 0; place < size; place++) {
          const index = [channels + axis, Math.floor(place / width), place % width];
          output[(channels + axis) * size + place] = coordinateOf(input.shape, index);
        }
      return output;
    },
    backward: (_op, [input], _tensors, _output, gradient) => [gradient.slice(0, input.values.length)],
  },
};
