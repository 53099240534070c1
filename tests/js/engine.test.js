import assert from "node:assert/strict";
import { test } from "node:test";
import { erfc } from "../../cnncli/report/assets/engine/activation.js";
import { messageHandler } from "../../cnncli/report/assets/engine/messages.js";
import { largestOf, Network, softmax } from "../../cnncli/report/assets/engine/network.js";
import { OPERATIONS } from "../../cnncli/report/assets/engine/operations.js";
import { TASKS } from "../../cnncli/report/assets/engine/tasks.js";

// Two pixels, a 1x1 convolution to two channels with relu, and two logits. All numbers are exact in single precision.
const MODEL = {
  input: [1, 1, 2],
  classes: ["a", "b"],
  normalization: { mean: [0], std: [1 / 255] }, // pixels are not changed
  layers: [
    {
      name: "conv1",
      type: "conv",
      inputs: ["input"],
      shape: [2, 1, 2],
      is_activation: false,
      operations: [
        {
          name: "convolution",
          role: null,
          shape: [2, 1, 2],
          kernel_size: [1, 1],
          stride: [1, 1],
          before: [0, 0],
          dilation: [1, 1],
          groups: 1,
          tensors: { weight: 0, bias: 1 },
        },
        { name: "relu", role: "activation", shape: [2, 1, 2], tensors: {} },
      ],
    },
    { name: "dropout1", type: "dropout", inputs: ["conv1"], shape: [2, 1, 2], is_activation: false, operations: [] },
    {
      name: "flatten1",
      type: "flatten",
      inputs: ["dropout1"],
      shape: [4],
      is_activation: false,
      operations: [{ name: "flatten", role: null, shape: [4], tensors: {} }],
    },
    {
      name: "logits1",
      type: "logits",
      inputs: ["flatten1"],
      shape: [2],
      is_activation: false,
      operations: [{ name: "linear", role: null, shape: [2], tensors: { weight: 2 } }],
    },
  ],
  tensors: [
    { name: "conv1.conv.weight", layer: "conv1", shape: [2, 1, 1, 1], offset: 0 },
    { name: "conv1.conv.bias", layer: "conv1", shape: [2], offset: 2 },
    { name: "logits1.weight", layer: "logits1", shape: [2, 4], offset: 4 },
  ],
};
const WEIGHTS = Float32Array.from([2, -1, 0, 8, 1, 0, 0, 0, 0, 1, 1, 1]);
const network = () => new Network(MODEL, WEIGHTS);
// conv1: 2 x and 8 - x, so for pixels 3 and 10: 6 20 | 5 0 (relu of -2). Logits: 6 and 20 + 5 + 0.
const PIXELS = Uint8Array.from([3, 10]);

test("values of every layer by hand", () => {
  const { logits, values } = network().run(PIXELS);
  assert.deepEqual([...logits], [6, 25]);
  assert.deepEqual([...values.keys()], ["conv1", "dropout1", "flatten1", "logits1"]);
  for (const name of ["conv1", "dropout1", "flatten1"]) assert.deepEqual([...values.get(name)], [6, 20, 5, 0], name);
});

test("values after each operation of a layer", () => {
  const steps = network().intermediates("conv1", new Map(), Float32Array.from(PIXELS));
  assert.deepEqual(
    steps.map((each) => [...each]),
    [
      [6, 20, 5, -2],
      [6, 20, 5, 0],
    ],
  );
});

test("pixels are normalized by channel, in single precision", () => {
  const model = { ...MODEL, input: [2, 1, 2], normalization: { mean: [0.5, 0], std: [0.25, 1] } };
  const input = new Network(model, WEIGHTS).normalize(Uint8Array.from([0, 255, 0, 51]));
  const expected = [-2, 2, 0, 0.2];
  input.forEach((each, i) => {
    assert.ok(Math.abs(each - expected[i]) < 1e-6, `${each}`);
  });
});

test("the gradient by hand: of the sum of both logits", () => {
  // d/dx0 = 2 + (-1), d/dx1 = 2 + 0, because relu stops the negative value.
  const original = network();
  assert.deepEqual([...original.gradient(Float32Array.from(PIXELS), () => [1, 1])], [1, 2]);
  const linear = original.withEdits([{ kind: "identity", layer: "conv1" }]);
  assert.deepEqual([...linear.gradient(Float32Array.from(PIXELS), () => [1, 1])], [1, 1]);
  const half = original.withEdits([{ kind: "scale", layer: "conv1", channel: 0, factor: 0.5 }]);
  assert.deepEqual([...half.gradient(Float32Array.from(PIXELS), () => [1, 1])], [0, 1]);
});

test("the gradient of a unit inside, with the weights computed from the values", () => {
  const gradient = network().gradient(Float32Array.from(PIXELS), (values) => values.map((each) => 2 * each), "conv1");
  assert.deepEqual([...gradient], [2 * 6 * 2 + 2 * 5 * -1, 2 * 20 * 2]);
});

test("edits change a copy, tensors that are not edited are shared", () => {
  const original = network();
  const cases = [
    [[{ kind: "scale", layer: "conv1", channel: 1, factor: 0 }], [6, 20]],
    [
      [
        { kind: "scale", layer: "conv1", channel: 1, factor: 2 },
        { kind: "scale", layer: "conv1", channel: 1, factor: 3 },
      ],
      [6, 50],
    ],
    [[{ kind: "weight", tensor: "conv1.conv.bias", index: 0, value: 1 }], [7, 26]],
    [[{ kind: "kernel", tensor: "logits1.weight", channel: 0, values: [0, 0, 0, 1] }], [0, 25]],
    [[{ kind: "kernel", tensor: "conv1.conv.weight", channel: 1, values: [0] }], [6, 36]],
    [[{ kind: "identity", layer: "conv1" }], [6, 23]],
    [[{ kind: "identity", layer: "flatten1" }], [6, 25]],
  ];
  for (const [edits, logits] of cases) assert.deepEqual([...original.withEdits(edits).run(PIXELS).logits], logits);
  assert.deepEqual([...original.run(PIXELS).logits], [6, 25]);
  const changed = original.withEdits([{ kind: "weight", tensor: "conv1.conv.bias", index: 0, value: 1 }]);
  assert.equal(changed.tensor("logits1.weight"), original.tensor("logits1.weight"));
  assert.notEqual(changed.tensor("conv1.conv.bias"), original.tensor("conv1.conv.bias"));
  const twice = changed.withEdits([{ kind: "identity", layer: "conv1" }]);
  assert.deepEqual([...twice.run(PIXELS).logits], [7, 24], "edits of an edited network add to its own");
  assert.deepEqual([...changed.run(PIXELS).logits], [7, 26]);
});

test("the kernel of an output channel", () => {
  assert.deepEqual([...network().kernel("logits1.weight", 1)], [0, 1, 1, 1]);
  assert.deepEqual([...network().kernel("conv1.conv.weight", 1)], [-1]);
});

test("names and sizes that do not fit are errors", () => {
  const original = network();
  assert.throws(() => original.tensor("conv2.weight"), /no tensor conv2.weight/);
  assert.throws(() => original.shapeOf("conv2"), /no layer conv2/);
  assert.throws(() => original.withEdits([{ kind: "identity", layer: "conv2" }]), /no layer conv2/);
  assert.throws(() => original.kernel("conv1.conv.bias", 0), /no kernels/);
  const edit = { kind: "kernel", tensor: "logits1.weight", channel: 0, values: [1] };
  assert.throws(() => original.withEdits([edit]), /logits1.weight: 1 values for 4/);
});

test("other weights", () => {
  const others = network()
    .withEdits([{ kind: "identity", layer: "conv1" }])
    .withWeights(new Float32Array(12).fill(1));
  assert.deepEqual([...others.run(PIXELS).logits], [30, 30]);
});

test("softmax of large and equal logits", () => {
  assert.deepEqual([...softmax([1000, 1000])], [0.5, 0.5]);
  const [low, high] = softmax([0, Math.log(3)]);
  assert.ok(Math.abs(low - 0.25) < 1e-12 && Math.abs(high - 0.75) < 1e-12);
});

test("the largest of equal logits is the first", () => assert.equal(largestOf([1, 3, 3]), 1));

test("the complementary error function", () => {
  // Abramowitz and Stegun, table 7.1 (erf), and 1 / erfc from table 7.3 of large arguments.
  const known = [
    [0, 1],
    [0.5, 1 - 0.5204998778],
    [1, 1 - 0.8427007929],
    [2, 1 - 0.995322265],
    [-1, 1 + 0.8427007929],
  ];
  for (const [x, expected] of known) assert.ok(Math.abs(erfc(x) - expected) < 1e-9, `${x}`);
  assert.ok(Math.abs(erfc(5) / 1.5374597944280349e-12 - 1) < 1e-9);
  assert.equal(erfc(Infinity), 0);
  assert.equal(erfc(-Infinity), 2);
});

test("NaN passes through relu and through a max pool, as in torch", () => {
  const input = { shape: [1, 1, 4], values: Float32Array.from([Number.NaN, -1, 2, Number.NaN]) };
  assert.deepEqual(
    [...OPERATIONS.relu.forward({ shape: [1, 1, 4] }, [input])].map((each) => Number.isNaN(each)),
    [true, false, false, true],
  );
  const pool = { shape: [1, 1, 2], kernel_size: [1, 2], stride: [1, 2], before: [0, 0], dilation: [1, 1] };
  assert.ok([...OPERATIONS.max_pool.forward(pool, [input])].every((each) => Number.isNaN(each)));
});

test("the first of equal values is the largest of a max pool, as in torch", () => {
  const input = { shape: [1, 1, 3], values: Float32Array.from([1, 4, 4]) };
  const pool = { shape: [1, 1, 1], kernel_size: [1, 3], stride: [1, 1], before: [0, 0], dilation: [1, 1] };
  const [gradient] = OPERATIONS.max_pool.backward(pool, [input], {}, null, Float64Array.of(2));
  assert.deepEqual([...gradient], [0, 2, 0]);
});

const finished = async () => {};

test("the check counts images with other logits and other answers", async () => {
  const images = Uint8Array.from([3, 10, 3, 10, 3, 10]);
  const logits = Float32Array.from([6, 25, 6, 25.001, 26, 25]);
  const result = await TASKS.check(network(), { images, logits }, finished);
  assert.deepEqual([result.count, result.close, result.same], [3, 1, 2]);
  assert.equal(result.largest, 20);
  assert.ok(Math.abs(result.relative - 20 / 26) < 1e-9);
});

test("the check takes a NaN on one side only as an infinite difference", async () => {
  const images = Uint8Array.from([3, 10]);
  const result = await TASKS.check(network(), { images, logits: Float32Array.from([6, Number.NaN]) }, finished);
  assert.deepEqual([result.close, result.largest], [0, Infinity]);
});

test("accuracy", async () => {
  const images = Uint8Array.from([3, 10, 200, 0]);
  const shares = [];
  const result = await TASKS.accuracy(network(), { images, labels: [1, 1] }, async (share) => shares.push(share));
  assert.deepEqual(result, { count: 2, correct: 1, predictions: [1, 0] });
  assert.deepEqual(shares, [0.5, 1]);
});

/** A handler, the messages it posted, and a clock that goes on by 100 ms at each look. */
function worker() {
  const posted = [];
  const waiting = [];
  let time = 0;
  const handle = messageHandler(
    (message) => posted.push(message),
    async () => {
      for (const message of waiting.splice(0)) await handle(message);
    },
    () => {
      time += 100;
      return time;
    },
  );
  handle({ type: "load", models: [MODEL, MODEL], weights: [WEIGHTS, new Float32Array(12).fill(1)] });
  return { handle, posted, waiting };
}

test("the worker answers runs, of either network and with edits", async () => {
  const { handle, posted } = worker();
  await handle({ type: "run", id: 1, pixels: PIXELS });
  await handle({ type: "run", id: 2, model: 1, pixels: PIXELS });
  await handle({ type: "run", id: 3, pixels: PIXELS, edits: [{ kind: "identity", layer: "conv1" }] });
  assert.deepEqual(
    posted.map(({ id, logits }) => [id, ...logits]),
    [
      [1, 6, 25],
      [2, 30, 30],
      [3, 6, 23],
    ],
  );
  assert.deepEqual(Object.keys(posted[0].values), ["conv1", "dropout1", "flatten1", "logits1"]);
  await handle({ type: "weights", model: 0, weights: new Float32Array(12).fill(1) });
  await handle({ type: "run", id: 4, pixels: PIXELS });
  assert.deepEqual([...posted.at(-1).logits], [30, 30]);
});

test("the worker answers a run while a task is running", async () => {
  const { handle, posted, waiting } = worker();
  waiting.push({ type: "run", id: 8, pixels: PIXELS });
  await handle({ type: "accuracy", id: 7, images: Uint8Array.from([3, 10, 3, 10]), labels: [1, 1] });
  const kinds = posted.map((each) => Object.keys(each).find((key) => ["progress", "logits", "result"].includes(key)));
  assert.deepEqual(kinds, ["progress", "logits", "progress", "result"]);
  assert.deepEqual([posted[0].progress, posted.at(-1).result.correct], [0.5, 2]);
});

test("a canceled task ends without an answer", async () => {
  const { handle, posted, waiting } = worker();
  waiting.push({ type: "cancel", id: 7 });
  await handle({ type: "accuracy", id: 7, images: Uint8Array.from([3, 10, 3, 10]), labels: [1, 1] });
  assert.deepEqual(posted, [{ id: 7, progress: 0.5 }]);
});

test("the worker answers what fails with the reason", async () => {
  const { handle, posted } = worker();
  await handle({ type: "run", id: 1, pixels: PIXELS, edits: [{ kind: "identity", layer: "conv9" }] });
  await handle({ type: "nothing", id: 2 });
  assert.deepEqual(posted, [
    { id: 1, error: "no layer conv9" },
    { id: 2, error: "no message nothing" },
  ]);
});
