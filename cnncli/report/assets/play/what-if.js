// The panel that changes the network by hand: controls for one layer, the list of edits, logits and accuracy before
// and after.

import { h, setDisabled } from "../shared/dom.js";
import { formatNumber } from "../shared/numbers.js";
import { rove, toolbar } from "../shared/roving.js";
import {
  activationOf,
  axisIndices,
  changesNothing,
  editKey,
  flatIndex,
  KERNEL_CHANGES,
  kernelOf,
  kernelTensor,
  layerOfEdit,
  singleTensors,
  withEdit,
  withoutEdit,
} from "./edits.js";
import { KernelGrid } from "./kernel-grid.js";
import { FieldProblem, weightOf, wholeNumber } from "./number-field.js";
import { EditedAccuracy } from "./what-if-accuracy.js";
import { EditedLogits } from "./what-if-logits.js";
import { WHAT_IF_MESSAGES } from "./what-if-messages.js";

/** What the state holds for this part: the edits, what they were before each change, what the controls are for. */
export const WHAT_IF_STATE = {
  edits: [],
  editHistory: [],
  whatIf: null,
  correct: {}, // network, step and newest step -> images in the page that are classified correctly without edits
};

const MERGED = 1500; // milliseconds: what a slider changes in steps that follow sooner is undone as one
const UNDO_STEPS = 200; // edits that can be undone

/** Whether two lists of edits are the same. */
const sameEdits = (one, other) => JSON.stringify(one) === JSON.stringify(other);

class WhatIf {
  constructor(app) {
    this.app = app;
    this.t = app.translate(WHAT_IF_MESSAGES);
    this.fields = h("div", { class: "what-if-fields" });
    this.list = h("ol", { class: "what-if-list" });
    rove(this.list);
    this.undoButton = h("button", { type: "button", onclick: () => this.undo() }, this.t("undo"));
    this.clearButton = h("button", { type: "button", onclick: () => this.change([]) }, this.t("clear"));
    this.logits = new EditedLogits(app, this.t);
    this.accuracy = new EditedAccuracy(app, this.t);
    const heading = h("h3", { id: "what-if-changes", tabindex: "-1" }, this.t("changes"));
    this.element = h(
      "div",
      { class: "what-if" },
      h("p", { class: "intro" }, this.t("intro")),
      h(
        "div",
        { class: "what-if-columns" },
        this.fields,
        h(
          "div",
          { class: "what-if-changes" },
          heading,
          this.list,
          toolbar(this.t("changes"), "control", this.undoButton, this.clearButton),
          this.logits.element,
          this.accuracy.element,
        ),
      ),
    );
    this.heading = heading;
    this.follow();
    this.showFields();
    this.showList();
    const { state } = app;
    state.on(["unit", "model"], () => {
      if (this.follow()) this.showFields();
    });
    state.on(["whatIf"], () => this.showFields());
    state.on(["newest"], () => {
      const typing = this.fields.contains(document.activeElement) && document.activeElement.type === "text";
      const isWrong = this.fields.querySelector("[aria-invalid]") !== null;
      if (!typing && !isWrong) this.showValues(); // the weights of a training change while one types
      this.showList();
    });
    state.on(["edits", "step", "model"], () => {
      this.showValues();
      this.showList();
    });
  }

  get number() {
    return this.app.state.get("model");
  }

  get network() {
    return this.app.models[this.number].network;
  }

  get model() {
    return this.app.models[this.number].data.model;
  }

  /** The network with the edits. */
  get edited() {
    return this.app.edited(this.number);
  }

  /** What the controls are for: layer, channel, slice of its kernel, and a tensor with indices. */
  get chosen() {
    return this.app.state.get("whatIf");
  }

  choose(changes) {
    this.app.state.set({ whatIf: { ...this.chosen, ...changes } });
  }

  /** Choose the layer and channel of the page's unit; whether anything else than before is chosen now. */
  follow() {
    const { state } = this.app;
    const unit = state.get("unit");
    const before = this.chosen;
    const inModel = (each) => each && this.model.layers.some(({ name }) => name === each.layer);
    const known = inModel(before) && before.model === this.number; // layers of two networks may have the same name
    const first = this.model.layers.find(({ has_kernels: has }) => has) ?? this.model.layers.at(-1);
    const next = [unit, before].find(inModel) ?? { layer: first.name, channel: 0 };
    if (known && before.layer === next.layer && before.channel === next.channel) return false;
    state.set({ whatIf: this.selection(next.layer, next.channel) });
    return true;
  }

  /** The first choices in a layer. */
  selection(layer, channel = 0) {
    const tensor = singleTensors(this.model, layer)[0];
    const { shape } = this.layer(layer);
    return {
      model: this.number,
      layer,
      channel: Math.min(channel, shape[0] - 1),
      slice: 0,
      tensor: tensor?.name ?? null,
      indices: tensor ? tensor.shape.map((size, axis) => (axis === 0 ? Math.min(channel, size - 1) : 0)) : [],
    };
  }

  layer(name) {
    return this.model.layers.find((each) => each.name === name);
  }

  // Edits

  /** The edits of the network that is shown. */
  get edits() {
    return this.app.state.get("edits");
  }

  /** Change the edits; `merge` is a key: changes in a row with the same key are undone together. */
  change(edits, merge = null) {
    const { state } = this.app;
    const history = state.get("editHistory");
    const soon = performance.now() - this.changedAt < MERGED;
    const goesOn = merge !== null && merge === this.merging && soon;
    this.merging = merge;
    this.changedAt = performance.now();
    const longer = goesOn ? history : [...history, this.edits].slice(-UNDO_STEPS);
    // What is as it was before is no step to undo.
    state.set({ edits, editHistory: sameEdits(edits, longer.at(-1)) ? longer.slice(0, -1) : longer });
  }

  /** Make an edit, or remove the one with the same key where it would change nothing. */
  edit(edit, merge = null) {
    const own = { ...edit, model: this.number };
    const neutral = changesNothing(this.network, own);
    this.change(neutral ? withoutEdit(this.edits, editKey(own)) : withEdit(this.edits, own), merge);
  }

  undo() {
    const { state } = this.app;
    const history = state.get("editHistory");
    this.merging = null;
    if (history.length) state.set({ edits: history.at(-1), editHistory: history.slice(0, -1) });
  }

  /** The edit with the same key, if there is one. */
  found(edit) {
    const key = editKey({ ...edit, model: this.number });
    return this.edits.find((each) => editKey(each) === key);
  }

  // Controls

  showFields() {
    const { layer: name, channel } = this.chosen;
    const layer = this.layer(name);
    const id = (part) => `what-if-${part}`;
    const focused = this.fields.contains(document.activeElement) ? document.activeElement.id : null;
    const options = this.model.layers.map((each) =>
      h("option", { value: each.name, selected: each.name === name }, each.name),
    );
    const layers = h("select", { id: id("layer"), onchange: () => this.choose(this.selection(layers.value)) }, options);
    const last = layer.shape[0] - 1;
    const problem = new FieldProblem();
    const choose = (value) =>
      this.choose({ ...this.selection(name, value), slice: Math.min(this.chosen.slice, this.depth(name) - 1) });
    const channelText = this.t(layer.shape.length === 3 ? "channel" : "neuron", { last });
    const channels = this.indexField(id("channel"), channelText, { value: channel, last, choose, problem });
    this.fields.replaceChildren(
      h("div", { class: "control" }, h("label", { class: "field" }, h("span", {}, this.t("layer")), layers), channels),
      problem.element,
      toolbar(this.t("output"), "what-if-output", this.factorFields(id), this.activationField(id)),
      this.kernelFields(id),
      this.weightFields(id),
    );
    this.showValues();
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  /** A labeled field for a whole number from 0 to `last`. */
  indexField(id, label, { value, last, choose, problem }) {
    const field = h("input", { id, type: "number", min: 0, max: last, step: 1, value });
    field.addEventListener("change", () => {
      const chosen = wholeNumber(field);
      if (chosen === null) {
        problem.show(field, this.t("notIndex", { last, value }));
        return;
      }
      problem.clear();
      choose(chosen);
    });
    return h("label", { class: "field" }, h("span", {}, label), field);
  }

  /** The number of slices of a layer's kernels. */
  depth(name) {
    const tensor = kernelTensor(this.model, name);
    return tensor ? kernelOf(this.network, tensor, 0).depth : 1;
  }

  factorFields(id) {
    const { layer, channel } = this.chosen;
    const edit = (factor, merge) => this.edit({ kind: "scale", layer, channel, factor }, merge);
    this.factor = h("input", { id: id("factor"), type: "range", min: -2, max: 3, step: 0.05 });
    this.factor.addEventListener("input", () => edit(Number(this.factor.value), `factor/${layer}/${channel}`));
    this.factorText = h("output", { class: "number", for: id("factor") });
    this.off = h("button", { id: id("off"), type: "button", onclick: () => edit(this.factorNow === 0 ? 1 : 0) });
    return h(
      "div",
      { class: "control" },
      this.off,
      h("label", { class: "field grows" }, h("span", {}, this.t("factor")), this.factor),
      this.factorText,
    );
  }

  get factorNow() {
    const { layer, channel } = this.chosen;
    return this.found({ kind: "scale", layer, channel })?.factor ?? 1;
  }

  activationField(id) {
    const { layer } = this.chosen;
    const name = activationOf(this.model, layer);
    this.identity = null;
    if (!name) return h("p", { class: "muted what-if-activation" }, this.t("noActivation"));
    this.identity = h("input", {
      id: id("identity"),
      type: "checkbox",
      onchange: () => {
        const edit = { kind: "identity", layer };
        if (this.identity.checked) this.edit(edit);
        else this.change(withoutEdit(this.edits, editKey({ ...edit, model: this.number })));
      },
    });
    return h("p", { class: "what-if-activation" }, h("label", {}, this.identity, ` ${this.t("identity", { name })}`));
  }

  kernelFields(id) {
    const { layer, channel, slice } = this.chosen;
    const tensor = kernelTensor(this.model, layer);
    this.kernel = null;
    if (!tensor) return null;
    const { depth, height, width } = kernelOf(this.network, tensor, channel);
    this.kernel = new KernelGrid({
      height,
      width,
      colors: this.app.data.colors,
      id: id("cell"),
      label: this.t("kernelLabel", { channel, slice }),
      cellLabel: (row, column) => this.t("cell", { row, column }),
      change: (position, value) => {
        const { values } = kernelOf(this.edited, tensor, channel);
        this.editKernel(values.with(slice * height * width + position, value));
      },
      refusal: (text, value) => this.t("notNumber", { text, value }),
    });
    const buttons = Object.entries(KERNEL_CHANGES).map(([name, changed]) => {
      const onclick = () => this.editKernel(changed(kernelOf(this.edited, tensor, channel).values, height, width));
      return h("button", { id: id(name), type: "button", onclick }, this.t(name));
    });
    const restore = () =>
      this.change(withoutEdit(this.edits, editKey({ kind: "kernel", model: this.number, tensor, channel })));
    const problem = new FieldProblem();
    const slices = this.indexField(id("slice"), this.t("slice", { last: depth - 1 }), {
      value: slice,
      last: depth - 1,
      choose: (value) => this.choose({ slice: value }),
      problem,
    });
    return h(
      "fieldset",
      {},
      h("legend", {}, this.t("kernel")),
      h("div", { class: "control" }, slices),
      problem.element,
      this.kernel.element,
      toolbar(
        this.t("kernel"),
        "control",
        buttons,
        h("button", { id: id("restore"), type: "button", onclick: restore }, this.t("restore")),
      ),
    );
  }

  editKernel(values) {
    const { layer, channel } = this.chosen;
    this.edit({ kind: "kernel", tensor: kernelTensor(this.model, layer), channel, values });
  }

  weightFields(id) {
    const { layer, tensor: name, indices } = this.chosen;
    const tensors = singleTensors(this.model, layer);
    this.value = null;
    const tensor = tensors.find((each) => each.name === name);
    if (!tensor) return null;
    const options = tensors.map((each) =>
      h("option", { value: each.name, selected: each === tensor }, `${each.name} (${each.shape.join("x")})`),
    );
    const select = h(
      "select",
      {
        id: id("tensor"),
        onchange: () => {
          const { shape } = tensors.find((each) => each.name === select.value);
          this.choose({
            tensor: select.value,
            indices: shape.map((size, axis) => Math.min(indices[axis] ?? 0, size - 1)),
          });
        },
      },
      options,
    );
    this.valueProblem = new FieldProblem();
    const axes = tensor.shape.map((size, axis) =>
      this.indexField(id(`axis-${axis}`), this.t("axis", { axis, last: size - 1 }), {
        value: indices[axis],
        last: size - 1,
        choose: (value) => this.choose({ indices: indices.with(axis, value) }),
        problem: this.valueProblem,
      }),
    );
    const index = flatIndex(tensor.shape, indices);
    this.value = h("input", { id: id("value"), type: "text", inputmode: "decimal", size: 10, autocomplete: "off" });
    this.value.addEventListener("change", () => {
      const value = weightOf(this.value.value);
      if (value !== null) {
        this.edit({ kind: "weight", tensor: name, index, value });
        return;
      }
      const kept = formatWeight(this.edited.tensor(name)[index]);
      this.valueProblem.show(this.value, this.t("notNumber", { text: this.value.value, value: kept }));
    });
    this.was = h("span", { class: "muted" });
    return h(
      "fieldset",
      {},
      h("legend", {}, this.t("weight")),
      h("div", { class: "control" }, h("label", { class: "field" }, h("span", {}, this.t("tensor")), select), axes),
      h(
        "div",
        { class: "control" },
        h("label", { class: "field" }, h("span", {}, this.t("value")), this.value),
        this.was,
      ),
      this.valueProblem.element,
    );
  }

  /** Show the present numbers in the controls. */
  showValues() {
    const { layer, channel, slice, tensor, indices } = this.chosen;
    const factor = this.factorNow;
    this.factor.value = factor;
    this.factorText.textContent = formatNumber(factor);
    this.off.textContent = this.t(factor === 0 ? "on" : "off");
    if (this.identity) this.identity.checked = Boolean(this.found({ kind: "identity", layer }));
    const edited = this.edited;
    if (this.kernel) {
      const name = kernelTensor(this.model, layer);
      const [now, original] = [edited, this.network].map((network) => kernelOf(network, name, channel));
      const size = now.height * now.width;
      const part = ({ values }) => values.slice(slice * size, (slice + 1) * size);
      this.kernel.show(part(now), part(original), now.values);
    }
    if (this.value) {
      const { shape } = this.model.tensors.find(({ name }) => name === tensor);
      const index = flatIndex(shape, indices);
      const [now, original] = [edited, this.network].map((network) => network.tensor(tensor)[index]);
      this.valueProblem.clear();
      this.value.value = formatWeight(now);
      this.was.textContent = now === original ? "" : this.t("was", { value: formatWeight(original) });
    }
  }

  // The list

  describe(edit) {
    const { data, network } = this.app.models[edit.model ?? 0];
    const layer = layerOfEdit(data.model, edit);
    const { shape } = data.model.layers.find(({ name }) => name === layer);
    const values = { ...edit, layer, unit: this.t(shape.length === 3 ? "filterWord" : "neuronWord") };
    if (edit.kind === "scale") {
      return this.t(edit.factor === 0 ? "edit.off" : "edit.scale", { ...values, factor: formatNumber(edit.factor) });
    }
    if (edit.kind === "weight") {
      const tensor = data.model.tensors.find(({ name }) => name === edit.tensor);
      const before = formatWeight(network.tensor(edit.tensor)[edit.index]);
      const index = axisIndices(tensor.shape, edit.index).join(", ");
      return this.t("edit.weight", { ...values, index, before, after: formatWeight(edit.value) });
    }
    if (edit.kind === "kernel") {
      const original = kernelOf(network, edit.tensor, edit.channel).values;
      const changed = edit.values.filter((value, i) => Math.fround(value) !== original[i]).length;
      return this.t("edit.kernel", { ...values, changed, count: original.length });
    }
    return this.t("edit.identity", { ...values, name: activationOf(data.model, layer) });
  }

  showList() {
    const several = this.app.models.length > 1;
    const items = this.edits.map((edit) => {
      const { name } = this.app.models[edit.model ?? 0].data;
      const text = several ? `${name}${this.t("colon")}${this.describe(edit)}` : this.describe(edit);
      const onclick = () => {
        this.change(withoutEdit(this.edits, editKey(edit)));
        this.heading.focus({ preventScroll: true });
      };
      const label = this.t("removeLabel", { edit: text });
      return h(
        "li",
        {},
        h("span", {}, text),
        h("button", { type: "button", "aria-label": label, onclick }, this.t("remove")),
      );
    });
    this.list.replaceChildren(...(items.length ? items : [h("li", { class: "muted none" }, this.t("noChanges"))]));
    setDisabled(this.clearButton, !this.edits.length);
    setDisabled(this.undoButton, !this.app.state.get("editHistory").length);
  }
}

/** A weight as text: five significant digits. */
export function formatWeight(value) {
  return String(Number(value.toPrecision(5)));
}

/** The panel "What if". */
export const whatIfPart = (app) => new WhatIf(app).element;
