import assert from "node:assert/strict";
import { test } from "node:test";
import { curvePath, labeledEpochs, ticks } from "../../cnncli/report/assets/report/curves.js";

test("a curve has a gap where a value is null", () => {
  const path = curvePath([[0, 5], [1, 4], null, [3, 2], [4, 1]]);
  assert.equal(path, "M0.0 5.0L1.0 4.0M3.0 2.0L4.0 1.0");
});

test("a curve may start and end with gaps", () => {
  assert.equal(curvePath([null, null, [2, 3], [3, 3], null]), "M2.0 3.0L3.0 3.0");
  assert.equal(curvePath([null, null]), "");
});

test("ticks cover all values and no more than needed", () => {
  const ranges = [
    [0, 1],
    [0.113, 0.987],
    [0.9, 0.97],
    [-0.3, 2.4],
    [1e-5, 1e-3],
    [120, 4800],
    [0.3, 0.6],
  ];
  for (const [low, high] of ranges) {
    const all = ticks(low, high);
    const step = all[1] - all[0];
    const close = step * 1e-6;
    assert.ok(all[0] <= low + close && all[1] > low - close, `first tick of ${low} to ${high}: ${all}`);
    assert.ok(all.at(-1) >= high - close, `the last tick is below ${high}: ${all}`);
    assert.ok(all.at(-2) < high + close, `one tick too many above ${high}: ${all}`);
    assert.ok(all.length >= 2 && all.length <= 6, `${all}`);
  }
});

test("ticks by hand", () => {
  assert.deepEqual(ticks(0, 100), [0, 50, 100]);
  assert.deepEqual(ticks(3, 17), [0, 5, 10, 15, 20]);
  assert.deepEqual(ticks(2, 2), [2, 2.5], "of a constant");
  assert.deepEqual(ticks(0, 0), [0, 0.5], "of zero");
});

test("the last epoch has a label where there is room", () => {
  assert.deepEqual(labeledEpochs(1), [0]);
  assert.deepEqual(labeledEpochs(8), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(labeledEpochs(18), [0, 3, 6, 9, 12, 15, 17], "17 is two after 15");
  assert.deepEqual(labeledEpochs(17), [0, 3, 6, 9, 12, 15], "16 would touch 15");
});
