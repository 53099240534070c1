// For tests in Python: `node receptive-field-masks.js FOLDER` reads network.json, with `network` as `report.network`
// describes it, `model` of the engine, and `pairs` of [layer, source]. It writes masks.u1: for each pair and each unit
// of the layer (position, or feature) one byte for every row of the source and one for every column, 1 if it is in the
// unit's receptive field; then, for each position of the source, one for every row and column of the layer, 1 if the
// units there depend on it.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unitBeforeFlatten } from "../../cnncli/report/assets/engine/channels.js";
import { Network } from "../../cnncli/report/assets/engine/network.js";
import { ReceptiveFields } from "../../cnncli/report/assets/shared/receptive-fields.js";

const folder = process.argv[2];
const { network, model, weights, pairs } = JSON.parse(readFileSync(join(folder, "network.json"), "utf8"));
const fields = new ReceptiveFields(network);
const engine = new Network(model, new Float32Array(weights));
const parts = [];

/** Rows and columns of a layer; one of each without positions. */
const sides = (shape) => (shape.length === 3 ? shape.slice(1) : [1, 1]);

function* positions([height, width]) {
  for (let row = 0; row < height; row += 1) for (let column = 0; column < width; column += 1) yield [row, column];
}

/** One byte for each of `count` positions: 1 if it is in runs [first, last, first, last, ...]. */
function mask(runs, count) {
  const bytes = new Uint8Array(count);
  for (let i = 0; i < runs.length; i += 2) bytes.fill(1, runs[i], runs[i + 1] + 1);
  return bytes;
}

function add(region, [height, width]) {
  parts.push(mask(region?.rows ?? [], height), mask(region?.columns ?? [], width));
}

/** The receptive field of a feature: as the page does, that of the unit it was before `flatten`. */
function ofFeature(layer, feature, source) {
  const same = unitBeforeFlatten(engine, layer, feature);
  if (!same) return fields.receptiveField(layer, [0, 0], source);
  const { row, column } = same;
  if (same.layer === source) return { rows: [row, row], columns: [column, column] };
  return fields.receptiveField(same.layer, [row, column], source);
}

for (const [layer, source] of pairs) {
  const [shape, on] = [fields.shapes.get(layer), sides(fields.shapes.get(source))];
  if (shape.length === 3) {
    for (const unit of positions(sides(shape))) add(fields.receptiveField(layer, unit, source), on);
  } else {
    for (let feature = 0; feature < shape[0]; feature += 1) add(ofFeature(layer, feature, source), on);
  }
  for (const position of positions(on)) add(fields.dependentUnits(layer, source, position), sides(shape));
}
writeFileSync(join(folder, "masks.u1"), Buffer.concat(parts));
