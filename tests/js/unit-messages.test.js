import assert from "node:assert/strict";
import { test } from "node:test";
import { UNIT_MESSAGES } from "../../cnncli/report/assets/play/unit-messages.js";

test("the texts about a unit have the same keys and values in both languages", () => {
  const { en, zh } = UNIT_MESSAGES;
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  const values = (text) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();
  for (const [key, text] of Object.entries(en)) assert.deepEqual(values(zh[key]), values(text), key);
});
