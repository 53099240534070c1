import assert from "node:assert/strict";
import { test } from "node:test";
import { InputModel } from "../../cnncli/report/assets/play/input-model.js";

const MNIST = {
  input_shape: [1, 28, 28],
  stored: [1, 28, 28],
  framing: { box: [20, 20], center: "mass", threshold: 0.3 },
  background: "dark",
  dataset: "MNIST",
};
const mnist = () => new InputModel([1, 28, 28], MNIST);

/** The mean row and column of the ink in 28x28 levels. */
function center(pixels) {
  let [sum, down, across] = [0, 0, 0];
  pixels.forEach((level, position) => {
    sum += level;
    down += level * Math.floor(position / 28);
    across += level * (position % 28);
  });
  return [down / sum, across / sum];
}

function line(model, from, to) {
  model.beginStroke({ x: from[0], y: from[1] });
  model.continueStroke({ x: to[0], y: to[1] });
  model.update();
}

test("a line in a corner is centered, or stays there", () => {
  const model = mnist();
  line(model, [20, 20], [60, 100]);
  const [row, column] = center(model.pixels());
  assert.ok(Math.abs(row - 14) <= 1 && Math.abs(column - 14) <= 1, `${row}, ${column}`);
  assert.deepEqual(model.steps, ["cropped", "centered", "resized from 280x280"]);
  model.center = false;
  model.update();
  const [low, left] = center(model.pixels());
  assert.ok(Math.abs(low - 5.5) < 0.3 && Math.abs(left - 3.5) < 0.3, `${low}, ${left}`);
  assert.deepEqual(model.steps, ["resized from 280x280"]);
});

test("an empty pad is paper", () => {
  assert.ok(
    mnist()
      .pixels()
      .every((level) => level === 0),
  );
  const bright = new InputModel([3, 8, 6], {
    ...MNIST,
    input_shape: [3, 8, 6],
    stored: null,
    framing: null,
    background: null,
  });
  assert.ok(bright.pixels().every((level) => level === 255));
  assert.ok(!bright.canCenter && bright.inColor && bright.isEmpty);
  assert.deepEqual([bright.drawing.width, bright.drawing.height], [210, 280]);
});

test("a test image before anything was drawn is nothing to undo", () => {
  const model = mnist();
  const image = { pixels: new Uint8Array(784).fill(7), source: { kind: "test", number: 3 } };
  model.showImage(image);
  assert.ok(!model.canUndo);
  model.undo();
  assert.deepEqual(model.pixels(), image.pixels);
  line(model, [100, 50], [150, 220]);
  assert.ok(model.canUndo);
});

test("a test image: the pen begins anew, undo brings the drawing back", () => {
  const model = mnist();
  line(model, [100, 50], [150, 220]);
  const drawn = model.pixels();
  const image = { pixels: Uint8Array.from({ length: 784 }, (_, i) => i % 256), source: { kind: "test", number: 3 } };
  model.showImage(image);
  assert.deepEqual(model.pixels(), image.pixels);
  assert.equal(model.source.number, 3);
  assert.ok(model.canUndo);
  model.undo();
  assert.equal(model.source.kind, "drawing");
  assert.deepEqual(model.pixels(), drawn);
  model.showImage(image);
  line(model, [100, 50], [150, 220]);
  assert.deepEqual(model.pixels(), drawn, "nothing is left of the image");
});

test("the eraser takes away from a test image, and one may draw on it", () => {
  const pixels = new Uint8Array(784);
  for (let row = 4; row < 24; row += 1) pixels.fill(200 + row, 28 * row + 12, 28 * row + 16);
  pixels[28 * 10 + 13] = 255;
  const image = { pixels, source: { kind: "test", number: 3 } };
  const erased = mnist();
  erased.center = false;
  erased.showImage(image);
  erased.tool = "eraser";
  line(erased, [100, 145], [180, 145]);
  const left = erased.pixels();
  assert.equal(left[28 * 14 + 13], 0);
  assert.equal(left[28 * 5 + 13], 205);
  const more = mnist();
  more.showImage(image);
  more.drawOn();
  assert.deepEqual(more.pixels(), pixels, "placed as in the data set: the same pixels");
  more.center = false;
  line(more, [140, 65], [200, 65]);
  assert.ok(more.pixels()[28 * 6 + 18] > 200);
  assert.ok(more.pixels()[28 * 22 + 13] > 200);
});

test("the pressure of a pen makes it wider, to twice the radius of a mouse", () => {
  const model = mnist();
  assert.equal(model.radius(), model.radius(0.5));
  assert.equal(model.radius(1), 2 * model.radius());
  assert.equal(model.radius(0.001), 0.5);
  model.tool = "eraser";
  assert.ok(model.radius() > 11);
});

test("sliders change what is seen, and not the drawing", () => {
  const model = mnist();
  line(model, [100, 50], [150, 220]);
  const before = model.pixels();
  model.transforms = { ...model.transforms, right: 3 };
  const [row, column] = center(before);
  const [newRow, newColumn] = center(model.pixels());
  assert.ok(Math.abs(newRow - row) < 1e-6 && Math.abs(newColumn - column - 3) < 1e-6);
  model.resetTransforms();
  assert.deepEqual(model.pixels(), before);
});

test("a picture is prepared again when centering is switched", () => {
  const model = mnist();
  const data = new Uint8ClampedArray(4 * 40 * 60).fill(255);
  for (let row = 5; row < 20; row += 1)
    for (let column = 4; column < 8; column += 1) data.set([0, 0, 0], 4 * (60 * row + column));
  model.showPicture({ width: 60, height: 40, data, original: { width: 60, height: 40 } }, "one.png");
  assert.deepEqual(model.steps, ["inverted", "cropped", "centered", "resized from 60x40"]);
  model.center = false;
  model.update();
  assert.deepEqual(model.steps, ["inverted", "resized from 60x40", "stretched"]);
});

test("a network in color for a gray data set has a gray pad", () => {
  const model = new InputModel([3, 32, 32], { ...MNIST, input_shape: [3, 32, 32] });
  assert.ok(!model.inColor);
  line(model, [100, 50], [150, 220]);
  const pixels = model.pixels();
  assert.equal(pixels.length, 3 * 32 * 32);
  assert.deepEqual(pixels.subarray(0, 1024), pixels.subarray(2048));
  model.showImage({ pixels, source: { kind: "test", number: 1 } });
  model.drawOn();
  assert.equal(model.source.kind, "drawing");
});
