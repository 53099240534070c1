// Which channels of earlier layers a channel of a layer depends on.

import { sizeOfShape } from "./shape.js";

const range = (first, end) => Array.from({ length: end - first }, (_, i) => first + i);

/** The channels of a convolution's group. */
function channelsOfGroup(op, [input], channel) {
  const group = Math.floor(channel / (op.shape[0] / op.groups));
  const depth = input[0] / op.groups;
  return [range(group * depth, (group + 1) * depth)];
}

/**
 * Operations that do not pass each channel on by itself: `(op, shapes of the inputs, channel)` gives for each input the
 * channels that a channel of the output depends on, or null for all.
 */
const READS = {
  convolution: channelsOfGroup,
  transposed_convolution: channelsOfGroup,
  linear: () => [null],
  flatten: (_op, [input], channel) => [[Math.floor(channel / (sizeOfShape(input) / input[0]))]],
  layer_norm: () => [null],
  rms_norm: () => [null],
  self_attention: () => [null],
  glu: (op, _shapes, channel) => [[channel, channel + op.shape[0]]],
  maxout: ({ pieces }, _shapes, channel) => [range(channel * pieces, (channel + 1) * pieces)],
  softmax: () => [null],
  group_norm(op, [input], channel) {
    const size = input[0] / op.num_groups;
    const group = Math.floor(channel / size);
    return [range(group * size, (group + 1) * size)];
  },
  local_response_norm(op, [input], channel) {
    const first = channel - Math.floor(op.size / 2);
    return [range(Math.max(0, first), Math.min(input[0], first + op.size))];
  },
  coordinates: (_op, [input], channel) => [channel < input[0] ? [channel] : []],
  pad: ({ before: [first] }, [input], channel) => [
    channel >= first && channel < first + input[0] ? [channel - first] : [],
  ],
  channel_shuffle: (op, [input], channel) => [
    [(channel % op.groups) * (input[0] / op.groups) + Math.floor(channel / op.groups)],
  ],
  pixel_shuffle({ upscale_factor: r }, _shapes, channel) {
    return [range(channel * r * r, (channel + 1) * r * r)];
  },
  pixel_unshuffle: ({ downscale_factor: r }, _shapes, channel) => [[Math.floor(channel / (r * r))]],
  multiply: (_op, shapes, channel) => shapes.map(([count]) => [count > 1 ? channel : 0]),
  concat(_op, shapes, channel) {
    let first = 0;
    return shapes.map(([count]) => {
      const own = channel - first;
      first += count;
      return own >= 0 && own < count ? [own] : [];
    });
  },
};

const OWN = (_op, shapes, channel) => shapes.map(() => [channel]);

/** For each input of an operation, the channels that some channels (null: all) of its output depend on. */
function channelsRead(op, shapes, channels) {
  const reads = READS[op.name] ?? OWN;
  if (!channels) return shapes.map(() => null);
  const sets = shapes.map(() => new Set());
  for (const channel of channels) {
    reads(op, shapes, channel).forEach((each, i) => {
      if (each === null) sets[i] = null;
      else if (sets[i]) for (const one of each) sets[i].add(one);
    });
  }
  return sets.map((set, i) => (set && set.size < shapes[i][0] ? [...set] : null));
}

/**
 * The channels of the input and of every earlier layer that a channel of a layer depends on.
 *
 * @returns a Map from names to lists of channels, or null for all; layers it does not depend on are missing.
 */
export function channelsSeen(network, layer, channel) {
  const seen = new Map([[layer, [channel]]]);
  const layers = network.model.layers;
  for (let i = layers.findIndex(({ name }) => name === layer); i >= 0; i -= 1) {
    const { name, inputs, operations } = layers[i];
    if (!seen.has(name)) continue;
    const shapes = inputs.map((each) => network.shapeOf(each));
    const before = operations.map((_, j) => (j ? [operations[j - 1].shape] : shapes));
    let channels = [seen.get(name)];
    for (let j = operations.length - 1; j >= 0; j -= 1) channels = channelsRead(operations[j], before[j], channels[0]);
    inputs.forEach((each, j) => {
      const [old, more] = [seen.get(each), channels[j]];
      if (more?.length === 0) return;
      if (!seen.has(each)) seen.set(each, more);
      else if (old && more) seen.set(each, [...new Set([...old, ...more])]);
      else seen.set(each, null);
    });
  }
  return seen;
}

/** The unit of a layer before `flatten` that a feature after it is: {layer, channel, row, column}; else null. */
export function unitBeforeFlatten(network, layer, feature) {
  if (layer === "input") return null;
  const { operations, inputs } = network.layer(layer);
  const shape = network.shapeOf(inputs[0]);
  if (operations.length !== 1 || operations[0].name !== "flatten" || shape.length !== 3) return null;
  const [, height, width] = shape;
  const channel = Math.floor(feature / (height * width));
  const position = feature % (height * width);
  return { layer: inputs[0], channel, row: Math.floor(position / width), column: position % width };
}
