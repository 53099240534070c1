import assert from "node:assert/strict";
import { test } from "node:test";
import { decimalsOf, fixedNumber, operandText, shellQuoted } from "../../cnncli/report/assets/play/unit-numbers.js";

test("numbers with fixed decimals; ties to the even digit", () => {
  assert.equal(fixedNumber(1.25, 1), "1.2");
  assert.equal(fixedNumber(1.75, 1), "1.8");
  assert.equal(fixedNumber(-0.5, 0), "0");
  assert.equal(fixedNumber(-1.5, 0), "-2");
  assert.equal(fixedNumber(2.5, 0), "2");
  assert.equal(fixedNumber(0.03125, 4), "0.0312");
  assert.equal(fixedNumber(0.15, 1), "0.1", "0.15 is a little less than a tie");
  assert.equal(fixedNumber(0.35, 1), "0.3");
  assert.equal(fixedNumber(-0.00001, 4), "0.0000");
  assert.equal(fixedNumber(12345.678, 0), "12346");
  assert.equal(fixedNumber(Number.NaN, 2), "NaN");
});

test("about five digits of the largest number", () => {
  const unit = (value, ...products) => ({ stages: [{ value }], terms: products.map((product) => ({ product })) });
  assert.equal(decimalsOf(unit(0.5), 0.5), 4);
  assert.equal(decimalsOf(unit(0.5, 12.3), 0.5), 3);
  assert.equal(decimalsOf(unit(0.5, -1234), 0.5), 1);
  assert.equal(decimalsOf(unit(1e7), 1e7), 0);
  assert.equal(decimalsOf(unit(0.12344), 0.12346), 3, "two numbers that round differently with four decimals");
  assert.equal(decimalsOf(unit(0.5), 0.6), 4, "a real difference");
});

test("negative operands are in parentheses", () => {
  assert.equal(operandText("-0.5"), "(-0.5)");
  assert.equal(operandText("0.5"), "0.5");
});

test("paths in a shell command", () => {
  assert.equal(shellQuoted("runs/lenet5-20260131"), "runs/lenet5-20260131");
  assert.equal(shellQuoted("my runs/it's"), `'my runs/it'"'"'s'`);
});
