// Runs networks for tests in Python: `node run-networks.js FOLDER` reads cases.json and numbers.f64, and writes
// results.f64: for each case and each of its inputs the values of every layer, then those after each operation of the
// last layer, then the gradient of the sum of `seeds` times the values of the last layer, where there are seeds.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Network } from "../../cnncli/report/assets/engine/network.js";

const folder = process.argv[2];
const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
const bytes = readFileSync(join(folder, "numbers.f64"));
const numbers = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const take = ([start, count]) => numbers.subarray(start, start + count);

const results = [];
for (const { model, weights, inputs, seeds, edits } of cases) {
  const network = new Network(model, Float32Array.from(take(weights))).withEdits(edits);
  inputs.forEach((each, i) => {
    const input = Float32Array.from(take(each));
    const { values } = network.runInput(input);
    results.push(...values.values(), ...network.intermediates(network.last, values, input));
    if (seeds.length) results.push(network.gradient(input, () => take(seeds[i])));
  });
}
writeFileSync(
  join(folder, "results.f64"),
  Buffer.concat(results.map((each) => Buffer.from(Float64Array.from(each).buffer))),
);
