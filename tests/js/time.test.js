import assert from "node:assert/strict";
import test from "node:test";

import { balancedColumns, columnOf, constantFrom, keptStep } from "../../cnncli/report/assets/play/time.js";

test("the weights of a step are those kept last before it", () => {
  const steps = [0, 1, 4, 16].map((step) => ({ step }));
  assert.deepEqual(
    [0, 1, 2, 3, 4, 15, 16, 99].map((step) => keptStep(steps, step)),
    [0, 1, 1, 1, 4, 4, 16, 16],
  );
  assert.equal(keptStep([{ step: 5 }], 2), 5);
});

test("steps between two kept ones are spread evenly", () => {
  const steps = [0, 1, 4, 16];
  assert.deepEqual(
    [0, 1, 2.5, 4, 10, 16, 40].map((step) => columnOf(steps, step)),
    [0, 1, 1.5, 2, 2.5, 3, 3],
  );
});

test("from when on the answer stays", () => {
  assert.equal(constantFrom([3, 7, 3, 7, 7]), 3);
  assert.equal(constantFrom([7, 7]), 0);
  assert.equal(constantFrom([7, 7, 1]), 2);
});

test("no row of the strip is much shorter than the others", () => {
  for (let count = 1; count <= 40; count += 1) {
    for (let most = 1; most <= 20; most += 1) {
      const columns = balancedColumns(count, most);
      const rows = Math.ceil(count / columns);
      assert.ok(columns <= most, "they fit");
      assert.equal(rows, Math.ceil(count / most), "there are no more rows than needed");
      assert.ok(rows * columns - count < rows, `${count} in ${columns} columns: at most one is missing in each row`);
    }
  }
  assert.equal(balancedColumns(10, 0), 1); // before there is any room
});
