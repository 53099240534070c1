import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeBytes, formatCount, formatNumber, formatPercent } from "../../cnncli/report/assets/shared/numbers.js";

test("bytes", () => assert.deepEqual([...decodeBytes("AAH/")], [0, 1, 255]));

test("numbers as text", () => {
  assert.equal(formatNumber(0.12345), "0.123");
  assert.equal(formatNumber(-1234.5), "-1230");
  assert.equal(formatNumber(0.30000000000000004), "0.3");
  assert.equal(formatNumber(null), "not finite");
  assert.equal(formatNumber(NaN), "not finite");
  assert.equal(formatNumber(Infinity), "Infinity");
  assert.equal(formatPercent(0.98765), "98.8 %");
  assert.equal(formatPercent(0.98765, 2), "98.77 %");
  assert.equal(formatPercent(0.99996, 2), "> 99.99 %");
  assert.equal(formatPercent(0.996, 0), "> 99 %");
  assert.equal(formatPercent(1, 2), "100.00 %");
  assert.deepEqual([0, 999, 1000, 1234567, -12345].map(formatCount), ["0", "999", "1,000", "1,234,567", "-12,345"]);
});
