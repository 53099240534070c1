import assert from "node:assert/strict";
import { test } from "node:test";
import { Network } from "../../cnncli/report/assets/engine/network.js";
import {
  activationOf,
  axisIndices,
  changesNothing,
  editKey,
  flatIndex,
  KERNEL_CHANGES,
  kernelOf,
  kernelTensor,
  layerOfEdit,
  singleTensors,
  withEdit,
  withoutEdit,
} from "../../cnncli/report/assets/play/edits.js";

const facts = { has_kernels: false, is_pool: false, is_norm: false, is_activation: false, gives_logits: false };
const convolution = { kernel_size: [1, 2], stride: [1, 1], before: [0, 0], dilation: [1, 1], groups: 1 };
const model = {
  input: [2, 1, 3],
  classes: ["a", "b"],
  normalization: { mean: [0, 0], std: [1, 1] },
  layers: [
    {
      ...{ ...facts, name: "conv1", type: "conv", inputs: ["input"], shape: [2, 1, 2], has_kernels: true },
      operations: [
        { ...convolution, name: "convolution", role: null, shape: [2, 1, 2], tensors: { weight: 0, bias: 1 } },
        { name: "relu", role: "activation", shape: [2, 1, 2], tensors: {} },
      ],
    },
    {
      ...{ ...facts, name: "tanh1", type: "tanh", inputs: ["conv1"], shape: [2, 1, 2], is_activation: true },
      operations: [{ name: "tanh", role: null, shape: [2, 1, 2], tensors: {} }],
    },
  ],
  tensors: [
    { name: "conv1.conv.weight", layer: "conv1", shape: [2, 2, 1, 2], offset: 0 },
    { name: "conv1.conv.bias", layer: "conv1", shape: [2], offset: 8 },
  ],
};
const network = new Network(model, Float32Array.of(1, 2, 3, 4, 5, 6, 7, 0.1, -1, 0.5));

test("an edit replaces the one of the same filter, weight or layer of the same network", () => {
  const off = { kind: "scale", layer: "conv1", channel: 1, factor: 0 };
  const half = { ...off, factor: 0.5 };
  const others = [
    { ...off, channel: 0 },
    { ...off, layer: "tanh1" },
    { ...off, model: 1 },
    { kind: "identity", layer: "conv1" },
  ];
  const list = others.reduce(withEdit, [off]);
  assert.equal(list.length, 5);
  assert.deepEqual(withEdit(list, half), [half, ...others]);
  assert.deepEqual(withoutEdit(list, editKey(half)), others);
  assert.deepEqual(list[0], off, "the list itself is not changed");
  assert.equal(editKey(off), editKey({ ...off, model: 0 }));
});

test("an edit to what is there already changes nothing", () => {
  const weight = { kind: "weight", tensor: "conv1.conv.weight" };
  const kernel = { kind: "kernel", tensor: "conv1.conv.weight", channel: 1 };
  const nothing = (edit) => changesNothing(network, edit);
  assert.ok(nothing({ kind: "scale", layer: "conv1", channel: 0, factor: 1 }));
  assert.ok(!nothing({ kind: "scale", layer: "conv1", channel: 0, factor: 0 }));
  assert.ok(nothing({ ...weight, index: 2, value: 3 }));
  assert.ok(nothing({ ...weight, index: 7, value: 0.1 }), "0.1 is rounded to single precision, as the weights are");
  assert.ok(!nothing({ ...weight, index: 2, value: 3.001 }));
  assert.ok(nothing({ ...kernel, values: [5, 6, 7, 0.1] }));
  assert.ok(!nothing({ ...kernel, values: [5, 6, 7, 0.2] }));
  assert.ok(!nothing({ kind: "identity", layer: "conv1" }));
});

test("kernels, other tensors and activations of a layer", () => {
  const { values, depth, height, width } = kernelOf(network, "conv1.conv.weight", 1);
  assert.deepEqual(values.map(Math.fround), [5, 6, 7, 0.1].map(Math.fround));
  assert.deepEqual([depth, height, width], [2, 1, 2]);
  assert.equal(kernelTensor(model, "conv1"), "conv1.conv.weight");
  assert.equal(kernelTensor(model, "tanh1"), null);
  assert.deepEqual(
    singleTensors(model, "conv1").map(({ name }) => name),
    ["conv1.conv.bias"],
  );
  assert.equal(activationOf(model, "conv1"), "relu");
  assert.equal(activationOf(model, "tanh1"), "tanh");
  assert.equal(layerOfEdit(model, { tensor: "conv1.conv.bias" }), "conv1");
});

test("indices along axes and positions in a tensor", () => {
  assert.equal(flatIndex([2, 2, 1, 2], [1, 0, 0, 1]), 5);
  for (let index = 0; index < 8; index += 1)
    assert.equal(flatIndex([2, 2, 1, 2], axisIndices([2, 2, 1, 2], index)), index);
  assert.deepEqual(axisIndices([3], 2), [2]);
});

test("changes of a whole kernel, slice by slice", () => {
  const values = [1, 2, 3, 4, 5, 9];
  assert.deepEqual(KERNEL_CHANGES.zero(values, 1, 3), [0, 0, 0, 0, 0, 0]);
  assert.deepEqual(KERNEL_CHANGES.negate(values, 1, 3), [-1, -2, -3, -4, -5, -9]);
  assert.deepEqual(KERNEL_CHANGES.turn(values, 1, 3), [3, 2, 1, 9, 5, 4]);
  assert.deepEqual(KERNEL_CHANGES.turn([1, 2, 3, 4], 2, 2), [4, 3, 2, 1]);
  assert.deepEqual(KERNEL_CHANGES.mean(values, 1, 3), [2, 2, 2, 6, 6, 6]);
});
