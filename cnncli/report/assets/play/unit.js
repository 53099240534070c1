// One unit of the network: what it reads, and every number of its arithmetic.

import { numberAt, originOf, unitTrace } from "../engine/unit.js";
import { h, setText } from "../shared/dom.js";
import { Palettes } from "../shared/palette.js";
import { FieldProblem, wholeNumber } from "./number-field.js";
import { oncePerFrame } from "./state.js";
import { CellStyles } from "./unit-cells.js";
import { UnitCommand } from "./unit-command.js";
import { UNIT_MESSAGES } from "./unit-messages.js";
import { decimalsOf, fixedNumber } from "./unit-numbers.js";
import { UnitPatches } from "./unit-patches.js";
import { UnitSlide } from "./unit-slide.js";
import { UnitStages } from "./unit-stages.js";
import { UnitTerms } from "./unit-terms.js";

const LARGE_POOL = 8; // rows or columns from which the patch of a pool is a picture
const SETTLED = 400; // ms without a new image until channels are sorted again
const LEAST_INTERVAL = 100; // ms between two updates while one draws: digits that change faster cannot be read

/** The index of a unit of the state: [channel, row, column], or [number] in a vector. */
const indexOfUnit = ({ channel, row, column }) => (row === null ? [channel] : [channel, row, column]);

const unitOfIndex = (layer, [channel, row = null, column = null]) => ({ layer, channel, row, column });

class UnitView {
  constructor(app) {
    this.app = app;
    this.t = app.translate(UNIT_MESSAGES);
    this.palettes = new Palettes(app.data.colors);
    this.styles = new CellStyles(this.palettes);
    this.updated = 0; // the time
    this.sliding = null; // the position of the window while it slides
    [this.name, this.value] = [h("span", {}), h("b", {})];
    this.title = h("p", { class: "unit-title", "aria-live": "off" }, this.name, this.value);
    this.summary = h("p", { class: "intro" });
    this.hint = h("p", { class: "intro" }, this.t("hint"));
    const select = ({ layer, index }) => this.#select(unitOfIndex(layer, index));
    this.slide = new UnitSlide(this.t, app, (position, sliding) => this.#move(position, sliding));
    this.patches = new UnitPatches(this.t, select);
    this.terms = new UnitTerms(this.t, select);
    this.stages = new UnitStages(this.t);
    this.command = new UnitCommand(app, this.t);
    [this.output, this.verdict] = [h("b", { class: "unit-value" }), h("span", {})];
    this.result = h("p", { class: "unit-result" }, this.t("result"), this.t("colon"), this.output, " ", this.verdict);
    this.pixel = h("p", { class: "formula" });
    this.pixelBox = h("div", { class: "unit-pixel" }, h("p", { class: "intro" }, this.t("pixelIntro")), this.pixel);
    this.stages.element.append(this.result);
    this.parts = [this.slide, this.patches, this.terms, this.stages];
    const elements = this.parts.map(({ element }) => element);
    this.body = h("div", { class: "unit-body" }, elements, this.pixelBox, this.command.element);
    this.element = h("div", { class: "unit" }, this.hint, this.#choice(), this.title, this.summary, this.body);
    this.#listen();
    this.update();
  }

  // Choosing

  #choice() {
    const { t } = this;
    const number = (key) => {
      const name = h("span", {}, t(key));
      const input = h("input", { type: "number", min: 0, step: 1, id: `unit-${key}`, oninput: () => this.#choose() });
      input.addEventListener("change", () => this.#check(input));
      return { name, input, label: h("label", {}, name, " ", input) };
    };
    this.layer = h("select", { id: "unit-layer", onchange: () => this.#chooseLayer() });
    this.fields = { channel: number("channel"), row: number("row"), column: number("column") };
    const labels = Object.values(this.fields).map(({ label }) => label);
    const legend = h("legend", { class: "visually-hidden" }, t("choose"));
    this.problem = new FieldProblem();
    const layer = h("label", {}, t("layer"), " ", this.layer);
    return h("fieldset", { class: "unit-choice" }, legend, layer, labels, this.problem.element);
  }

  #chooseLayer() {
    const layer = this.layer.value;
    const [, height, width] = this.shapeOf(layer);
    const place = height === undefined ? [] : [height >> 1, width >> 1];
    this.#select(unitOfIndex(layer, [0, ...place]));
  }

  #choose() {
    const layer = this.layer.value;
    const fields = Object.values(this.fields).slice(0, this.shapeOf(layer).length);
    const index = fields.map(({ input }) => wholeNumber(input));
    if (index.includes(null)) return;
    this.problem.clear();
    this.#select(unitOfIndex(layer, index));
  }

  /** Mark a field that names no unit. */
  #check(input) {
    if (wholeNumber(input) === null) this.problem.show(input, this.t("notIndex", { last: input.max }));
  }

  /** Show the unit in the form; what is wrong there stays until another unit is shown. */
  #fillForm(unit, shape) {
    const names = ["input", ...this.model.data.model.layers.map(({ name }) => name)];
    if (this.layer.length !== names.length || this.layer.options[1]?.value !== names[1]) {
      this.layer.replaceChildren(...names.map((name) => h("option", { value: name }, this.nameOf(name))));
    }
    this.layer.value = unit.layer;
    const index = indexOfUnit(unit);
    const key = [this.number, unit.layer, ...index].join(" ");
    if (key === this.formKey) return;
    this.formKey = key;
    this.problem.clear();
    this.fields.channel.name.textContent = this.t(shape.length === 1 ? "unitNumber" : "channel");
    Object.values(this.fields).forEach(({ input, label }, i) => {
      label.hidden = i >= shape.length;
      if (label.hidden) return;
      input.max = shape[i] - 1;
      if (input.valueAsNumber !== index[i]) input.value = index[i];
    });
  }

  #select(unit) {
    this.slide.stop();
    this.app.state.set({ unit, hover: null });
  }

  /** Another position in the same map; while the window slides, only pointed at. */
  #move([row, column], sliding) {
    const { unit } = this;
    const moved = { ...unit, row, column };
    this.sliding = sliding ? moved : null;
    if (sliding) {
      this.app.state.set({ hover: moved });
      this.update();
    } else {
      this.app.state.set({ unit: moved, hover: null });
      this.app.announce(this.title.textContent);
    }
  }

  // What is shown

  #listen() {
    const { state } = this.app;
    const followInSight = oncePerFrame(() => this.update({ everywhere: false }));
    state.on(["result"], () => {
      this.#follow(followInSight);
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.update({ settled: true }), SETTLED);
    });
    state.on(
      ["model", "edits", "step"],
      oncePerFrame(() => this.update()),
    );
    state.on(["unit"], () => {
      this.sliding = null; // another unit was chosen
      this.slide.cancel();
      this.update({ settled: true });
    });
    this.inSight = new Set(this.parts.map(({ element }) => element)); // until the observer says where they are
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.inSight.add(target);
        else this.inSight.delete(target);
      }
      if (entries.some(({ isIntersecting }) => isIntersecting)) followInSight();
    });
    for (const { element } of [this, ...this.parts]) seen.observe(element);
    state.signal.addEventListener("abort", () => {
      seen.disconnect();
      clearTimeout(this.settling);
      clearTimeout(this.later);
    });
  }

  /** Update for a new image, now and then while they come fast, and not out of sight until it has settled. */
  #follow(followInSight) {
    clearTimeout(this.later);
    if (!this.inSight.has(this.element) && !this.body.hidden) return;
    this.later = setTimeout(followInSight, Math.max(0, this.updated + LEAST_INTERVAL - performance.now()));
  }

  get number() {
    return this.app.state.get("model");
  }

  get model() {
    return this.app.models[this.number];
  }

  shapeOf(layer) {
    return this.model.receptiveFields.shapes.get(layer);
  }

  nameOf(layer) {
    return layer === "input" ? this.t("input") : layer;
  }

  unitName(index) {
    const [channel, row, column] = index;
    if (index.length === 1) return this.t("vectorUnit", { channel });
    return this.t("mapUnit", { channel, row, column });
  }

  fullName(layer, index) {
    return this.t("fullName", { layer: this.nameOf(layer), unit: this.unitName(index) });
  }

  /** The selected unit; without one, the middle of the first map of the first convolution, or layer with weights. */
  #unit() {
    const chosen = this.sliding ?? this.app.state.get("unit");
    if (chosen && this.shapeOf(chosen.layer)) return chosen;
    const { layers, tensors } = this.model.data.model;
    const hasWeights = (layer) => tensors.some((each) => each.layer === layer.name);
    const { name } = layers.find(({ has_kernels: hasKernels }) => hasKernels) ?? layers.find(hasWeights) ?? layers[0];
    const [, height, width] = this.shapeOf(name);
    return unitOfIndex(name, height === undefined ? [0] : [0, height >> 1, width >> 1]);
  }

  /** The network with its edits, made again only when they change. */
  #network() {
    const key = [this.model.network, this.app.state.get("edits")];
    if (!this.networkKey?.every((each, i) => each === key[i])) {
      this.networkKey = key;
      this.network = this.app.edited(this.number);
    }
    return this.network;
  }

  /**
   * @param settled whether the image stays for a while, so that channels may change places.
   * @param everywhere whether parts that are out of sight are updated, too.
   */
  update({ settled = false, everywhere = true } = {}) {
    const { state } = this.app;
    const result = state.get("result")?.[this.number];
    const unit = this.#unit();
    const shape = this.shapeOf(unit.layer);
    this.unit = unit;
    this.updated = performance.now();
    this.hint.hidden = state.get("unit") !== null;
    this.#fillForm(unit, shape);
    this.body.hidden = !result;
    if (!result) {
      this.#entitle(this.t("waiting"), "");
      return;
    }
    const pixels = result.pixels ?? state.get("pixels");
    const network = this.#network();
    if (unit.layer === "input") this.#showPixel(network, pixels);
    else this.#showUnit(network, pixels, result, { settled, everywhere });
  }

  #show(isPixel) {
    if (this.pixelBox.hidden !== isPixel) return; // it is shown: its parts hide themselves where they have nothing
    for (const { element } of [this.slide, this.patches, this.terms, this.stages, this.command])
      element.hidden = isPixel;
    this.pixelBox.hidden = !isPixel;
  }

  #entitle(name, value) {
    setText(this.name, name);
    setText(this.value, value);
  }

  #showPixel(network, pixels) {
    this.#show(true);
    const index = indexOfUnit(this.unit);
    const shape = this.shapeOf("input");
    const level = numberAt({ shape, values: pixels }, index);
    const value = numberAt({ shape, values: network.normalize(pixels) }, index);
    const { mean, std } = network.model.normalization;
    const [center, deviation] = [mean, std].map((each) => fixedNumber(each[index[0]], 4));
    this.#entitle(this.fullName("input", index) + this.t("colon"), String(Math.round(level)));
    setText(this.summary, "");
    this.pixel.textContent = `(${Math.round(level)} / 255 - ${center}) / ${deviation} = ${fixedNumber(value, 4)}`;
  }

  #showUnit(network, pixels, result, { settled, everywhere }) {
    this.#show(false);
    const { unit, t } = this;
    const index = indexOfUnit(unit);
    const shape = this.shapeOf(unit.layer);
    const spec = network.layer(unit.layer);
    const trace = unitTrace(network, unit.layer, index, result.values, network.normalize(pixels));
    const byEngine = numberAt({ shape, values: result.values.get(unit.layer) }, index);
    const decimals = decimalsOf(trace, byEngine);
    const [patch] = trace.patches;
    const view = {
      app: this.app,
      t,
      number: this.number,
      network,
      unit,
      index,
      spec,
      shape,
      trace,
      decimals,
      result,
      pixels,
      source: spec.inputs[0],
      receptiveFields: this.model.receptiveFields,
      palettes: this.palettes,
      styles: this.styles,
      isLargePool: Boolean(patch) && !patch.kernel && Math.max(patch.rows.length, patch.columns.length) > LARGE_POOL,
      winner: trace.stages[0].kind === "largest" ? trace.terms[0].index : null,
      nameOf: (layer) => this.nameOf(layer),
      fullName: (layer, each) => this.fullName(layer, each),
      originOf: (layer, each) => originOf(network, layer, each),
    };
    const value = fixedNumber(trace.stages.at(-1).value, decimals);
    this.#entitle(this.fullName(unit.layer, index) + this.t("colon"), value);
    const inputs = trace.inputs.map(({ name, shape: each }) => `${this.nameOf(name)} (${each.join("x")})`);
    const summary = t("summary", {
      layer: unit.layer,
      type: this.#typeOf(spec),
      inputs: inputs.join(t("and")),
      shape: shape.join("x"),
    });
    setText(this.summary, summary);
    for (const part of this.parts) if (everywhere || this.inSight.has(part.element)) part.update(view, settled);
    const engine = fixedNumber(byEngine, decimals);
    const verdict = t(engine === value ? "sameAsEngine" : "otherThanEngine", { value: engine });
    setText(this.output, value);
    setText(this.verdict, verdict);
    this.result.classList.toggle("differs", engine !== value);
    if (!this.sliding) this.command.update(view);
  }

  /** The layer's type with its followers, such as `conv, batch_norm, relu`. */
  #typeOf(spec) {
    const followers = spec.operations.filter(({ role }) => role).map(({ name }) => name);
    return [spec.type, ...followers].join(", ");
  }
}

export function unitPart(app) {
  return new UnitView(app).element;
}
