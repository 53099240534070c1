import assert from "node:assert/strict";
import { test } from "node:test";
import { newestStep } from "../../cnncli/report/assets/report/steps.js";

test("the newest frame that is not later than a step", () => {
  const frames = { 0: 0, 4: 1, 12: 2, 100: 3 };
  assert.equal(newestStep(frames, 12), 12);
  assert.equal(newestStep(frames, 11), 4);
  assert.equal(newestStep(frames, 1000), 100, "compared as numbers, not as text");
  assert.equal(newestStep({ 4: 0 }, 3), null);
});
