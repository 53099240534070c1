import assert from "node:assert/strict";
import { test } from "node:test";
import { Drawing, padScale } from "../../cnncli/report/assets/play/input-drawing.js";

const sheet = (channels = 1, paper = [0]) => new Drawing({ height: 40, width: 60, channels, paper });
const at = (drawing, row, column) => {
  const offset = (row * drawing.width + column) * drawing.channels;
  return [...drawing.levels.subarray(offset, offset + drawing.channels)];
};
const point = (x, y, radius = 4) => ({ x, y, radius });

test("ten pixels for each of the image, within limits", () => {
  assert.equal(padScale([1, 28, 28]), 10);
  assert.equal(padScale([3, 32, 32]), 10);
  assert.equal(padScale([1, 8, 8]), 35);
  assert.equal(padScale([3, 224, 224]), 2);
  assert.equal(padScale([3, 1000, 10]), 1);
});

test("a dab is full in its middle, soft at its edge and round", () => {
  const drawing = sheet();
  drawing.beginStroke([255]);
  drawing.strokeTo(point(30, 20, 8), point(30, 20, 8));
  assert.deepEqual(at(drawing, 20, 30), [255]);
  const [edge] = at(drawing, 20, 37); // its center is 7.5 from the middle
  assert.ok(edge > 128 && edge < 255, `${edge}`);
  assert.deepEqual(at(drawing, 20, 41), [0]);
  for (let row = 0; row < 40; row += 1) {
    for (let column = 0; column < 60; column += 1) {
      assert.deepEqual(at(drawing, row, column), at(drawing, 39 - row, 59 - column), "symmetric about the middle");
    }
  }
});

test("a line covers all pixels near it, no matter how far apart its points are", () => {
  const far = sheet();
  far.beginStroke([255]);
  far.strokeTo(point(5, 20), point(55, 20));
  const near = sheet();
  near.beginStroke([255]);
  for (let x = 5; x < 55; x += 1) near.strokeTo(point(x, 20), point(x + 1, 20));
  assert.deepEqual(near.levels, far.levels);
  assert.deepEqual(at(far, 20, 30), [255]);
  assert.deepEqual(at(far, 26, 30), [0]);
});

test("crossing its own line does not make a stroke darker", () => {
  const drawing = sheet();
  drawing.beginStroke([255]);
  drawing.strokeTo(point(5, 20), point(55, 20));
  const once = drawing.levels.slice();
  drawing.strokeTo(point(55, 20), point(5, 20));
  assert.deepEqual(drawing.levels, once);
});

test("the radius changes along a line", () => {
  const drawing = sheet();
  drawing.beginStroke([255]);
  drawing.strokeTo(point(10, 20, 2), point(50, 20, 10));
  const thickness = (column) => Array.from({ length: 40 }, (_, row) => at(drawing, row, column)[0] > 127);
  const count = (column) => thickness(column).filter(Boolean).length;
  assert.ok(Math.abs(count(10) - 4) <= 1 && Math.abs(count(30) - 12) <= 1 && Math.abs(count(49) - 20) <= 1);
});

test("only the reported rectangle changes, also at the edge of the pad", () => {
  for (const [from, to] of [
    [point(20, 10), point(33, 29)],
    [point(-30, -5), point(4, 50)],
    [point(200, 200), point(210, 210)],
  ]) {
    const drawing = sheet();
    drawing.beginStroke([255]);
    const { left, top, right, bottom } = drawing.strokeTo(from, to);
    for (let row = 0; row < 40; row += 1) {
      for (let column = 0; column < 60; column += 1) {
        const inside = row >= top && row < bottom && column >= left && column < right;
        if (!inside) assert.deepEqual(at(drawing, row, column), [0]);
      }
    }
  }
});

test("the eraser leaves paper", () => {
  const drawing = sheet(3, [250, 240, 230]);
  drawing.beginStroke([10, 20, 30]);
  drawing.strokeTo(point(30, 20), point(30, 20));
  assert.deepEqual(at(drawing, 20, 30), [10, 20, 30]);
  drawing.beginStroke(drawing.paper);
  drawing.strokeTo(point(30, 20, 12), point(30, 20, 12));
  assert.ok(drawing.levels.every((level, offset) => level === [250, 240, 230][offset % 3]));
});

test("undo goes back stroke by stroke, also before clearing", () => {
  const drawing = sheet();
  assert.ok(drawing.isEmpty && !drawing.canUndo);
  drawing.clear();
  assert.ok(!drawing.canUndo, "nothing was cleared");
  drawing.beginStroke([255]);
  drawing.strokeTo(point(10, 10), point(20, 10));
  const first = drawing.levels.slice();
  drawing.beginStroke([255]);
  drawing.strokeTo(point(10, 30), point(20, 30));
  drawing.clear();
  assert.ok(drawing.isEmpty && drawing.levels.every((level) => level === 0));
  drawing.undo();
  drawing.undo();
  assert.deepEqual(drawing.levels, first);
  assert.ok(!drawing.isEmpty);
  drawing.undo();
  assert.ok(drawing.isEmpty && !drawing.canUndo);
  drawing.undo();
  assert.ok(drawing.levels.every((level) => level === 0));
});

test("a picture enlarged: each pixel a square, channels side by side", () => {
  const drawing = new Drawing({ height: 4, width: 6, channels: 3, paper: [0, 0, 0] });
  drawing.enlarge(
    Uint8Array.from({ length: 18 }, (_, i) => i),
    [3, 2, 3],
  );
  assert.deepEqual(at(drawing, 1, 1), [0, 6, 12]);
  assert.deepEqual(at(drawing, 2, 5), [5, 11, 17]);
  const part = drawing.rgba({ left: 4, top: 1, right: 6, bottom: 3 });
  assert.deepEqual([...part], [2, 8, 14, 255, 2, 8, 14, 255, 5, 11, 17, 255, 5, 11, 17, 255]);
});
