// The steps of the built-in tour, made for a network. No DOM in it.

import { bounds } from "../shared/receptive-fields.js";
import { formatLink } from "./link.js";

const CONVOLUTION = "convolution";
const POOLS = {
  max_pool: "poolMax",
  adaptive_max_pool: "poolMax",
  avg_pool: "poolMean",
  adaptive_avg_pool: "poolMean",
};

/** The operation that a layer is named for: its first. */
const mainOperation = (layer) => layer.operations[0];

const isPool = (layer) => (mainOperation(layer)?.name ?? "") in POOLS && layer.shape.length === 3;

/** Channels that one kernel of a convolution reads. */
function depthOf(model, layer) {
  return model.tensors[mainOperation(layer).tensors.weight].shape[1];
}

const formatKernel = (layer) => mainOperation(layer).kernel_size.join("x");

const center = ([, height, width]) => [height >> 1, width >> 1];

/** The size of the receptive field of a unit in the input, [rows, columns], or null if it is not known. */
function fieldSize(receptiveFields, layer, unit) {
  const region = receptiveFields.receptiveField(layer, unit, "input");
  return region && bounds(region).map(([first, last]) => last - first + 1);
}

/**
 * The steps for a network: [{key, values, link}], `key` of the text in TOUR_MESSAGES.
 *
 * A step about a layer that the network lacks is left out.
 *
 * @param model of the page's data, with its `model`, `steps` and `prediction` of the mistake.
 * @param receptiveFields of the same network.
 * @param images of the page's data; `mistake`, if there is one, is {number, label, predicted}.
 */
export function tourSteps({ model, steps }, receptiveFields, { first = null, mistake = null }) {
  const [channels, height, width] = model.input;
  const convolutions = model.layers.filter((layer) => mainOperation(layer)?.name === CONVOLUTION);
  const [conv] = convolutions;
  const later = convolutions.find((layer) => layer !== conv && depthOf(model, layer) > 1);
  const pool = model.layers.find(isPool);
  const logits = model.layers.at(-1);
  const tour = [{ key: "image", values: { height, width, channels }, link: { part: "input", image: first } }];
  if (conv) {
    const at = center(conv.shape);
    const values = { layer: conv.name, kernel: formatKernel(conv), count: conv.shape[0] };
    tour.push({ key: "slide", values, link: { layer: conv.name, filter: 0, at, part: "unit" } });
    tour.push({ key: "maps", values, link: { layer: conv.name, filter: 0, at, part: "network" } });
  }
  if (later) {
    const kernel = formatKernel(later);
    const values = { layer: later.name, kernel, depth: depthOf(model, later), count: later.shape[0] };
    const link = { layer: later.name, filter: 0, at: center(later.shape), part: "unit" };
    tour.push({ key: kernel === "1x1" ? "sumsOne" : "sums", title: "sums", values, link });
  }
  if (pool) {
    const key = POOLS[mainOperation(pool).name];
    const link = { layer: pool.name, filter: 0, at: center(pool.shape), part: "unit" };
    tour.push({ key, title: "pool", values: { layer: pool.name, count: pool.shape[0] }, link });
  }
  const field = growingField(model, receptiveFields, conv);
  if (field) tour.push(field);
  tour.push({ key: "logits", values: { layer: logits.name, classes: logits.shape[0] }, link: { part: "answer" } });
  if (steps.length) tour.push({ key: "began", values: {}, link: { part: "time", image: first, step: steps[0].step } });
  else if (mistake) {
    const { label, predicted, number } = mistake;
    tour.push({ key: "mistake", values: { label, predicted }, link: { part: "attribution", image: number } });
  } else if (conv) tour.push({ key: "whatIf", values: { layer: conv.name }, link: { part: "what-if" } });
  return tour.map((step) => ({ title: step.key, ...step, link: formatLink(step.link) }));
}

/** The step about receptive fields: at a unit whose receptive field is larger than every kernel before it. */
function growingField(model, receptiveFields, conv) {
  if (!conv) return null;
  const inner = model.layers.filter(({ shape }) => shape.length === 3 && Math.min(shape[1], shape[2]) > 1);
  const layer = inner.at(-1);
  if (!layer || layer === conv) return null;
  const at = center(layer.shape);
  const size = fieldSize(receptiveFields, layer.name, at);
  if (!size) return null;
  const sides = model.layers.flatMap((each) => mainOperation(each)?.kernel_size ?? []);
  const largest = Math.max(...sides);
  if (Math.max(...size) <= largest) return null;
  return {
    key: "field",
    values: { layer: layer.name, rows: size[0], columns: size[1], kernel: `${largest}x${largest}` },
    link: { layer: layer.name, filter: 0, at, part: "network" },
  };
}
