import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeBytes,
  decodeFloat16,
  formatCount,
  formatNumber,
  formatPercent,
} from "../../cnncli/report/assets/shared/numbers.js";

/** Bit patterns of half precision as base64. */
const encode = (...bits) => Buffer.from(Uint16Array.from(bits).buffer).toString("base64");

test("half-precision numbers", () => {
  // From the table of examples in Wikipedia's article on the format.
  const patterns = [0x0000, 0x3c00, 0xc000, 0x3555, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x7c00, 0xfc00];
  const expected = [0, 1, -2, 0.333251953125, 65504, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, Infinity, -Infinity];
  assert.deepEqual([...decodeFloat16(encode(...patterns))], expected);
  assert.ok(Number.isNaN(decodeFloat16(encode(0x7e00))[0]));
  assert.equal(decodeFloat16("").length, 0);
});

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
  assert.equal(formatCount(1234567), "1,234,567");
});
