import assert from "node:assert/strict";
import { test } from "node:test";

import { enlarged } from "../../cnncli/report/assets/shared/print.js";

test("each pixel becomes a square of equal pixels", () => {
  const [red, green, blue] = [0xff0000ff, 0xff00ff00, 0xffff0000];
  const image = { width: 3, height: 1, data: new Uint8ClampedArray(Uint32Array.of(red, green, blue).buffer) };
  const row = [red, red, green, green, blue, blue];
  assert.deepEqual([...enlarged(image, 2)], [...row, ...row]);
});
