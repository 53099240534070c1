import assert from "node:assert/strict";
import test from "node:test";
import { shorten } from "../../cnncli/report/assets/shared/text.js";

test("names are shortened in the middle, so that their ends tell them apart", () => {
  assert.equal(shorten("dog", 5), "dog");
  assert.equal(shorten("woodpecker", 10), "woodpecker");
  assert.equal(shorten("woodpecker", 9), "wood…cker");
  assert.equal(shorten("golden retriever 12", 9), "gold…r 12");
  assert.equal(shorten("golden retriever 12", 10), "golde…r 12");
  assert.equal(shorten("cat in a box", 6), "cat…ox");
  assert.equal(shorten("😀😀😀😀", 3), "😀…😀");
});

test("wide letters count twice", () => {
  assert.equal(shorten("猫头鹰", 6), "猫头鹰");
  assert.equal(shorten("猫头鹰 03", 6), "猫…03");
  assert.equal(shorten("一二三四五六", 7), "一二…六");
});
