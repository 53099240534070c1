/**
 * What tests in Python compare with torch: for each case and each of its inputs the values of every layer, then those
 * after each operation of the last layer, then, where there are seeds, the gradient of the sum of `seeds` times the
 * values of the last layer. It imports nothing, so that a test can also run it in a page.
 *
 * @param Network the engine's class.
 * @param cases [{model, weights, inputs, seeds, edits}], with [start, count] for the numbers of an array.
 * @param numbers Float64Array.
 * @returns Float64Array, all results one after another.
 */
export function runCases(Network, cases, numbers) {
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
  const all = new Float64Array(results.reduce((sum, { length }) => sum + length, 0));
  let position = 0;
  for (const each of results) {
    all.set(each, position);
    position += each.length;
  }
  return all;
}
