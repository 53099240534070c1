// How much there is to compute: what takes long is not computed without being asked for.

import { sizeOfShape } from "../engine/shape.js";

/** Multiply-accumulates of the convolution and linear layers of a network for one image. */
export function macsOf({ layers, tensors, input }) {
  const shapes = new Map([["input", input], ...layers.map(({ name, shape }) => [name, shape])]);
  let total = 0;
  for (const { operations, inputs } of layers) {
    for (const { name, shape, kernel_size: kernel, tensors: own } of operations) {
      if (name === "blur_pool") total += kernel[0] * kernel[1] * sizeOfShape(shape);
      if (name === "linear") total += sizeOfShape(tensors[own.weight].shape);
      // Each weight is used once for each position of the output, or of the input of a transposed convolution.
      if (name === "convolution") total += sizeOfShape(tensors[own.weight].shape) * sizeOfShape(shape.slice(1));
      if (name === "transposed_convolution")
        total += sizeOfShape(tensors[own.weight].shape) * sizeOfShape(shapes.get(inputs[0]).slice(1));
    }
  }
  return total;
}
