// The texts of every part of the playground: both languages have the same ones, with the same values in them.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";

const folder = new URL("../../cnncli/report/assets/play/", import.meta.url);
const valuesIn = (text) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

for (const file of readdirSync(folder).filter((name) => name.endsWith("-messages.js")))
  test(file, async () => {
    for (const { en, zh } of Object.values(await import(new URL(file, folder)))) {
      assert.deepEqual(Object.keys(zh), Object.keys(en));
      for (const key of Object.keys(en))
        assert.deepEqual([...new Set(valuesIn(zh[key]))], [...new Set(valuesIn(en[key]))], key);
    }
  });
