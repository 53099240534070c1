// Kernels and feature maps at a step of the training, drawn from the weights of that step.

import { Network } from "../engine/network.js";
import { kernelOf, kernelTensor } from "../play/edits.js";
import { h, scrollable } from "../shared/dom.js";
import { formatCount, formatNumber } from "../shared/numbers.js";
import { colorBar, colorMap, Palettes, rangeOf } from "../shared/palette.js";
import { StepControl } from "./step-control.js";

const WIDTH = 330; // px of a picture, unless a single filter is wider: fits a phone
const CELLS = [10, 8, 6, 5, 4, 3, 2];

/**
 * Where the slices of filters are in a picture, in cells: each filter is a row of slices, and as many filters as fit
 * stand side by side. Slices of one cell touch.
 *
 * @returns {cell, width, height, at}: px of a cell, size of the picture, and at(filter, slice), [column, row].
 */
export function slicePlaces({ filters, depth, height, width }) {
  const gap = height * width > 1 ? 1 : 0;
  const between = depth > 1 ? gap + 2 : gap;
  const filterWidth = depth * (width + gap) - gap;
  const cell = CELLS.find((each) => each * filterWidth <= WIDTH && each * height <= WIDTH / 4) ?? CELLS.at(-1);
  const fitting = Math.floor((WIDTH / cell + between) / (filterWidth + between));
  const lines = Math.ceil(filters / Math.max(1, fitting));
  const perLine = Math.ceil(filters / lines);
  const down = depth > 1 && perLine === 1 ? gap : between;
  return {
    cell,
    width: perLine * (filterWidth + between) - between,
    height: lines * (height + down) - down,
    at: (filter, slice) => [
      (filter % perLine) * (filterWidth + between) + slice * (width + gap),
      Math.floor(filter / perLine) * (height + down),
    ],
  };
}

/** Filters of slices, or maps as filters of one slice, on one color scale with its limits. */
class SlicePicture {
  /** @param shape {filters, depth, height, width}. */
  constructor(layer, about, shape, palettes) {
    Object.assign(this, { layer, shape, palettes, places: slicePlaces(shape) });
    const { width, height, cell } = this.places;
    this.canvas = h("canvas", { width, height, role: "img", "data-layer": layer });
    this.canvas.style.width = `${width * cell}px`;
    this.limits = h("p", { class: "limits" });
    const caption = h("figcaption", {}, h("b", {}, layer), ` ${about}`);
    this.element = h(
      "figure",
      { class: "slices" },
      caption,
      scrollable(`${about} of ${layer}`, this.canvas),
      this.limits,
    );
  }

  /**
   * @param values of all filters, one after another.
   * @param range of the scale, see `rangeOf`.
   * @param name what is shown, for readers who do not see it.
   */
  show(values, range, name) {
    const { filters, depth, height, width } = this.shape;
    const image = new ImageData(this.places.width, this.places.height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < filters * depth; i += 1) {
      const [column, row] = this.places.at(Math.floor(i / depth), i % depth);
      const offset = row * image.width + column;
      colorMap(pixels, offset, image.width, values, i * height * width, height, width, range, this.palettes);
    }
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    const limits = [formatNumber(range.low), formatNumber(range.high)];
    const finite = values.every(Number.isFinite) ? "" : ", some not finite";
    const { low, high } = extremes(values);
    this.canvas.setAttribute(
      "aria-label",
      `${name}: values from ${formatNumber(low)} to ${formatNumber(high)}${finite}`,
    );
    this.limits.replaceChildren(`${limits[0]} `, colorBar(this.palettes, range.signed), ` ${limits[1]}${finite}`);
  }
}

/** The smallest and the largest finite value; 0 where there is none. */
function extremes(values) {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low > high ? { low: 0, high: 0 } : { low, high };
}

/** All kernels of a layer, one filter after another: {values, filters, depth, height, width}. */
function kernelsOf(network, layer) {
  const tensor = kernelTensor(network.model, layer);
  const filters = network.shapeOf(layer)[0];
  const kernels = Array.from({ length: filters }, (_, channel) => kernelOf(network, tensor, channel));
  const { depth, height, width } = kernels[0];
  return { values: Float32Array.from(kernels.flatMap(({ values }) => values)), filters, depth, height, width };
}

const symmetric = (limit) => ({ low: -limit, high: limit, signed: true });

const count = (number, word) => `${formatCount(number)} ${word}${number === 1 ? "" : "s"}`;

/** The first image of each class, as options of a choice: [{position, text}]. */
export function firstImages({ labels, numbers }, classes) {
  const positions = classes.map((_, label) => labels.indexOf(label));
  return positions
    .map((position, label) => ({ position, text: `${classes[label]} (test image ${numbers[position]})` }))
    .filter(({ position }) => position >= 0);
}

export class ComputedSteps {
  /** @param pool the images of the page, decoded. */
  constructor({ history, model, images, classes, colors, metrics }, arrays, pool) {
    Object.assign(this, { history, pool });
    const palettes = new Palettes(colors);
    const all = arrays.get("weights/0").length;
    this.networks = new Map(
      history.steps.map((step) => {
        const weights = new Float32Array(all); // the page lacks those that no picture needs
        weights.set(arrays.get(`history/0/${step}`));
        return [step, new Network(model, weights)];
      }),
    );
    const layers = model.layers.filter(({ name }) => history.layers.includes(name));
    this.kernels = layers.filter((layer) => layer.has_kernels).map(({ name }) => this.kernelPicture(name, palettes));
    this.maps = layers.map(({ name, shape: [filters, height, width] }) => {
      const about = `${count(filters, "map")} of ${height}x${width}`;
      return new SlicePicture(name, about, { filters, depth: 1, height, width }, palettes);
    });
    this.control = new StepControl(history.steps, metrics, (step, text) => this.show(step, text));
    const options = firstImages(images, classes).map(({ position, text }) => h("option", { value: position }, text));
    this.choice = h("select", { id: "probe", onchange: () => this.control.show() }, options);
    this.kernelsAt = h("p", { class: "readout" });
    this.mapsAt = h("p", { class: "readout" });
    const pictures = (each) =>
      h(
        "div",
        { class: "slice-pictures" },
        each.map(({ element }) => element),
      );
    this.element = h(
      "div",
      {},
      this.control.element,
      this.kernels.length ? [h("h3", {}, "Kernels"), this.kernelsAt, pictures(this.kernels)] : null,
      h("h3", {}, "Feature maps"),
      h("p", { class: "control" }, h("label", { for: "probe" }, "Test image"), this.choice),
      this.mapsAt,
      pictures(this.maps),
    );
    this.control.show();
  }

  kernelPicture(layer, palettes) {
    const steps = new Map(Array.from(this.networks, ([step, network]) => [step, kernelsOf(network, layer)]));
    const shape = steps.values().next().value;
    const { filters, depth, height, width } = shape;
    const picture = new SlicePicture(
      layer,
      `${count(filters, "filter")} of ${depth}x${height}x${width}`,
      shape,
      palettes,
    );
    // The same scale at all steps: kernels that grow are seen to grow.
    const limits = Array.from(steps.values(), ({ values }) => rangeOf(values)).map(({ low, high }) => [-low, high]);
    return Object.assign(picture, { steps, range: symmetric(Math.max(...limits.flat())) });
  }

  show(step, text) {
    const position = Number(this.choice.value);
    const image = this.choice.selectedOptions[0]?.textContent ?? "";
    const sentence = `${text[0].toUpperCase()}${text.slice(1)}`;
    this.kernelsAt.textContent = `${sentence}.`;
    this.mapsAt.textContent = `${sentence}, for ${image}.`;
    for (const picture of this.kernels) {
      picture.show(picture.steps.get(step).values, picture.range, `kernels of ${picture.layer} at ${text}`);
    }
    const { values } = this.networks.get(step).run(this.pool.pixels(position));
    for (const picture of this.maps) {
      const maps = values.get(picture.layer);
      picture.show(maps, rangeOf(maps), `feature maps of ${picture.layer} for ${image} at ${text}`);
    }
  }
}

/** What the section shows, and what is left out of it. */
export function describeHistory({ steps, of }) {
  const some =
    steps.length < of
      ? ` The page has ${formatCount(steps.length)} of the ${formatCount(of)} steps that the run kept; the others are left out to keep it small.`
      : "";
  return (
    "Computed in this page from the weights that the run kept of its steps, in half precision. The kernels of a layer " +
    "have one color scale for all filters and steps; a filter is a row of slices, one for each input channel. All " +
    `feature maps of a layer at a step have one color scale.${some}`
  );
}
