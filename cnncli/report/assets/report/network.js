// The network: the input and every layer as grids of units, with the receptive field of the selected unit.

import { ColorScale } from "../shared/color.js";
import { ARROW_KEYS, h, section } from "../shared/dom.js";
import { Grid } from "../shared/grid.js";
import { formatPercent } from "../shared/numbers.js";
import { ReceptiveFields, withPadding } from "../shared/receptive-fields.js";
import { FeatureMaps } from "./feature-maps.js";
import { UnitReadout } from "./unit-readout.js";

const LAYER_SIDE = 112; // px that a grid takes at most, unless its cells would be less than one
const INPUT_SIDE = 280;
const PROBE_SIDE = 28;
const MAX_CELL = 16;
const TOP_CLASSES = 3;

/** A layer's name within its block, with its path where several are numbered. */
const shortName = (name) => name.match(/(path\d+\.)?[^.]+$/)[0];

const clamp = (value, count) => Math.min(count - 1, Math.max(0, value));

class NetworkView {
  constructor({ network, classes, colors, feature_maps: featureMaps }) {
    Object.assign(this, { network, classes, colors });
    this.receptiveFields = new ReceptiveFields(network);
    this.featureMaps = featureMaps ? new FeatureMaps(featureMaps, this.receptiveFields.shapes) : null;
    this.probe = 0;
    this.selected = null; // by click, tap or keyboard
    this.hovered = null; // under the mouse
    this.topClasses = h("ol", { class: "top-classes", "aria-label": "most probable classes" });
    this.cards = new Map();
    for (const name of this.receptiveFields.shapes.keys()) this.cards.set(name, this.card(name));
    this.readout = new UnitReadout(this);
    this.element = h("div", { class: "network" }, this.panel(), this.flow(network.arrangement));
    this.paint();
    this.show();
  }

  // Layout

  /** What stays in sight: the choice of image, the input, and the selected unit as text. */
  panel() {
    const input = h("div", { class: "input-and-readout" }, this.cards.get("input").element, this.readout.element);
    return h("div", { class: "panel" }, this.probeChoice(), input);
  }

  flow(items) {
    const cards = items.length ? items.map((item) => this.place(item)) : h("span", { class: "identity" }, "identity");
    return h("div", { class: "flow" }, cards);
  }

  /** An item of the arrangement: a layer, or parallel paths with the layer that joins them. */
  place(item) {
    if (typeof item === "string") return this.cards.get(item).element;
    const block = item.join.includes(".") ? item.join.replace(/\.[^.]*$/, "") : null;
    const paths = item.paths.map((path) => this.flow(path));
    return h(
      "div",
      { class: "fork", role: "group", "aria-label": block },
      block ? h("span", { class: "block" }, block) : null,
      h("div", { class: "joined" }, h("div", { class: "paths" }, paths), this.cards.get(item.join).element),
    );
  }

  probeChoice() {
    if (!this.featureMaps) return null;
    const [, height, width] = this.network.input;
    const cell = Math.max(1, Math.round(PROBE_SIDE / width));
    const choices = this.featureMaps.probes.map((probe, i) => {
      const grid = new Grid({ size: [height, width], margin: 0, cell, label: "" });
      grid.paint((row, column) => this.featureMaps.color(i, row, column));
      const label = `test image ${probe.index}, class ${this.classes[probe.label]}`;
      const radio = h("input", {
        type: "radio",
        name: "probe",
        value: i,
        checked: i === 0,
        "aria-label": label,
        onchange: () => this.chooseProbe(i),
      });
      return h("label", { class: "probe" }, radio, grid.values);
    });
    return h("fieldset", { class: "probes" }, h("legend", {}, "Image"), h("div", { class: "choices" }, choices));
  }

  /** The grid of a layer with its name, channel and color scale. */
  card(name) {
    const shape = this.receptiveFields.shapes.get(name);
    const hasPositions = this.receptiveFields.hasPositions(name);
    const columns = Math.ceil(Math.sqrt(shape[0]));
    const size = hasPositions ? shape.slice(1) : [Math.ceil(shape[0] / columns), columns];
    const margin = hasPositions ? this.margin(name, size) : 0;
    const side = name === "input" ? INPUT_SIDE : LAYER_SIDE;
    const cell = Math.max(1, Math.min(MAX_CELL, Math.floor(side / (Math.max(...size) + 2 * margin))));
    const label = hasPositions
      ? `${name}: ${size[0]} by ${size[1]} units. Arrow keys select a unit, page keys the channel.`
      : `${name}: ${shape[0]} features without positions, selected as one.`;
    const card = {
      name,
      hasPositions,
      grid: new Grid({ size, margin, cell, label }),
      channel: 0,
      cursor: hasPositions ? size.map((count) => count >> 1) : [0, 0],
      scale: h("p", { class: "scale" }),
      channelText: h("span"),
    };
    const isLast = name === this.network.layers.at(-1).name;
    card.element = h(
      "figure",
      { class: "card", "data-layer": name },
      this.caption(name, shape),
      card.grid.element,
      this.canTurn(card) ? this.channelControl(card) : null,
      card.scale,
      isLast ? this.topClasses : null,
    );
    this.listen(card);
    return card;
  }

  caption(name, shape) {
    const type = this.receptiveFields.layers.get(name)?.type;
    const text = type && !name.includes(type) ? `${type} ${shape.join("x")}` : shape.join("x");
    return h("figcaption", {}, h("b", {}, shortName(name)), " ", h("span", { class: "type" }, text));
  }

  channelControl(card) {
    const button = (by, label, sign) =>
      h(
        "button",
        {
          type: "button",
          tabindex: "-1",
          class: "turn",
          "aria-label": `${card.name}: ${label} channel`,
          onclick: () => this.turn(card, by),
        },
        sign,
      );
    return h("p", { class: "channel" }, button(-1, "previous", "‹"), card.channelText, button(1, "next", "›"));
  }

  /** Cells around a grid for the padding in receptive fields on it, as far as there is room. */
  margin(name, size) {
    let most = 0;
    for (const bySource of Object.values(this.network.receptive_fields)) {
      for (const [i, number] of (bySource[name] ?? []).entries()) {
        const axis = this.network.axes[number];
        for (const unit of [0, axis.runs.length - 1]) {
          const ends = withPadding(axis, unit);
          if (ends) most = Math.max(most, -ends[0], ends[1] - size[i] + 1);
        }
      }
    }
    return Math.min(most, Math.ceil(Math.max(...size) / 7));
  }

  // Selection

  listen(card) {
    const { element } = card.grid;
    const unitUnder = (event) => {
      const cell = card.grid.cellAt(event);
      return cell && this.unitAt(card, cell);
    };
    element.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") this.hover(unitUnder(event));
    });
    element.addEventListener("pointerleave", () => this.hover(null));
    element.addEventListener("click", (event) => this.select(unitUnder(event)));
    element.addEventListener("focus", () => {
      if (element.matches(":focus-visible")) this.select(this.unitAt(card, card.cursor));
    });
    element.addEventListener("keydown", (event) => this.handleKey(event, card));
  }

  /** The unit of a cell; a layer without positions has a single one. */
  unitAt(card, cell) {
    return { layer: card.name, unit: card.hasPositions ? cell : [0, 0], cell };
  }

  handleKey(event, card) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [row, column] = card.cursor;
    const { height, width } = card.grid;
    let target = null;
    if (event.key in ARROW_KEYS) target = [row + ARROW_KEYS[event.key][0], column + ARROW_KEYS[event.key][1]];
    else if (event.key === "Home") target = event.shiftKey ? [0, 0] : [row, 0];
    else if (event.key === "End") target = event.shiftKey ? [height - 1, width - 1] : [row, width - 1];
    else if (event.key === "PageUp") this.turn(card, -1);
    else if (event.key === "PageDown") this.turn(card, 1);
    else if (event.key === "Escape") this.select(null);
    else return;
    event.preventDefault();
    if (!target) return;
    this.select(this.unitAt(card, [clamp(target[0], height), clamp(target[1], width)]));
    card.grid.element.scrollIntoView({ block: "nearest" });
  }

  hover(unit) {
    const key = (each) => each && `${each.layer} ${each.cell}`;
    if (key(unit) === key(this.hovered)) return;
    this.hovered = unit;
    this.show();
  }

  select(unit) {
    this.selected = unit;
    this.hovered = null;
    if (unit) this.cards.get(unit.layer).cursor = unit.cell;
    this.show();
  }

  canTurn({ name, hasPositions }) {
    return Boolean(this.featureMaps) && name !== "input" && hasPositions && this.featureMaps.channels(name) > 0;
  }

  turn(card, by) {
    if (!this.canTurn(card)) return;
    const channels = this.featureMaps.channels(card.name);
    card.channel = (card.channel + by + channels) % channels;
    this.paintCard(card);
    this.show();
  }

  chooseProbe(probe) {
    this.probe = probe;
    this.paint();
    this.show();
  }

  // Drawing

  /** Draw the values of all layers. */
  paint() {
    for (const card of this.cards.values()) this.paintCard(card);
    if (!this.featureMaps) return;
    const answers = this.featureMaps.probes[this.probe].probabilities.map((share, i) => [share, this.classes[i]]);
    const top = answers.sort(([a], [b]) => b - a).slice(0, TOP_CLASSES);
    const item = ([share, name]) => h("li", {}, h("b", {}, name), ` ${formatPercent(share)}`);
    this.topClasses.replaceChildren(...top.map(item));
  }

  paintCard(card) {
    const { name, grid } = card;
    if (!this.featureMaps) return grid.paint(null);
    if (name === "input") return grid.paint((row, column) => this.featureMaps.color(this.probe, row, column));
    const values = this.featureMaps.values(name, this.probe);
    if (!values.length) return grid.paint(null);
    const scale = new ColorScale(values, this.colors);
    card.scale.replaceChildren(...scale.legend());
    const first = card.hasPositions ? card.channel * grid.height * grid.width : 0;
    if (card.hasPositions) card.channelText.textContent = `channel ${card.channel}/${this.featureMaps.layers[name].of}`;
    return grid.paint((row, column) => {
      const position = first + row * grid.width + column;
      return position < values.length ? scale.color(values[position]) : null; // the last row of features may be shorter
    });
  }

  /** Highlight what belongs to the selected or hovered unit, and describe it. */
  show() {
    const selected = this.hovered ?? this.selected;
    const regions = new Map();
    for (const [name, card] of this.cards) {
      card.element.classList.toggle("selected", name === selected?.layer);
      if (!selected) card.grid.clear();
      else if (name === selected.layer) card.grid.select(selected.cell);
      else this.highlight(card, selected, regions);
    }
    this.readout.update(selected, regions);
  }

  /** Highlight the receptive field of the selected unit in a layer, or the units that depend on the selected pixel. */
  highlight(card, { layer, unit }, regions) {
    const isInput = layer === "input";
    const region = isInput
      ? this.receptiveFields.dependentUnits(card.name, layer, unit)
      : this.receptiveFields.receptiveField(layer, unit, card.name);
    if (!region) {
      card.grid.dim();
      return;
    }
    regions.set(card.name, region);
    const { height, width } = card.grid;
    const whole = { rows: [0, height - 1], columns: [0, width - 1], padded: null };
    card.grid.highlight(card.hasPositions ? region : whole, isInput ? "dependent" : "receptive-field");
  }
}

export function networkSection(data) {
  const view = new NetworkView(data);
  window.addEventListener("themechange", () => {
    view.paint();
    view.show();
  });
  const without = data.unavailable ? ` Without feature maps: ${data.unavailable}.` : "";
  const intro =
    "Exact receptive fields, computed from the layers alone and not measured on an image. " +
    `The receptive field of the selected unit is orange, and hatched where it covers padding.${without}`;
  return section("network", "Receptive fields", intro, view.element);
}
