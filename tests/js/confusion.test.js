import assert from "node:assert/strict";
import { test } from "node:test";
import { describeImages } from "../../cnncli/report/assets/report/confusion.js";

test("fewer images than the cell counts", () => {
  assert.equal(describeImages(12, 30, false), "12 of 30 images, most confident first");
  assert.equal(describeImages(12, 1034, true), "12 of 1,034 images, least confident first");
  assert.equal(describeImages(11, 12, true), "11 of 12 images, least confident first");
});

test("all images of a cell", () => {
  assert.equal(describeImages(12, 12, false), "12 images, most confident first");
  assert.equal(describeImages(1, 1, true), "1 image, least confident first");
});

test("no images of a cell", () => {
  assert.equal(describeImages(0, 7, true), "7 images, none of them included in this page");
});
