import assert from "node:assert/strict";
import test from "node:test";
import { formatLink, parseLink, unitOfLink } from "../../cnncli/report/assets/play/link.js";

const FIELDS = {
  shapes: new Map([
    ["conv2", [16, 10, 8]],
    ["linear1", [24]],
  ]),
};

test("a link and its text", () => {
  const link = { layer: "block1.conv2", filter: 3, at: [5, 7], step: 844, image: 12, model: 1, part: "unit" };
  const text = "layer=block1.conv2&filter=3&at=5,7&step=844&image=12&model=1&part=unit";
  assert.equal(formatLink(link), text);
  assert.deepEqual(parseLink(`#${text}`), link);
  assert.deepEqual(parseLink(""), {});
});

test("a layer with a strange name", () => {
  const link = { layer: "a&b=c 50%" };
  assert.deepEqual(parseLink(`#${formatLink(link)}`), link);
});

test("what is not a number is ignored", () => {
  assert.deepEqual(parseLink("#filter=x&at=5&step=-1&image=1e3&layer="), {});
});

test("the unit of a link stays inside the layer", () => {
  assert.deepEqual(unitOfLink({ layer: "conv2", filter: 99, at: [99, 2] }, FIELDS), {
    layer: "conv2",
    channel: 15,
    row: 9,
    column: 2,
  });
  assert.deepEqual(unitOfLink({ layer: "conv2" }, FIELDS), { layer: "conv2", channel: 0, row: 5, column: 4 });
  assert.deepEqual(unitOfLink({ layer: "linear1", filter: 5, at: [1, 1] }, FIELDS), {
    layer: "linear1",
    channel: 5,
    row: null,
    column: null,
  });
  assert.equal(unitOfLink({ layer: "conv9" }, FIELDS), null);
  assert.equal(unitOfLink({}, FIELDS), null);
});
