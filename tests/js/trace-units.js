// For tests in Python: the traces of units. Reads cases as JSON from the standard input and prints their traces, each
// with `engine`, the number that the engine computes.

import { readFileSync } from "node:fs";
import { Network } from "../../cnncli/report/assets/engine/network.js";
import { numberAt, unitTrace } from "../../cnncli/report/assets/engine/unit.js";

const traces = JSON.parse(readFileSync(0)).map(({ model, weights, layer, units, values, input }) => {
  const network = new Network(model, Float32Array.from(weights));
  const outputs = new Map(Object.entries(values).map(([name, each]) => [name, Float32Array.from(each)]));
  const image = Float32Array.from(input);
  const { values: computed } = network.runInput(image);
  return units.map((index) => ({
    ...unitTrace(network, layer, index, outputs, image),
    engine: numberAt({ shape: network.shapeOf(layer), values: computed.get(layer) }, index),
  }));
});
process.stdout.write(JSON.stringify(traces, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value)));
