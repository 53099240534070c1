// The frame of the playground: state, texts, the verdict of the comparison, layouts of tiles.

import assert from "node:assert/strict";
import test from "node:test";
import { joinsOf, layersOf, visibleLayers } from "../../cnncli/report/assets/play/arrangement.js";
import { barOf } from "../../cnncli/report/assets/play/logits.js";
import { badgeOf } from "../../cnncli/report/assets/play/play-header.js";
import { State } from "../../cnncli/report/assets/play/state.js";
import { tileLayout } from "../../cnncli/report/assets/play/tile-sheet.js";
import { translator } from "../../cnncli/report/assets/play/translate.js";
import { colorMap, Palettes, rangeOf } from "../../cnncli/report/assets/shared/palette.js";

test("a change of the state is one event with the names that changed", () => {
  const state = new State({ unit: null, step: 1, edits: [] });
  const seen = [];
  state.on(["unit", "step"], (keys) => seen.push([...keys].sort()));
  state.set({ unit: { layer: "conv1" }, step: 2 });
  state.set({ step: 2 });
  state.set({ edits: [1] });
  assert.deepEqual(seen, [["step", "unit"]]);
  assert.throws(() => state.set({ nothing: 1 }), /no state nothing/);
});

test("listeners of parts end with them, permanent ones stay", () => {
  const state = new State({ step: 1 });
  const seen = [];
  state.on(["step"], () => seen.push("part"));
  state.on(["step"], () => seen.push("page"), { permanent: true });
  const { signal } = state;
  state.removeParts();
  state.set({ step: 2 });
  assert.deepEqual(seen, ["page"]);
  assert.equal(signal.aborted, true);
  state.on(["step"], () => seen.push("new part"));
  state.set({ step: 3 });
  assert.deepEqual(seen, ["page", "page", "new part"]);
});

test("texts in two languages", () => {
  const messages = { en: { a: "{x} of {y}", b: "only here" }, zh: { a: "{y} 中的 {x}" } };
  assert.equal(translator("en")(messages)("a", { x: 1, y: 2 }), "1 of 2");
  assert.equal(translator("zh")(messages)("a", { x: 1, y: 2 }), "2 中的 1");
  assert.equal(translator("zh")(messages)("b"), "only here");
  assert.equal(translator("en")(messages)("a", { x: 1 }), "1 of {y}");
  assert.equal(translator("zh")(messages)("colon"), "：");
  assert.throws(() => translator("en")(messages)("c"), /no text c/);
});

test("the badge", () => {
  const t = (key, values) => `${key} ${JSON.stringify(values ?? {})}`;
  const found = { count: 100, close: 100, relative: 2e-6, tolerance: 1e-5 };
  assert.equal(badgeOf(null, "test", t).kind, "pending");
  assert.equal(badgeOf(found, "test", t).text, 'checked {"same":100,"count":100,"tolerance":"1e-5"}');
  assert.equal(badgeOf(found, "random", t).text, 'checkedRandom {"same":100,"count":100,"tolerance":"1e-5"}');
  const worse = { ...found, close: 97, relative: 3e-5 };
  assert.equal(badgeOf(worse, "test", t).text, 'checked {"same":100,"count":100,"tolerance":"1e-4"}');
  for (const relative of [1.1e-4, Number.POSITIVE_INFINITY]) {
    const bad = badgeOf({ ...worse, relative }, "test", t);
    assert.equal(bad.kind, "bad");
    assert.match(bad.text, /^checkFailed \{"same":97/);
  }
  assert.equal(badgeOf({ error: "no" }, "test", t).kind, "bad");
});

test("bars start at zero", () => {
  assert.deepEqual(barOf(5, -5, 5), { left: 50, width: 50 });
  assert.deepEqual(barOf(-5, -5, 15), { left: 0, width: 25 });
  assert.deepEqual(barOf(0, 0, 0), { left: 0, width: 0 });
  assert.deepEqual(barOf(Number.NaN, -1, 1), { left: 0, width: 0 });
});

test("an arrangement folded and unfolded", () => {
  const inner = { paths: [["b.c1"], []], join: "b.add" };
  const items = ["conv1", { paths: [["a.c1", inner], ["a.c2"]], join: "a.add" }, "logits"];
  assert.deepEqual(layersOf(items), ["conv1", "a.c1", "b.c1", "b.add", "a.c2", "a.add", "logits"]);
  assert.deepEqual(joinsOf(items), ["a.add", "b.add"]);
  assert.deepEqual(visibleLayers(items, new Set(["a.add"])), ["conv1", "a.add", "logits"]);
  assert.deepEqual(visibleLayers(items, new Set(["b.add"])), ["conv1", "a.c1", "b.add", "a.c2", "a.add", "logits"]);
});

test("tiles have room for all channels and features", () => {
  for (const shape of [
    [1, 28, 28],
    [6, 28, 28],
    [17, 5, 9],
    [512, 4, 4],
    [64, 112, 112],
    [3, 1, 1],
  ]) {
    const { columns, rows, channels, width, height, gap, unitsAcross, unitsDown, cell } = tileLayout(shape);
    assert.equal(channels, shape[0]);
    assert.ok(columns * rows >= channels);
    assert.ok((rows - 1) * columns < channels);
    assert.equal(unitsAcross, columns * (width + gap) + gap);
    assert.equal(unitsDown, rows * (height + gap) + gap);
    assert.ok(unitsAcross * cell < 520, `${shape}: ${unitsAcross * cell} px`);
  }
  const vector = tileLayout([84]);
  assert.ok(vector.width * vector.height >= 84);
});

test("values as colors: the same as between the anchors, NaN in its own color", () => {
  const diverging = [
    [-1, [0, 0, 200]],
    [0, [200, 200, 200]],
    [1, [200, 0, 0]],
  ];
  const sequential = [
    [0, [0, 0, 0]],
    [1, [255, 255, 255]],
  ];
  const palettes = new Palettes({ diverging, sequential, not_finite: [255, 0, 255] });
  const values = new Float32Array([-2, 0, 2, 1, Number.NaN, Number.POSITIVE_INFINITY]);
  const range = rangeOf(values);
  assert.deepEqual(range, { low: -2, high: 2, signed: true });
  const pixels = new Uint32Array(6);
  colorMap(pixels, 0, 3, values, 0, 2, 3, range, palettes);
  const bytes = new Uint8Array(pixels.buffer);
  const colors = Array.from({ length: 6 }, (_, i) => [...bytes.subarray(4 * i, 4 * i + 3)]);
  assert.deepEqual(colors[0], [0, 0, 200]);
  assert.deepEqual(colors[2], [200, 0, 0]);
  assert.ok(colors[1].every((level, i) => Math.abs(level - diverging[1][1][i]) <= 1));
  assert.ok(colors[3].every((level, i) => Math.abs(level - [200, 100, 100][i]) <= 1));
  assert.deepEqual(colors[4], [255, 0, 255]);
  assert.deepEqual(colors[5], [255, 0, 255]);
  assert.deepEqual(rangeOf(new Float32Array([0, 3, 1])), { low: 0, high: 3, signed: false });
});
