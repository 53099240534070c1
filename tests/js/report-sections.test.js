import assert from "node:assert/strict";
import { test } from "node:test";
import { barHeight, describeBin } from "../../cnncli/report/assets/report/calibration.js";
import { worstPairs } from "../../cnncli/report/assets/report/confusion.js";
import { describeCurves } from "../../cnncli/report/assets/report/curves.js";
import { classSymbols, nextPoint } from "../../cnncli/report/assets/report/embedding.js";
import { describeRange } from "../../cnncli/report/assets/report/patches.js";
import { enlargement } from "../../cnncli/report/assets/shared/sprite.js";

test("the most frequent confusions, the larger share of its class first", () => {
  const counts = [
    [90, 3, 7],
    [3, 7, 0],
    [0, 1, 9],
  ];
  assert.deepEqual(worstPairs(counts, 3), [
    { label: 0, predicted: 2, count: 7, share: 0.07 },
    { label: 1, predicted: 0, count: 3, share: 0.3 },
    { label: 0, predicted: 1, count: 3, share: 0.03 },
  ]);
  assert.deepEqual(
    worstPairs(
      [
        [5, 0],
        [0, 5],
      ],
      3,
    ),
    [],
  );
});

test("a class without images has no confusions", () => {
  assert.deepEqual(
    worstPairs(
      [
        [0, 0],
        [0, 5],
      ],
      3,
    ),
    [],
  );
});

test("augmentation is named only where there is some", () => {
  const values = "Training values are measured while the weights change";
  assert.equal(describeCurves(false, []), `${values}.`);
  assert.equal(describeCurves(true, []), `${values}; validation values at the end of each epoch.`);
  assert.equal(
    describeCurves(true, ["shift", "flip"]),
    `${values}, on augmented images (shift, flip); validation values at the end of each epoch.`,
  );
});

test("the range of a filter", () => {
  assert.equal(describeRange({ lowest: -0.12345, highest: 2 }), "-0.123 to 2");
  assert.equal(describeRange({ lowest: 0, highest: 0 }), "0 everywhere, on every test image: dead");
  assert.equal(describeRange({ lowest: 0.5, highest: 0.5 }), "always 0.5");
});

test("a bin as text", () => {
  assert.equal(describeBin(0, 10, { count: 0 }), "confidence 0 to 10 %: no images");
  assert.equal(
    describeBin(9, 10, { count: 1200, confidence: 0.97, accuracy: 0.9 }),
    "confidence 90 to 100 %: 1,200 images, 90.0 % correct, overconfident by 7.0 %",
  );
  assert.equal(
    describeBin(4, 10, { count: 1, confidence: 0.45, accuracy: 1 }),
    "confidence 40 to 50 %: 1 image, 100.0 % correct, underconfident by 55.0 %, few images",
  );
  assert.equal(
    describeBin(4, 10, { count: 100, confidence: 0.45, accuracy: 0.45 }),
    "confidence 40 to 50 %: 100 images, 45.0 % correct, as confident as correct",
  );
});

test("the histogram shows single images", () => {
  assert.equal(barHeight(0, 1000), 0);
  assert.equal(barHeight(1000, 1000), 90);
  assert.ok(barHeight(1, 10000) > 5);
});

test("symbols of classes", () => {
  assert.deepEqual(classSymbols(["3", "猫"]), ["3", "猫"]);
  assert.deepEqual(classSymbols(["cat", "dog"]), ["0", "1"]);
  assert.equal(classSymbols(Array.from({ length: 40 }, (_, i) => `class ${i}`))[36], "0");
});

test("the nearest point in a direction; y points up", () => {
  const points = [[50, 50], [60, 50], [55, 58], [50, 40], [90, 51]]; // biome-ignore format: a picture
  assert.equal(nextPoint(points, 0, [0, 1]), 1, "right");
  assert.equal(nextPoint(points, 0, [-1, 0]), 2, "up");
  assert.equal(nextPoint(points, 0, [1, 0]), 3, "down");
  assert.equal(nextPoint(points, 0, [0, -1]), null, "nothing on the left");
  assert.equal(nextPoint(points, 1, [0, 1]), 4);
});

test("pixels are enlarged by whole factors", () => {
  assert.equal(enlargement([5, 5], 56), 11);
  assert.equal(enlargement([28, 14], 56), 2);
  assert.equal(enlargement([96, 96], 56), 1);
});
