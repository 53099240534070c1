import assert from "node:assert/strict";
import { test } from "node:test";
import { cellAt, pairs } from "../../cnncli/report/assets/shared/grid.js";

// 3 rows and 4 columns with a margin of 1, each cell 10 px: 60 x 50 px from (100, 200).
const BOX = { left: 100, top: 200, width: 60, height: 50 };
const at = (clientX, clientY) => cellAt({ clientX, clientY }, BOX, [3, 4], 1);

test("a pointer inside a cell", () => {
  assert.deepEqual(at(110, 210), [0, 0], "the first pixel of the first cell");
  assert.deepEqual(at(149.9, 239.9), [2, 3], "the last pixel of the last cell");
  assert.deepEqual(at(125, 225), [1, 1]);
});

test("a pointer one past each edge is in the margin", () => {
  assert.equal(at(109, 225), null, "left");
  assert.equal(at(150, 225), null, "right");
  assert.equal(at(125, 209), null, "above");
  assert.equal(at(125, 240), null, "below");
});

test("without a margin a pointer on the far edge is outside", () => {
  const inside = (clientX, clientY) =>
    cellAt({ clientX, clientY }, { left: 0, top: 0, width: 40, height: 30 }, [3, 4], 0);
  assert.deepEqual(inside(39.9, 29.9), [2, 3]);
  assert.equal(inside(40, 29), null);
  assert.equal(inside(39, 30), null);
  assert.equal(inside(-0.1, 0), null);
});

test("a scaled grid", () => {
  const cell = cellAt({ clientX: 100 + 25 / 2, clientY: 200 + 25 / 2 }, { ...BOX, width: 30, height: 25 }, [3, 4], 1);
  assert.deepEqual(cell, [1, 1]);
});

test("runs as pairs", () => {
  assert.deepEqual(pairs([0, 1, 3, 4]), [
    [0, 1],
    [3, 4],
  ]);
  assert.deepEqual(pairs([]), []);
});
