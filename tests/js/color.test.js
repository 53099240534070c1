import assert from "node:assert/strict";
import { test } from "node:test";
import { ColorScale, interpolate } from "../../cnncli/report/assets/shared/color.js";

const COLORS = {
  diverging: [
    [-1, [0, 0, 255]],
    [0, [255, 255, 255]],
    [1, [255, 0, 0]],
  ],
  sequential: [
    [0, [0, 0, 0]],
    [1, [200, 100, 0]],
  ],
  not_finite: [255, 0, 255],
};

test("interpolation between anchors, clamped at the ends", () => {
  assert.deepEqual(interpolate(COLORS.sequential, 0.5), [100, 50, 0]);
  assert.deepEqual(interpolate(COLORS.sequential, 2), [200, 100, 0]);
  assert.deepEqual(interpolate(COLORS.diverging, -0.5), [128, 128, 255]);
  assert.deepEqual(interpolate(COLORS.diverging, 0), [255, 255, 255]);
});

test("a signed scale is symmetric about zero", () => {
  const scale = new ColorScale([-1, 0, 4], COLORS);
  assert.deepEqual([scale.low, scale.high], [-4, 4]);
  assert.deepEqual(scale.color(0), [255, 255, 255]);
  assert.deepEqual(scale.color(4), [255, 0, 0]);
  assert.deepEqual(new ColorScale([-8, 4], COLORS).high, 8);
});

test("an unsigned scale starts at zero", () => {
  const scale = new ColorScale([3, 5, NaN, Infinity], COLORS);
  assert.deepEqual([scale.low, scale.high], [0, 5]);
  assert.deepEqual(scale.color(2.5), [100, 50, 0]);
  assert.deepEqual(scale.color(NaN), COLORS.not_finite);
});

test("a constant zero has a color", () => {
  assert.deepEqual(new ColorScale([0, 0], COLORS).color(0), [0, 0, 0]);
});
