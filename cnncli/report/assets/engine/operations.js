// All operations that layers consist of, under the names that `Layer.operations` gives them.
//
// An operation has `forward(op, inputs, tensors)`, which returns its output as a new Float32Array, and
// `backward(op, inputs, tensors, output, gradient)`: the gradients (Float64Array) with respect to its inputs, from that
// with respect to its output, with constant weights. `inputs` are `{shape, values}`; `tensors` are those of the
// operation, by role. Activations also have `value`, norms `statistics`, and operations with kernels `kernel`: where
// the kernel of an output channel is in the tensor `weight`.

import { ACTIVATIONS, SOFTMAX } from "./activation.js";
import { ATTENTION } from "./attention.js";
import { COMBINING } from "./combining.js";
import { CONVOLUTIONS } from "./convolution.js";
import { COORDINATES } from "./coordinates.js";
import { JOINS } from "./join.js";
import { LINEAR } from "./linear.js";
import { NORMS } from "./norm.js";
import { POOLS } from "./pooling.js";
import { RESIZING } from "./resizing.js";

export const OPERATIONS = {
  ...CONVOLUTIONS,
  ...POOLS,
  ...RESIZING,
  ...COORDINATES,
  ...NORMS,
  ...ACTIVATIONS,
  softmax: SOFTMAX,
  ...COMBINING,
  ...ATTENTION,
  ...LINEAR,
  ...JOINS,
};
