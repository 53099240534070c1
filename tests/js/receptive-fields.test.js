import assert from "node:assert/strict";
import { test } from "node:test";
import {
  hasGaps,
  ReceptiveFields,
  shareOutside,
  withPadding,
} from "../../cnncli/report/assets/shared/receptive-fields.js";

// A 1x3 convolution with dilation 2 and padding 2 along columns, of an input of 2x5, then a fully connected layer.
const NETWORK = {
  input: [1, 2, 5],
  layers: [
    { name: "conv1", inputs: ["input"], shape: [1, 2, 5], unknown: null },
    { name: "linear1", inputs: ["conv1"], shape: [10], unknown: null },
  ],
  axes: [
    {
      runs: [
        [0, 0],
        [1, 1],
      ],
      closed_form: { patterns: [[0, 0]], step: 1 },
    },
    {
      runs: [
        [0, 0, 2, 2],
        [1, 1, 3, 3],
        [0, 0, 2, 2, 4, 4],
        [1, 1, 3, 3],
        [2, 2, 4, 4],
      ],
      closed_form: { patterns: [[-2, 2]], step: 1 },
    },
    { runs: [[0, 1]], closed_form: null },
    { runs: [[0, 4]], closed_form: null },
  ],
  receptive_fields: { conv1: { input: [0, 1] }, linear1: { input: [2, 3], conv1: [2, 3] } },
};
const fields = new ReceptiveFields(NETWORK);

test("the receptive field of a unit, with gaps and padding", () => {
  const region = fields.receptiveField("conv1", [1, 0], "input");
  assert.deepEqual(region, {
    rows: [1, 1],
    columns: [0, 0, 2, 2],
    padded: [
      [1, 1],
      [-2, 2],
    ],
  });
  assert.ok(hasGaps(region));
});

test("a layer without positions depends on everything, as one", () => {
  const region = fields.receptiveField("linear1", [0, 0], "conv1");
  assert.deepEqual(region, { rows: [0, 1], columns: [0, 4], padded: null });
  assert.ok(!hasGaps(region));
});

test("no unit depends on a later layer", () => assert.equal(fields.receptiveField("conv1", [0, 0], "linear1"), null));

test("dependent units are those whose receptive field has the pixel", () => {
  assert.deepEqual(fields.dependentUnits("conv1", "input", [0, 2]), {
    rows: [0, 0],
    columns: [0, 0, 2, 2, 4, 4],
    padded: null,
  });
  assert.deepEqual(fields.dependentUnits("conv1", "input", [1, 1]), {
    rows: [1, 1],
    columns: [1, 1, 3, 3],
    padded: null,
  });
});

test("the closed form of patterns that alternate", () => {
  const axis = { closed_form: { patterns: [[-1, 1], [0, 3], null], step: 4 } };
  assert.deepEqual(
    [0, 1, 3, 4].map((unit) => withPadding(axis, unit)),
    [
      [-1, 1],
      [0, 3],
      [3, 5],
      [4, 7],
    ],
  );
  assert.equal(withPadding(axis, 2), null);
  assert.equal(withPadding({ closed_form: null }, 0), null);
});

test("the share of a rectangle outside an image", () => {
  assert.equal(
    shareOutside(
      [
        [-2, 1],
        [0, 3],
      ],
      [28, 28],
    ),
    0.5,
  );
  assert.equal(
    shareOutside(
      [
        [26, 29],
        [0, 3],
      ],
      [28, 28],
    ),
    0.5,
    "past the last row",
  );
  assert.equal(
    shareOutside(
      [
        [0, 27],
        [0, 27],
      ],
      [28, 28],
    ),
    0,
  );
});
