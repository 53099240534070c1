// The patches of test images that excite a filter most, drawn from their pixels.

import { h, setDisabled } from "../shared/dom.js";
import { pairs } from "../shared/grid.js";
import { formatCount, formatNumber } from "../shared/numbers.js";
import { bounds, hasGaps } from "../shared/receptive-fields.js";
import { rove, toolbar } from "../shared/roving.js";
import { FieldProblem, wholeNumber } from "./number-field.js";
import { PATCHES_MESSAGES } from "./patches-messages.js";

const PATCH_SIDE = 84; // px for the longer side of a patch, about
const IMAGE_SIDE = 56; // px for the longer side of its image
const MOST_PADDING = 6; // rows or columns of padding drawn on each side
const PALE = 70; // opacity, of 255, of pixels between those that a unit reads

/** What the state holds for this part. */
export const PATCHES_STATE = { patches: null };

/** The patches of all filters of a network, from the data and arrays of the page. */
export class FilterPatches {
  /**
   * @param data of one network, see `report/patches.py`.
   * @param units, values the arrays `patches/units` and `patches/values`.
   */
  constructor(data, units, values) {
    Object.assign(this, { data, units, values });
    const filters = data.layers.reduce((total, each) => total + each.filters, 0);
    this.count = filters ? values.length / filters : 0;
    this.first = new Map(); // layer -> number of its first filter among all
    let first = 0;
    for (const { name, filters: own } of data.layers) {
      this.first.set(name, first);
      first += own;
    }
  }

  get layers() {
    return this.data.layers;
  }

  layer(name) {
    return this.layers.find((each) => each.name === name);
  }

  /** The output of a filter that is the same everywhere; undefined if it varies. */
  constant(layer, filter) {
    return this.layer(layer).constant.find(([number]) => number === filter)?.[1];
  }

  /** The patches of a filter: position of the image, index of the unit in its map, output of the unit. */
  of(layer, filter) {
    const start = (this.first.get(layer) + filter) * this.count;
    return Array.from({ length: this.count }, (_, rank) => ({
      image: this.units[2 * (start + rank)],
      index: this.units[2 * (start + rank) + 1],
      value: this.values[start + rank],
    })).filter(({ image }) => image >= 0);
  }
}

/** First and last pixel drawn along an axis: what the unit sees, and some of the padding. */
export function drawnSpan([first, last], padded) {
  if (!padded) return [first, last];
  return [
    Math.max(Math.min(first, padded[0]), first - MOST_PADDING),
    Math.min(Math.max(last, padded[1]), last + MOST_PADDING),
  ];
}

const inAny = (runs, position) => pairs(runs).some(([first, last]) => first <= position && position <= last);

/**
 * The pixels (RGBA) of a patch, transparent in the padding and pale between the pixels that are read.
 *
 * @param pixels of the image, (C, H, W).
 * @param region the receptive field on the input, see `ReceptiveFields.receptiveField`.
 */
export function patchColors(pixels, [channels, height, width], region) {
  const [rowBounds, columnBounds] = bounds(region);
  const [top, bottom] = drawnSpan(rowBounds, region.padded?.[0]);
  const [left, right] = drawnSpan(columnBounds, region.padded?.[1]);
  const size = { width: right - left + 1, height: bottom - top + 1 };
  const data = new Uint8ClampedArray(4 * size.width * size.height);
  const color = channels === 3 ? [0, 1, 2] : null;
  for (let row = top, to = 0; row <= bottom; row += 1) {
    for (let column = left; column <= right; column += 1, to += 4) {
      if (row < rowBounds[0] || row > rowBounds[1] || column < columnBounds[0] || column > columnBounds[1]) continue;
      const at = row * width + column;
      const level = (channel) => pixels[channel * height * width + at];
      let gray = 0;
      for (let channel = 0; channel < channels; channel += 1) gray += level(channel) / channels;
      for (let part = 0; part < 3; part += 1) data[to + part] = color ? level(color[part]) : gray;
      data[to + 3] = inAny(region.rows, row) && inAny(region.columns, column) ? 255 : PALE;
    }
  }
  return { ...size, data };
}

/** A canvas with these pixels, about `side` px wide or high. */
function pixelCanvas({ width, height, data }, side) {
  const canvas = h("canvas", { width, height, class: "pixel-canvas" });
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  const cell = side / Math.max(width, height);
  const whole = cell >= 1 ? Math.floor(cell) : cell;
  canvas.style.width = `${Math.max(1, Math.round(width * whole))}px`;
  canvas.style.height = `${Math.max(1, Math.round(height * whole))}px`;
  return canvas;
}

/** The state of an image that is in the page for the patches of a network only, by its position among those. */
function addedImage(app, model, position) {
  const { extra, labels } = app.data.patches[model];
  const size = app.data.images.shape.reduce((a, b) => a * b, 1);
  const pixels = app.arrays.get(`patches/${model}/images`).subarray(position * size, (position + 1) * size);
  return { pixels, source: { kind: "test", number: extra[position], label: labels[position] } };
}

/** The same by its number in the test set; null if no network has it. */
export function patchImage(app, number) {
  for (const [model, { extra }] of (app.data.patches ?? []).entries()) {
    const position = extra.indexOf(number);
    if (position >= 0) return addedImage(app, model, position);
  }
  return null;
}

class Patches {
  constructor(app) {
    this.app = app;
    this.t = app.translate(PATCHES_MESSAGES);
    this.number = app.state.get("model");
    const [units, values] = ["units", "values"].map((key) => app.arrays.get(`patches/${this.number}/${key}`));
    this.model = app.models[this.number];
    this.patches = new FilterPatches(app.data.patches[this.number], units, values);
    const { t } = this;
    const options = this.patches.layers.map(({ name }) => h("option", { value: name }, name));
    this.layers = h("select", { id: "patches-layer", onchange: () => this.choose(this.layers.value, 0) }, options);
    this.field = h("input", { id: "patches-filter", type: "number", min: 0, step: 1 });
    this.field.addEventListener("change", () => this.readField());
    this.problem = new FieldProblem();
    this.fieldLabel = h("span", {});
    const turn = (step) => () => this.choose(this.chosen.layer, this.chosen.filter + step);
    const turner = (id, label, step, sign) =>
      h("button", { id, type: "button", "aria-label": label, onclick: turn(step) }, sign);
    this.previous = turner("patches-previous", t("previous"), -1, "◀");
    this.next = turner("patches-next", t("next"), 1, "▶");
    this.line = h("p", { class: "patches-line" });
    this.list = h("div", { class: "patch-list", role: "group" });
    rove(this.list);
    const { source, images } = this.patches.data;
    this.legend = h("p", { class: "muted" });
    this.element = h(
      "div",
      { class: "patches" },
      h("p", { class: "intro" }, t("intro"), " ", t(`from.${source}`, { count: formatCount(images) })),
      toolbar(
        t("controls"),
        "control",
        h("label", {}, t("layer"), this.layers),
        this.previous,
        h("label", {}, this.fieldLabel, this.field),
        this.next,
      ),
      this.problem.element,
      this.line,
      this.list,
      this.legend,
    );
    this.follow();
    this.show();
    app.state.on(["unit"], () => this.follow());
    app.state.on(["patches"], () => this.show());
    app.state.on(["unit", "source"], () => {
      for (const [i, { number, unit }] of this.found.entries()) {
        this.list.children[i].setAttribute("aria-pressed", this.isShown(number, unit));
      }
    });
  }

  get chosen() {
    return this.app.state.get("patches");
  }

  choose(layer, filter) {
    const before = this.chosen;
    if (before?.layer !== layer || before.filter !== filter) this.app.state.set({ patches: { layer, filter } });
  }

  readField() {
    const { layer, filter } = this.chosen;
    const chosen = wholeNumber(this.field);
    if (chosen === null) {
      const { max: last } = this.field;
      this.problem.show(this.field, this.t("notIndex", { last, value: filter }));
      return;
    }
    this.problem.clear();
    this.choose(layer, chosen);
  }

  /** Show the filter of the page's unit, if its layer has patches. */
  follow() {
    const unit = this.app.state.get("unit");
    if (unit && this.patches.layer(unit.layer)) this.choose(unit.layer, unit.channel);
    else if (!this.patches.layer(this.chosen?.layer)) this.choose(this.patches.layers[0].name, 0);
  }

  show() {
    const { t } = this;
    const { layer, filter } = this.chosen;
    const { filters } = this.patches.layer(layer);
    const { shape } = this.model.network.layer(layer);
    const isVector = shape.length === 1;
    this.layers.value = layer;
    this.problem.clear();
    this.field.max = filters - 1;
    this.field.value = filter;
    setDisabled(this.previous, filter === 0);
    setDisabled(this.next, filter === filters - 1);
    this.fieldLabel.textContent = t(isVector ? "class" : "filter", { last: filters - 1 });
    this.list.setAttribute("aria-label", t("group", { layer, filter }));
    const constant = this.patches.constant(layer, filter);
    const name = this.model.network.layer(layer).gives_logits ? this.model.data.model.classes[filter] : null;
    if (constant !== undefined) {
      this.line.textContent = constant === 0 ? t("dead") : t("constant", { value: formatNumber(constant) });
    } else this.line.textContent = name === null ? "" : t("classIs", { name });
    const found = this.patches.of(layer, filter).map((each) => this.resolve(layer, filter, each));
    this.found = found;
    this.list.replaceChildren(...found.map((each) => this.figure(each)));
    const padded = found.some(({ region }) => region?.padded && isPadded(region));
    const gaps = found.some(({ region }) => region && hasGaps(region));
    this.legend.textContent = [padded ? t("padding") : null, gaps ? t("gaps") : null].filter(Boolean).join(" ");
  }

  /** The image, unit and receptive field of a patch. */
  resolve(layer, channel, { image, index, value }) {
    const { app } = this;
    const { count } = app.data.images;
    const found = image < count ? app.testImage(image) : addedImage(app, this.number, image - count);
    const outputs = this.model.network.shapeOf(layer);
    const [row, column] = outputs.length === 3 ? [Math.floor(index / outputs[2]), index % outputs[2]] : [null, null];
    const region = this.model.receptiveFields.receptiveField(layer, [row ?? 0, column ?? 0], "input");
    const { label, number } = found.source;
    return { ...found, value, region, label, number, unit: { layer, channel, row, column } };
  }

  figure({ pixels, source, value, region, label, number, unit }) {
    const { t } = this;
    const { shape } = this.app.data.images;
    const name = this.model.data.model.classes[label];
    const { row, column } = unit;
    const shown = { name, value: String(Number(value.toPrecision(4))) };
    const lines = [t("value", shown), t(row === null ? "image" : "imageAt", { number, row, column })];
    const whole = { rows: [0, shape[1] - 1], columns: [0, shape[2] - 1], padded: null };
    const seen = region ?? whole;
    const patch = h("span", { class: "patch-box" }, pixelCanvas(patchColors(pixels, shape, seen), PATCH_SIDE));
    const isWhole =
      !isPadded(seen) && bounds(seen).every(([first, last], axis) => first === 0 && last === shape[axis + 1] - 1);
    return h(
      "button",
      {
        type: "button",
        class: "patch",
        "aria-pressed": this.isShown(number, unit),
        "aria-label": t("label", { text: `${lines[0]} ${lines[1]}` }),
        onclick: () => this.app.state.set({ pixels, source, unit }),
      },
      patch,
      isWhole ? null : framedImage(pixelCanvas(patchColors(pixels, shape, whole), IMAGE_SIDE), bounds(seen), shape),
      h("span", { class: "patch-text" }, lines[0]),
      h("span", { class: "patch-text muted" }, lines[1]),
    );
  }

  /** Whether the page shows the image of a patch, with its unit selected. */
  isShown(number, { layer, channel, row, column }) {
    const { state } = this.app;
    const [unit, source] = [state.get("unit"), state.get("source")];
    const same = unit?.layer === layer && unit.channel === channel && unit.row === row && unit.column === column;
    return String(same && source?.kind === "test" && source.number === number);
  }
}

/** Whether what is drawn of a receptive field has padding. */
function isPadded(region) {
  return bounds(region).some(([first, last], axis) => {
    const span = drawnSpan([first, last], region.padded?.[axis]);
    return span[0] < first || span[1] > last;
  });
}

/** An image with a frame around a rectangle of its pixels. */
function framedImage(canvas, [rows, columns], [, height, width]) {
  const frame = h("span", { class: "patch-frame" });
  frame.style.top = `${(100 * rows[0]) / height}%`;
  frame.style.left = `${(100 * columns[0]) / width}%`;
  frame.style.height = `${(100 * (rows[1] - rows[0] + 1)) / height}%`;
  frame.style.width = `${(100 * (columns[1] - columns[0] + 1)) / width}%`;
  return h("span", { class: "patch-source" }, canvas, frame);
}

/** The panel with the patches; null without test images. */
export function patchesPart(app) {
  return app.data.patches ? new Patches(app).element : null;
}
