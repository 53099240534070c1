import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLink } from "../../cnncli/report/assets/play/link.js";
import { tourSteps } from "../../cnncli/report/assets/play/tour-steps.js";

const CONV = {
  name: "conv1",
  shape: [6, 10, 8],
  operations: [{ name: "convolution", kernel_size: [3, 3], tensors: { weight: 0 } }],
};
const POOL = {
  name: "max_pool1",
  shape: [6, 5, 4],
  operations: [{ name: "max_pool", kernel_size: [2, 2], tensors: {} }],
};
const CONV2 = {
  name: "conv2",
  shape: [16, 3, 2],
  operations: [{ name: "convolution", kernel_size: [3, 3], tensors: { weight: 1 } }],
};
const LOGITS = { name: "logits1", shape: [4], operations: [{ name: "linear", tensors: { weight: 2 } }] };
const TENSORS = [{ shape: [6, 1, 3, 3] }, { shape: [16, 6, 3, 3] }, { shape: [4, 96] }];
const FIELDS = { receptiveField: () => ({ rows: [2, 9], columns: [1, 7] }) };
const network = (layers, steps = []) => ({ model: { input: [1, 12, 10], layers, tensors: TENSORS }, steps });
const keys = (steps) => steps.map(({ key }) => key);

test("eight steps for a network with two convolutions and a pool", () => {
  const mistake = { number: 321, label: "4", predicted: "9" };
  const steps = tourSteps(network([CONV, POOL, CONV2, LOGITS]), FIELDS, { first: 7, mistake });
  assert.deepEqual(keys(steps), ["image", "slide", "maps", "sums", "poolMax", "field", "logits", "mistake"]);
  assert.deepEqual(parseLink(steps[0].link), { part: "input", image: 7 });
  assert.deepEqual(parseLink(steps[1].link), { layer: "conv1", filter: 0, at: [5, 4], part: "unit" });
  assert.equal(steps[3].values.depth, 6);
  assert.deepEqual([steps[5].values.rows, steps[5].values.columns, steps[5].values.kernel], [8, 7, "3x3"]);
  assert.deepEqual(parseLink(steps[7].link), { part: "attribution", image: 321 });
});

test("the last step is about the training where its weights were kept", () => {
  const steps = tourSteps(network([CONV, POOL, CONV2, LOGITS], [{ step: 0 }, { step: 99 }]), FIELDS, { first: 7 });
  assert.equal(steps.length, 8);
  assert.deepEqual(parseLink(steps[7].link), { part: "time", image: 7, step: 0 });
});

test("a step about a layer that the network lacks is left out", () => {
  const flat = { name: "flatten1", shape: [120], operations: [{ name: "flatten", tensors: {} }] };
  assert.deepEqual(keys(tourSteps(network([flat, LOGITS]), FIELDS, {})), ["image", "logits"]);
  assert.deepEqual(keys(tourSteps(network([CONV, LOGITS]), FIELDS, {})), [
    "image",
    "slide",
    "maps",
    "logits",
    "whatIf",
  ]);
  const identity = { name: "dropout1", shape: [6, 10, 8], operations: [] };
  assert.equal(tourSteps(network([identity, LOGITS]), FIELDS, {}).length, 2);
});
