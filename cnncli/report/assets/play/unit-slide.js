// The window of a unit over the maps that its layer reads, and the map that it gives, one number after another.

import { h, setText } from "../shared/dom.js";
import { rangeOf } from "../shared/palette.js";
import { withPadding } from "../shared/receptive-fields.js";
import { toolbar } from "../shared/roving.js";
import { TileSheet, tileLayout } from "./tile-sheet.js";
import { commonRange } from "./unit-cells.js";
import { bySum } from "./unit-patches.js";
import { formulaOf } from "./unit-stages.js";

const MAP_SIDES = [120, 224]; // px, with a kernel between two maps if there is room
const STACKED_BELOW = 450; // px of the part
const KERNEL_LONGEST = 80;
const WIDEST_MARGIN = 26; // px for padding around a map
const SPEEDS = [2, 8, 32]; // positions a second
const STRONGEST = "strongest";
const SLIDE_KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** The position after `by` more, row by row, around the end of the map. */
export function positionAfter([row, column], by, [height, width]) {
  const count = height * width;
  const place = (((row * width + column + by) % count) + count) % count;
  return [Math.floor(place / width), place % width];
}

/** Positions of padding that the windows of a layer have on one side of the map they read, at most. */
function widestPadding(axes, size) {
  let widest = 0;
  axes?.forEach((axis, i) => {
    for (const unit of [0, axis.runs.length - 1]) {
      const ends = withPadding(axis, unit);
      if (ends) widest = Math.max(widest, -ends[0], ends[1] - size[i] + 1);
    }
  });
  return widest;
}

export class UnitSlide {
  /** @param move is called with a position [row, column], and whether the window is sliding. */
  constructor(t, app, move) {
    Object.assign(this, { t, move, key: null, timer: null, channel: STRONGEST });
    this.stillness = matchMedia("(prefers-reduced-motion: reduce)");
    this.formula = h("p", { class: "slide-formula" });
    this.from = this.#figure();
    this.kernel = this.#figure();
    this.to = this.#figure();
    const operator = (sign) => h("span", { class: "operator", "aria-hidden": "true" }, sign);
    this.times = operator("×");
    const maps = [this.from.element, this.times, this.kernel.element, operator("→"), this.to.element];
    this.choice = h("select", { onchange: () => this.#chooseChannel() });
    this.choiceLabel = h("label", {}, t("slideChannel"), " ", this.choice);
    this.playButton = h("button", { type: "button", class: "play", onclick: () => this.#toggle() }, t("play"));
    this.speed = h(
      "select",
      { onchange: () => this.timer && this.#start() },
      SPEEDS.map((each, i) => h("option", { value: each, selected: i === 1 }, `${each} / s`)),
    );
    this.speedLabel = h("label", {}, t("speed"), " ", this.speed);
    this.note = h("p", { class: "intro" }, t("still"));
    const step = (key, sign, go) =>
      h("button", { type: "button", "aria-label": t(key), title: t(key), onclick: () => this.#step(go) }, sign);
    this.element = h(
      "div",
      { class: "unit-slide" },
      h("h3", {}, t("slideHeading")),
      h("p", { class: "intro" }, t("slideIntro")),
      this.formula,
      h("div", { class: "slide-maps" }, maps),
      toolbar(
        t("slideControls"),
        "control",
        this.playButton,
        step("first", "|◀", () => [0, 0]),
        step("back", "◀", (position, size) => positionAfter(position, -1, size)),
        step("forward", "▶", (position, size) => positionAfter(position, 1, size)),
        this.speedLabel,
        this.choiceLabel,
      ),
      this.note,
    );
    this.#listen();
    app.state.signal.addEventListener("abort", () => this.stop());
  }

  get sliding() {
    return this.timer !== null;
  }

  update(view) {
    const { shape, trace } = view;
    const [x] = trace.inputs;
    this.element.hidden = shape.length !== 3 || trace.inputs.length !== 1 || x.shape.length !== 3;
    if (this.element.hidden) {
      this.stop();
      return;
    }
    this.view = view;
    const key = `${view.number} ${view.unit.layer}`;
    if (key !== this.key) this.#layOut(view);
    this.key = key;
    const still = this.stillness.matches;
    this.playButton.hidden = this.speedLabel.hidden = still;
    this.note.hidden = !still;
    setText(this.formula, `${this.t("positionOf", view.unit)}${this.t("colon")}${formulaOf(view)}`);
    const channel = this.#shownChannel();
    this.#paintFrom(x, channel);
    this.#paintKernel(channel);
    this.#paintTo();
  }

  #figure() {
    const caption = h("figcaption", {});
    const box = h("div", { class: "slide-map" });
    return { caption, box, element: h("figure", {}, caption, box) };
  }

  #layOut({ shape, trace, receptiveFields, unit, source }) {
    this.stop();
    this.channel = STRONGEST;
    const [x] = trace.inputs;
    const margin = widestPadding(receptiveFields.axes(unit.layer, source), x.shape.slice(1));
    const room = this.element.clientWidth || Math.min(innerWidth - 40, 560); // before it is in the page
    const beside = Math.max(MAP_SIDES[0], Math.min(MAP_SIDES[1], (room - 220) / 2));
    const longest = room < STACKED_BELOW ? MAP_SIDES[1] : beside;
    const layout = (size, around) =>
      tileLayout([1, ...size.slice(1)], {
        margin: around,
        side: longest,
        most: longest,
        widestGap: WIDEST_MARGIN,
      });
    this.from.sheet = new TileSheet(layout(x.shape, margin));
    this.to.sheet = new TileSheet(layout(shape, 0));
    this.from.box.replaceChildren(this.from.sheet.element);
    const [patch] = trace.patches;
    const hasKernel = Boolean(patch?.kernel);
    const kernelSize = hasKernel ? [1, patch.rows.length, patch.columns.length] : null;
    this.kernel.sheet = hasKernel ? new TileSheet(tileLayout(kernelSize, { side: KERNEL_LONGEST })) : null;
    this.kernel.box.replaceChildren(this.kernel.sheet?.element ?? "");
    this.kernel.element.hidden = this.times.hidden = !hasKernel;
    const [, height, width] = shape;
    Object.assign(this.to.box, { tabIndex: 0 });
    this.to.box.setAttribute("role", "application");
    this.to.box.setAttribute("aria-label", this.t("slideKeys", { height, width }));
    this.to.box.replaceChildren(this.to.sheet.element);
    const channels = trace.patches.map(({ channel }) => channel);
    this.choiceLabel.hidden = channels.length < 2;
    const option = (value) => h("option", { value }, String(value));
    this.choice.replaceChildren(h("option", { value: STRONGEST }, ""), ...channels.map(option));
  }

  /** The input channel shown: the chosen one, else that with the largest sum. */
  #shownChannel() {
    const { patches, terms } = this.view.trace;
    if (!patches.length) return terms[0]?.index[0] ?? 0;
    const key = `${this.key} ${this.view.unit.channel}`;
    if (key !== this.strongestKey) {
      // Kept while the window moves over the map.
      this.strongestKey = key;
      this.strongest = patches[bySum(patches.map(({ total }) => total ?? 0))[0]].channel;
      setText(this.choice.firstElementChild, this.t("strongest", { channel: this.strongest }));
    }
    return this.channel === STRONGEST ? this.strongest : this.channel;
  }

  #chooseChannel() {
    this.channel = this.choice.value === STRONGEST ? STRONGEST : Number(this.choice.value);
    this.update(this.view);
  }

  #paintFrom(x, channel) {
    const { view } = this;
    const { sheet, caption } = this.from;
    const size = x.shape[1] * x.shape[2];
    if (view.source === "input") sheet.paintImage(view.pixels.subarray(channel * size, (channel + 1) * size), false);
    else sheet.paint(x.values.subarray(channel * size, (channel + 1) * size), rangeOf(x.values), view.palettes);
    setText(caption, this.t("slideFrom", { layer: view.nameOf(view.source), channel }));
    sheet.clear();
    const region = view.receptiveFields.receptiveField(view.unit.layer, view.index.slice(1), view.source);
    if (region) sheet.outline(region, null, "receptive-field");
  }

  /** The kernel of the input channel shown, in the colors that its numbers have below. */
  #paintKernel(channel) {
    const { sheet, caption } = this.kernel;
    if (!sheet) return;
    const { patches } = this.view.trace;
    const { kernel } = patches.find((each) => each.channel === channel);
    sheet.paint(kernel, commonRange(patches.map((each) => each.kernel)), this.view.palettes);
    setText(caption, this.t("kernel"));
  }

  /** The map; while the window slides, only the numbers that it has reached. */
  #paintTo() {
    const { view } = this;
    const { sheet, caption } = this.to;
    const [, height, width] = view.shape;
    const [channel, row, column] = view.index;
    const values = view.result.values.get(view.unit.layer);
    const size = height * width;
    sheet.paint(values.subarray(channel * size, (channel + 1) * size), rangeOf(values), view.palettes);
    if (this.sliding) {
      if (column + 1 < width) sheet.erase(0, [row, row], [column + 1, width - 1]);
      if (row + 1 < height) sheet.erase(0, [row + 1, height - 1], [0, width - 1]);
    }
    setText(caption, this.t("slideTo", { layer: view.unit.layer, channel }));
    sheet.clear();
    sheet.frame([0, row, column], "selected");
  }

  // Moving

  #listen() {
    this.to.box.addEventListener("click", (event) => {
      const index = this.to.sheet.unitAt(event);
      if (!index) return;
      this.stop();
      this.move([index[1], index[2]], false);
    });
    this.to.box.addEventListener("keydown", (event) => {
      const by = SLIDE_KEYS[event.key];
      if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const [, height, width] = this.view.shape;
      const [, row, column] = this.view.index;
      this.stop();
      const within = (each, count) => Math.min(count - 1, Math.max(0, each));
      this.move([within(row + by[0], height), within(column + by[1], width)], false);
    });
  }

  #step(go) {
    this.stop();
    this.move(go(this.view.index.slice(1), this.view.shape.slice(1)), false);
  }

  #toggle() {
    if (this.sliding) this.stop();
    else this.#start();
  }

  #start() {
    clearInterval(this.timer);
    this.playButton.textContent = this.t("pause");
    this.timer = setInterval(() => {
      const [height, width] = this.view.shape.slice(1);
      const [, row, column] = this.view.index;
      if (row === height - 1 && column === width - 1 && this.started) {
        this.stop();
        return;
      }
      this.started = true;
      this.move(positionAfter([row, column], 1, [height, width]), true);
    }, 1000 / Number(this.speed.value));
  }

  /** Stop sliding, wherever the window is. */
  cancel() {
    clearInterval(this.timer);
    this.timer = null;
    this.started = false;
    this.playButton.textContent = this.t("play");
  }

  /** Stop sliding; the unit reached becomes the selected one. */
  stop() {
    if (!this.sliding) return;
    this.cancel();
    if (this.view) this.move(this.view.index.slice(1), false);
  }
}
