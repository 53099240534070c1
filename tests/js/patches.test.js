import assert from "node:assert/strict";
import { test } from "node:test";
import { weightText } from "../../cnncli/report/assets/play/kernel-grid.js";
import { drawnSpan, FilterPatches, patchColors } from "../../cnncli/report/assets/play/patches.js";
import { grayOf, laidOver, limitOf } from "../../cnncli/report/assets/play/pixel-map.js";

test("the patches of a filter are found among those of all layers", () => {
  const data = {
    layers: [
      { name: "a", filters: 2, constant: [[1, 0]] },
      { name: "b", filters: 1, constant: [] },
    ],
  };
  const units = Float32Array.of(5, 0, 7, 3, -1, -1, -1, -1, 2, 9, -1, -1);
  const values = Float32Array.of(4, 3, 0, 0, 1.5, 0);
  const patches = new FilterPatches(data, units, values);
  assert.deepEqual(patches.of("a", 0), [
    { image: 5, index: 0, value: 4 },
    { image: 7, index: 3, value: 3 },
  ]);
  assert.deepEqual(patches.of("a", 1), []);
  assert.deepEqual(patches.of("b", 0), [{ image: 2, index: 9, value: 1.5 }]);
  assert.equal(patches.constant("a", 1), 0);
  assert.equal(patches.constant("a", 0), undefined);
});

test("at most six rows of padding are drawn on each side", () => {
  assert.deepEqual(drawnSpan([0, 4], [-2, 4]), [-2, 4]);
  assert.deepEqual(drawnSpan([0, 9], [-20, 30]), [-6, 15]);
  assert.deepEqual(drawnSpan([3, 4], null), [3, 4]);
  assert.deepEqual(drawnSpan([2, 6], [3, 5]), [2, 6], "interpolation reads beyond the closed form");
});

test("a patch has the pixels of the image, nothing in the padding, and pale gaps", () => {
  const pixels = Uint8Array.from({ length: 12 }, (_, i) => 10 * i); // 1 x 3 x 4
  const region = {
    rows: [0, 1],
    columns: [1, 1, 3, 3],
    padded: [
      [-1, 1],
      [1, 3],
    ],
  };
  const { width, height, data } = patchColors(pixels, [1, 3, 4], region);
  assert.deepEqual([width, height], [3, 3]);
  const at = (row, column) => Array.from(data.subarray(4 * (3 * row + column), 4 * (3 * row + column) + 4));
  assert.deepEqual(at(0, 0), [0, 0, 0, 0], "padding");
  assert.deepEqual(at(1, 0), [10, 10, 10, 255]);
  assert.deepEqual(at(2, 2), [70, 70, 70, 255]);
  assert.deepEqual(at(1, 1).slice(0, 3), [20, 20, 20]);
  assert.ok(at(1, 1)[3] < 128, "column 2 is not read");
  const color = patchColors(Uint8Array.of(1, 2, 3), [3, 1, 1], { rows: [0, 0], columns: [0, 0], padded: null });
  assert.deepEqual(Array.from(color.data), [1, 2, 3, 255]);
  const two = patchColors(Uint8Array.of(10, 30), [2, 1, 1], { rows: [0, 0], columns: [0, 0], padded: null });
  assert.deepEqual(Array.from(two.data), [20, 20, 20, 255], "the mean of two channels");
});

test("the limit of a map leaves out what is not finite", () => {
  assert.equal(limitOf([1, -3, 2]), 3);
  assert.equal(limitOf([NaN, -Infinity, 0.5]), 0.5);
  assert.equal(limitOf([0, 0]), 0);
});

test("an image under a map darkens what differs from its background", () => {
  assert.deepEqual(Array.from(grayOf([0, 100, 200, 0], 2)), [100, 50]);
  const map = () => Uint8ClampedArray.from([200, 100, 0, 255, 200, 100, 0, 255, 200, 100, 0, 255]);
  const dark = map();
  laidOver(dark, [255, 0, 0]);
  assert.ok(dark[0] < 160 && dark[1] < 80, "a white stroke on black");
  assert.deepEqual(Array.from(dark.subarray(4)), Array.from(map().subarray(4)), "the background stays as it is");
  const bright = map();
  laidOver(bright, [0, 255, 255]);
  assert.deepEqual(bright, dark, "a black stroke on white looks the same");
});

test("weights are short", () => {
  const shown = [0, 0.1549, -0.00656, 0.000213, -12.345, 1234.5].map(weightText);
  assert.deepEqual(shown, ["0", "0.155", "-0.007", "2e-4", "-12.35", "1230"]);
});
