import assert from "node:assert/strict";
import { test } from "node:test";
import { Network } from "../../cnncli/report/assets/engine/network.js";
import { mapsBehind, numberAt, originOf, unitTrace } from "../../cnncli/report/assets/engine/unit.js";

// An image of 1 x 2 x 2, a convolution of 2 x 2 with two channels and ReLU, flatten, and a linear layer.
const MODEL = {
  input: [1, 2, 2],
  normalization: { mean: [0], std: [1] },
  layers: [
    {
      name: "conv",
      inputs: ["input"],
      shape: [2, 1, 2],
      operations: [
        {
          name: "convolution",
          role: null,
          shape: [2, 1, 2],
          kernel_size: [2, 2],
          stride: [1, 1],
          before: [0, 1],
          dilation: [1, 1],
          groups: 1,
          tensors: { weight: 0, bias: 1 },
        },
        { name: "relu", role: "activation", shape: [2, 1, 2], tensors: {} },
      ],
    },
    { name: "drop", inputs: ["conv"], shape: [2, 1, 2], operations: [] },
    {
      name: "flat",
      inputs: ["drop"],
      shape: [4],
      operations: [{ name: "flatten", role: null, shape: [4], tensors: {} }],
    },
    {
      name: "logits",
      inputs: ["flat"],
      shape: [1],
      operations: [{ name: "linear", role: null, shape: [1], tensors: { weight: 2 } }],
    },
  ],
  tensors: [
    { name: "conv.weight", layer: "conv", shape: [2, 1, 2, 2], offset: 0 },
    { name: "conv.bias", layer: "conv", shape: [2], offset: 8 },
    { name: "logits.weight", layer: "logits", shape: [1, 4], offset: 10 },
  ],
};
const WEIGHTS = Float32Array.of(1, 2, 3, 4, -1, 0, 0, -1, 10, 0.5, 1, 0, 2, 0);
const IMAGE = Float32Array.of(1, 2, 3, 4);
const network = new Network(MODEL, WEIGHTS);

function trace(of, layer, index) {
  return unitTrace(of, layer, index, of.runInput(IMAGE).values, IMAGE);
}

test("a convolution by hand, with padding on the left", () => {
  const { patches, stages, terms } = trace(network, "conv", [0, 0, 0]);
  assert.deepEqual(patches[0].columns, [null, 0]);
  assert.deepEqual(patches[0].values, [0, 1, 0, 3]);
  assert.equal(patches[0].total, 2 * 1 + 4 * 3);
  assert.deepEqual(
    terms.map(({ index, product }) => [...index, product]),
    [
      [0, 0, 0, 2],
      [0, 1, 0, 12],
    ],
  );
  assert.deepEqual(
    stages.map(({ kind, value }) => [kind, value]),
    [
      ["sum", 14],
      ["bias", 24],
      ["activation", 24],
    ],
  );
});

test("edits are in the trace", () => {
  const negative = trace(network, "conv", [1, 0, 1]);
  assert.equal(negative.stages.at(-1).value, 0);
  const edited = network.withEdits([
    { kind: "identity", layer: "conv" },
    { kind: "scale", layer: "conv", channel: 1, factor: 3 },
  ]);
  const { stages } = trace(edited, "conv", [1, 0, 1]);
  assert.deepEqual(
    stages.map(({ kind, value }) => [kind, value]),
    [
      ["sum", -1 - 4],
      ["bias", -4.5],
      ["edit", -13.5],
    ],
  );
  assert.equal(numberAt({ shape: [2, 1, 2], values: edited.runInput(IMAGE).values.get("conv") }, [1, 0, 1]), -13.5);
});

test("where a number comes from, through dropout and flatten", () => {
  assert.deepEqual(originOf(network, "flat", [3]), { layer: "conv", index: [1, 0, 1] });
  assert.deepEqual(originOf(network, "conv", [1, 0, 1]), { layer: "conv", index: [1, 0, 1] });
  assert.deepEqual(originOf(network, "input", [0, 1, 1]), { layer: "input", index: [0, 1, 1] });
});

test("the maps whose numbers a vector has", () => {
  assert.equal(mapsBehind(network, "flat"), "drop");
  assert.equal(mapsBehind(network, "logits"), null);
});

test("a number that an edit changes on its way does not come from before", () => {
  const edited = network.withEdits([{ kind: "scale", layer: "drop", channel: 1, factor: 0 }]);
  assert.deepEqual(originOf(edited, "flat", [3]), { layer: "drop", index: [1, 0, 1] });
  assert.deepEqual(originOf(edited, "flat", [0]), { layer: "conv", index: [0, 0, 0] });
});
