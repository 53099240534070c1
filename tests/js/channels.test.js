// Which channels are seen, against the network itself: a channel of NaN reaches exactly the units that depend on it.

import assert from "node:assert/strict";
import test from "node:test";
import { channelsSeen, unitBeforeFlatten } from "../../cnncli/report/assets/engine/channels.js";
import { Network } from "../../cnncli/report/assets/engine/network.js";

/** A network of layers `[name, inputs, shape, operation]`, all weights 1. */
function networkOf(input, layers) {
  const tensors = [];
  let offset = 0;
  const described = layers.map(([name, inputs, shape, { tensors: shapes = {}, ...op }]) => {
    const indices = {};
    for (const [role, tensorShape] of Object.entries(shapes)) {
      indices[role] = tensors.length;
      tensors.push({ name: `${name}.${role}`, layer: name, shape: tensorShape, offset });
      offset += tensorShape.reduce((a, b) => a * b, 1);
    }
    return { name, type: op.name, inputs, shape, operations: [{ ...op, shape, role: null, tensors: indices }] };
  });
  const normalization = { mean: input.slice(0, 1), std: [1] };
  const model = { input, classes: [], normalization, layers: described, tensors, precision: "float32" };
  return new Network(model, new Float32Array(offset).fill(1));
}

/** The channels of the input that reach a channel of a layer, by experiment. */
function channelsByExperiment(network, layer, channel) {
  const [channels, height, width] = network.model.input;
  const size = height * width;
  const found = [];
  for (let each = 0; each < channels; each += 1) {
    const input = new Float32Array(channels * size).fill(1);
    input.fill(Number.NaN, each * size, (each + 1) * size);
    const values = network.runInput(input).values.get(layer);
    const shape = network.shapeOf(layer);
    const positions = shape.length === 3 ? shape[1] * shape[2] : 1;
    const own = values.subarray(channel * positions, (channel + 1) * positions);
    if (own.some(Number.isNaN)) found.push(each);
  }
  return found;
}

const conv = (groups, outputs, inputs) => ({
  name: "convolution",
  kernel_size: [1, 1],
  stride: [1, 1],
  before: [0, 0],
  dilation: [1, 1],
  groups,
  tensors: { weight: [outputs, inputs / groups, 1, 1] },
});

const ATTENTION = { name: "self_attention", num_heads: 2, tensors: { qkv_weight: [24, 8], out_weight: [8, 8] } };

const NETWORK = networkOf(
  [8, 2, 2],
  [
    ["conv1", ["input"], [8, 2, 2], conv(4, 8, 8)],
    ["shuffle", ["conv1"], [8, 2, 2], { name: "channel_shuffle", groups: 2 }],
    ["conv2", ["shuffle"], [4, 2, 2], conv(2, 4, 8)],
    ["glu", ["conv1"], [4, 2, 2], { name: "glu" }],
    ["maxout", ["conv1"], [2, 2, 2], { name: "maxout", pieces: 4 }],
    ["rms", ["conv1"], [8, 2, 2], { name: "rms_norm", eps: 1, tensors: { weight: [8] } }],
    ["attention", ["conv1"], [8, 2, 2], ATTENTION],
    ["relu", ["conv2"], [4, 2, 2], { name: "relu" }],
    ["join", ["relu", "conv1"], [12, 2, 2], { name: "concat" }],
    ["unshuffle", ["join"], [48, 1, 1], { name: "pixel_unshuffle", downscale_factor: 2 }],
    ["flat", ["join"], [48], { name: "flatten" }],
    ["linear", ["flat"], [3], { name: "linear", tensors: { weight: [3, 48] } }],
  ],
);

test("the channels of the input that a channel depends on are those whose NaN reaches it", () => {
  for (const { name, shape } of NETWORK.model.layers) {
    for (let channel = 0; channel < shape[0]; channel += 1) {
      const seen = channelsSeen(NETWORK, name, channel).get("input");
      const expected = channelsByExperiment(NETWORK, name, channel);
      assert.deepEqual(seen === null ? [0, 1, 2, 3, 4, 5, 6, 7] : seen.toSorted(), expected, `${name} ${channel}`);
    }
  }
});

test("layers in between, and layers on no path", () => {
  const seen = channelsSeen(NETWORK, "relu", 1);
  assert.deepEqual(seen.get("conv2"), [1]);
  assert.deepEqual(seen.get("shuffle").toSorted(), [0, 1, 2, 3]);
  assert.equal(seen.has("join"), false);
  assert.equal(channelsSeen(NETWORK, "join", 7).has("relu"), false);
});

test("a feature after flatten is a unit of the layer before", () => {
  assert.deepEqual(unitBeforeFlatten(NETWORK, "flat", 4 * 7 + 3), { layer: "join", channel: 7, row: 1, column: 1 });
  assert.equal(unitBeforeFlatten(NETWORK, "linear", 0), null);
  assert.equal(unitBeforeFlatten(NETWORK, "input", 0), null);
});
