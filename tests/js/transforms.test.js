import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isNeutral,
  neutralTransforms,
  transformPixels,
  transformSliders,
} from "../../cnncli/report/assets/play/transforms.js";

const SHAPE = [2, 3, 4];
const PIXELS = Uint8Array.from({ length: 24 }, (_, i) => 10 * i);
const changed = (settings) => [...transformPixels(PIXELS, SHAPE, { ...neutralTransforms(SHAPE), ...settings })];

test("neutral settings copy the image", () => {
  assert.ok(isNeutral(neutralTransforms(SHAPE)));
  assert.deepEqual(changed({}), [...PIXELS]);
  const copy = transformPixels(PIXELS, SHAPE, neutralTransforms(SHAPE));
  copy[0] = 99;
  assert.equal(PIXELS[0], 0, "a copy");
});

test("every slider holds its neutral value", () => {
  for (const { name, min, max, step, neutral } of transformSliders([1, 28, 28])) {
    assert.ok(min <= neutral && neutral <= max, name);
    const steps = (neutral - min) / step;
    assert.ok(Math.abs(steps - Math.round(steps)) < 1e-9, name);
  }
});

test("a shift to the right and down moves every channel and brings in black", () => {
  assert.deepEqual(changed({ right: 1, down: 1 }), [
    ...[0, 0, 0, 0, 0, 0, 10, 20, 0, 40, 50, 60],
    ...[0, 0, 0, 0, 0, 120, 130, 140, 0, 160, 170, 180],
  ]);
});

test("a quarter turn is clockwise", () => {
  const turned = transformPixels(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9), [1, 3, 3], {
    ...neutralTransforms([1, 3, 3]),
    rotate: 90,
  });
  assert.deepEqual([...turned], [7, 4, 1, 8, 5, 2, 9, 6, 3]);
});

test("a factor of two enlarges about the center", () => {
  const row = transformPixels(Uint8Array.of(0, 100, 200, 40), [1, 1, 4], { ...neutralTransforms([1, 1, 4]), scale: 2 });

  assert.deepEqual([...row], [75, 125, 175, 160]);
});

test("brightness and contrast", () => {
  assert.deepEqual(
    changed({ brightness: 0.2 }),
    [...PIXELS].map((level) => Math.min(255, level + 51)),
  );
  assert.deepEqual(changed({ contrast: 0 }), Array(24).fill(115), "the mean of 0, 10, ... 230");
  assert.deepEqual(changed({ contrast: 0.5 }).slice(0, 2), [58, 63]);
});

test("a square covers pixels of all channels, also beside the edge", () => {
  const covered = changed({ square: 2, squareX: 1, squareY: 3 });
  const expected = [...PIXELS];
  for (const offset of [8, 9, 20, 21]) expected[offset] = 0;
  assert.deepEqual(covered, expected);
});

test("noise has the standard deviation asked for, and repeats with its seed", () => {
  const shape = [1, 100, 100];
  const gray = new Uint8Array(10000).fill(128);
  const settings = { ...neutralTransforms(shape), noise: 0.1 };
  const noisy = transformPixels(gray, shape, settings);
  const mean = noisy.reduce((sum, level) => sum + level, 0) / noisy.length;
  const deviation = Math.sqrt(noisy.reduce((sum, level) => sum + (level - mean) ** 2, 0) / noisy.length);
  assert.ok(Math.abs(mean - 128) < 1, `${mean}`);
  assert.ok(Math.abs(deviation - 25.5) < 1, `${deviation}`);
  assert.deepEqual(transformPixels(gray, shape, settings), noisy);
  assert.notDeepEqual(transformPixels(gray, shape, { ...settings, seed: 2 }), noisy);
});
