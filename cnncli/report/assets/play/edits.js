// What is changed in a network by hand: a list of edits, as `Network.withEdits` takes them, with the number of the
// `model` that each belongs to.

/** What an edit changes; a later edit with the same key replaces it. */
export function editKey({ kind, model = 0, layer, channel, tensor, index }) {
  return [model, kind, layer ?? tensor, channel, index].join("/");
}

/** The edits with one more, which replaces one with the same key. */
export function withEdit(edits, edit) {
  const key = editKey(edit);
  const position = edits.findIndex((each) => editKey(each) === key);
  return position < 0 ? [...edits, edit] : edits.with(position, edit);
}

/** The edits without the one with this key. */
export function withoutEdit(edits, key) {
  return edits.filter((each) => editKey(each) !== key);
}

/** Whether an edit leaves the network as it is. */
export function changesNothing(network, edit) {
  if (edit.kind === "scale") return edit.factor === 1;
  if (edit.kind === "weight") return Object.is(network.tensor(edit.tensor)[edit.index], Math.fround(edit.value));
  if (edit.kind === "kernel") {
    const original = kernelOf(network, edit.tensor, edit.channel).values;
    return edit.values.every((value, i) => Math.fround(value) === original[i]);
  }
  return false;
}

/** The layer that an edit belongs to. */
export function layerOfEdit(model, { layer, tensor }) {
  return layer ?? model.tensors.find(({ name }) => name === tensor).layer;
}

/**
 * The kernel of an output channel of a convolution: `values`, one slice after another, and its `depth`, the number of
 * slices, of `height` x `width`.
 */
export function kernelOf(network, tensor, channel) {
  const { layer } = network.model.tensors.find(({ name }) => name === tensor);
  const [height, width] = network.layer(layer).operations[0].kernel_size;
  const values = Array.from(network.kernel(tensor, channel));
  return { values, depth: values.length / (height * width), height, width };
}

/** The name of the weights of a layer that are kernels; null if it has none. */
export function kernelTensor(model, layer) {
  const { operations, has_kernels: hasKernels } = model.layers.find(({ name }) => name === layer);
  return hasKernels ? model.tensors[operations[0].tensors.weight].name : null;
}

/** The tensors of a layer whose numbers are changed one by one: all but its kernels. */
export function singleTensors(model, layer) {
  const kernels = kernelTensor(model, layer);
  const { operations } = model.layers.find(({ name }) => name === layer);
  const used = new Set(operations.flatMap(({ tensors }) => Object.values(tensors)));
  return model.tensors.filter((each, index) => used.has(index) && each.name !== kernels);
}

/** The name of the activation that can be removed from a layer, given on it or the layer itself; null without one. */
export function activationOf(model, layer) {
  const { operations, is_activation: isActivation, type } = model.layers.find(({ name }) => name === layer);
  return isActivation ? type : (operations.find(({ role }) => role === "activation")?.name ?? null);
}

/** The position in a flat tensor of indices along its axes. */
export function flatIndex(shape, indices) {
  return indices.reduce((flat, index, axis) => flat * shape[axis] + index, 0);
}

/** The indices along the axes of a tensor of a position in it. */
export function axisIndices(shape, index) {
  const indices = [];
  let rest = index;
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    indices.unshift(rest % shape[axis]);
    rest = Math.floor(rest / shape[axis]);
  }
  return indices;
}

/** Changes of a kernel by name: a function from its values, height and width to new values. */
export const KERNEL_CHANGES = {
  zero: (values) => values.map(() => 0),
  negate: (values) => values.map((value) => 0 - value),
  turn: (values, height, width) => {
    const size = height * width;
    return values.map((_, i) => values[i - (i % size) + size - 1 - (i % size)]);
  },
  mean: (values, height, width) => {
    const size = height * width;
    return values.map((_, i) => {
      const slice = values.slice(i - (i % size), i - (i % size) + size);
      return slice.reduce((total, value) => total + value, 0) / size;
    });
  },
};
