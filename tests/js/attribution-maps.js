// For tests in Python: `node attribution-maps.js CASES` reads networks with edits, images and labels as JSON, and
// prints the logits, the maps of all methods, the accuracy and the multiply-accumulates as JSON.

import { readFileSync } from "node:fs";
import { ATTRIBUTION_METHODS, attributionTask } from "../../cnncli/report/assets/engine/attribution.js";
import { Network } from "../../cnncli/report/assets/engine/network.js";
import { TASKS } from "../../cnncli/report/assets/engine/tasks.js";
import { macsOf } from "../../cnncli/report/assets/play/cost.js";

const report = async () => {};
const results = [];
for (const { model, weights, edits, images, labels, target } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const network = new Network(model, Float32Array.from(weights)).withEdits(edits);
  const pixels = Uint8Array.from(images[0]);
  const maps = {};
  for (const method of ATTRIBUTION_METHODS) {
    const { map, ...facts } = await attributionTask(network, { pixels, target, method }, report);
    maps[method] = { map: Array.from(map), ...facts };
  }
  const every = { images: Uint8Array.from(images.flat()), labels };
  results.push({
    maps,
    macs: macsOf(model),
    logits: images.map((each) => Array.from(network.run(Uint8Array.from(each)).logits)),
    logitsTask: Array.from(await TASKS.logits(network, { pixels }, report)),
    accuracy: await TASKS.accuracy(network, every, report),
  });
}
console.log(JSON.stringify(results));
