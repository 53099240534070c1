// The layers from left to right, with all their channels as tiles, and the receptive field of a unit as borders.

import { channelsSeen, unitBeforeFlatten } from "../engine/channels.js";
import { h, setText } from "../shared/dom.js";
import { formatNumber, formatPercent } from "../shared/numbers.js";
import { colorBar, Palettes, rangeOf } from "../shared/palette.js";
import { bounds, hasGaps, shareOutside, withPadding } from "../shared/receptive-fields.js";
import { rove, toolbar } from "../shared/roving.js";
import { blockName, joinsOf, layersOf, visibleLayers } from "./arrangement.js";
import { OVERVIEW_MESSAGES } from "./overview-messages.js";
import { oncePerFrame } from "./state.js";
import { TileSheet, tileLayout } from "./tile-sheet.js";

const MOST_UNFOLDED = 14; // layers; blocks of larger networks are folded at first
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const within = (value, count) => Math.min(count - 1, Math.max(0, value));

const sameUnit = (a, b) =>
  a === b ||
  (a !== null &&
    b !== null &&
    a.layer === b.layer &&
    a.channel === b.channel &&
    a.row === b.row &&
    a.column === b.column);

/** Units around a layer's maps for the padding in receptive fields on it. */
function paddingAround(network, name, [height, width]) {
  let most = 0;
  for (const bySource of Object.values(network.receptive_fields)) {
    for (const [i, number] of (bySource[name] ?? []).entries()) {
      const axis = network.axes[number];
      for (const unit of [0, axis.runs.length - 1]) {
        const ends = withPadding(axis, unit);
        if (ends) most = Math.max(most, -ends[0], ends[1] - [height, width][i] + 1);
      }
    }
  }
  return most;
}

class Overview {
  constructor(app) {
    this.app = app;
    this.t = app.translate(OVERVIEW_MESSAGES);
    this.palettes = new Palettes(app.data.colors);
    this.number = app.state.get("model");
    this.model = app.models[this.number];
    this.receptiveFields = this.model.receptiveFields;
    this.arrangement = this.model.data.receptive_fields.arrangement;
    this.cards = new Map();
    this.seen = new IntersectionObserver((entries) => this.#cardsMoved(entries), { rootMargin: "200px" });
    for (const [name, shape] of this.receptiveFields.shapes) this.cards.set(name, this.#card(name, shape));
    this.readout = { title: h("b", {}), text: h("span", {}) };
    this.flow = h("div", { class: "layer-flow" });
    rove(this.flow); // the buttons that fold blocks
    const line = h("p", { class: "unit-line" }, this.readout.title, this.readout.text);
    this.element = h("div", { class: "overview" }, this.#controls(), line, this.flow);
    this.#layOut();
    this.#listen();
    this.#sort();
    this.#paint();
    this.#mark();
  }

  // Layout

  #controls() {
    const { state } = this.app;
    const strongest = h("input", {
      type: "checkbox",
      id: "strongest",
      checked: state.get("strongest"),
      onchange: (event) => state.set({ strongest: event.target.checked }),
    });
    const joins = joinsOf(this.arrangement);
    const all = joins.length
      ? h("button", { type: "button", id: "fold-all", onclick: () => this.#foldAll(joins) }, "")
      : null;
    this.foldButton = all;
    return toolbar(
      this.t("controls"),
      "control overview-controls",
      this.app.models.length > 1 ? this.#modelChoice() : null,
      h("label", {}, strongest, " ", this.t("strongest")),
      all,
    );
  }

  #modelChoice() {
    const { state, models } = this.app;
    const choices = models.map((model, number) =>
      h(
        "label",
        {},
        h("input", {
          type: "radio",
          name: "model",
          id: `model-${number}`,
          value: number,
          checked: number === this.number,
          onchange: () => state.set({ model: number, unit: null, hover: null }),
        }),
        ` ${model.label}`,
      ),
    );
    return h("fieldset", { class: "choice" }, h("legend", {}, this.t("compared")), choices);
  }

  #foldAll(joins) {
    const folded = this.#folded();
    this.#setFolded(folded.size ? new Set() : new Set(joins));
  }

  /** The joins of the folded blocks of the network shown. */
  #folded() {
    const stored = this.app.state.get("folded")[this.number];
    if (stored) return stored;
    const joins = joinsOf(this.arrangement);
    return new Set(layersOf(this.arrangement).length > MOST_UNFOLDED ? joins : []);
  }

  #setFolded(folded) {
    const { state } = this.app;
    state.set({ folded: { ...state.get("folded"), [this.number]: folded } });
  }

  #layOut() {
    const folded = this.#folded();
    const visible = new Set(["input", ...visibleLayers(this.arrangement, folded)]);
    for (const [name, card] of this.cards) {
      card.shown = visible.has(name);
      card.inView = card.shown; // until the observer says where it is: the first frame has its values
    }
    this.visible = [...this.cards.keys()].filter((name) => visible.has(name));
    this.flow.replaceChildren(this.cards.get("input").element, ...this.#placed(this.arrangement, folded, null));
    if (this.foldButton) this.foldButton.textContent = this.t(folded.size ? "unfold" : "fold");
    this.#giveTabStop(this.visible.includes(this.tabStop) ? this.tabStop : this.visible[1]);
  }

  /** The elements of some items of the arrangement, which are in a block with a name, or in none. */
  #placed(items, folded, inside) {
    const place = (name, block) => {
      const { element, title } = this.cards.get(name);
      title.textContent = block && name.startsWith(`${block}.`) ? name.slice(block.length + 1) : name;
      return element;
    };
    return items.map((item) => {
      if (typeof item === "string") return place(item, inside);
      const block = blockName(item.join) ?? item.join;
      const count = item.paths.flatMap(layersOf).length + 1;
      const isFolded = folded.has(item.join);
      const join = place(item.join, block);
      const label = this.t(isFolded ? "unfoldBlock" : "foldBlock", { block, count });
      const button = h(
        "button",
        {
          type: "button",
          class: "fold",
          id: `fold-${item.join}`,
          "aria-expanded": String(!isFolded),
          "aria-label": label,
          title: label,
          onclick: () => {
            const next = new Set(folded);
            if (isFolded) next.delete(item.join);
            else next.add(item.join);
            this.#setFolded(next);
          },
        },
        h("span", { "aria-hidden": "true" }, isFolded ? "▸ " : "▾ "),
        block,
        isFolded ? h("span", { class: "type" }, ` ${this.t("layers", { count })}`) : null,
      );
      if (isFolded) return h("div", { class: "block folded" }, button, join);
      const paths = item.paths.map((path) =>
        h(
          "div",
          { class: "path" },
          path.length ? this.#placed(path, folded, block) : h("span", { class: "identity" }, "identity"),
        ),
      );
      return h(
        "div",
        { class: "block", role: "group", "aria-label": block },
        button,
        h("div", { class: "joined" }, h("div", { class: "paths" }, paths), join),
      );
    });
  }

  #card(name, shape) {
    const isInput = name === "input";
    const margin = shape.length === 3 ? paddingAround(this.receptiveFields.network, name, shape.slice(1)) : 0;
    this.inColor = this.receptiveFields.shapes.get("input")[0] === 3;
    const layout = isInput
      ? tileLayout(this.inColor ? [1, ...shape.slice(1)] : shape, { margin, side: 120, widestGap: 16 })
      : tileLayout(shape, { margin });
    const sheet = new TileSheet(layout);
    const layer = this.receptiveFields.layers.get(name);
    const type = layer?.type ?? "";
    const label = this.t(isInput ? "inputSheet" : "sheet", { layer: name, type, shape: shape.join(" x ") });
    const box = h(
      "div",
      { class: "sheet-box", role: "application", tabindex: "-1", "aria-label": label + this.t("keys") },
      sheet.element,
    );
    const low = h("span", { class: "low" });
    const bar = h("span", { class: "bar" });
    const high = h("span", { class: "high" });
    const title = h("b", {}, isInput ? this.t("input") : name);
    const caption = h(
      "figcaption",
      { title: name },
      title,
      h("span", { class: "type" }, type && !name.includes(type) ? `${type} ` : "", shape.join("x")),
      layer?.skip_from ? h("span", { class: "type" }, this.t("joined", { layer: layer.skip_from })) : null,
    );
    const legend = isInput ? null : h("p", { class: "legend" }, low, bar, high);
    const element = h("figure", { class: "layer-card", "data-layer": name }, caption, box, legend);
    const card = { name, title, shape, sheet, box, element, low, bar, high, signed: null, dirty: true, shown: true };
    card.cursor = shape.length === 3 ? [0, shape[1] >> 1, shape[2] >> 1] : [0, null, null];
    this.#listenToCard(card);
    this.seen.observe(element);
    return card;
  }

  // Pointing and keys

  #listenToCard(card) {
    const { state } = this.app;
    const unitUnder = (event, options) => {
      const unit = card.sheet.unitAt(event, options);
      return unit && this.#unit(card.name, unit);
    };
    const point = (unit) => {
      if (!sameUnit(unit, state.get("hover"))) state.set({ hover: unit });
    };
    card.box.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") point(unitUnder(event));
    });
    card.box.addEventListener("pointerleave", () => point(null));
    card.box.addEventListener("click", (event) => {
      const unit = unitUnder(event, { nearest: true });
      if (unit) this.#select(unit);
    });
    card.box.addEventListener("focus", () => {
      this.#giveTabStop(card.name);
      if (card.box.matches(":focus-visible")) point(this.#unit(card.name, card.cursor));
    });
    card.box.addEventListener("blur", () => point(null));
    card.box.addEventListener("keydown", (event) => this.#handleKey(event, card));
  }

  #unit(layer, [channel, row, column]) {
    return { layer, channel, row, column };
  }

  #select(unit) {
    const card = this.cards.get(unit.layer);
    card.cursor = [unit.channel, unit.row, unit.column];
    if (!sameUnit(unit, this.app.state.get("unit"))) this.app.state.set({ unit });
  }

  /** Only one layer is reached by the Tab key; Shift and arrow keys lead to the others. */
  #giveTabStop(name) {
    this.tabStop = name;
    for (const [each, card] of this.cards) card.box.tabIndex = each === name ? 0 : -1;
  }

  #handleKey(event, card) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { state } = this.app;
    const move = MOVES[event.key];
    if (event.shiftKey && move) {
      const position = this.visible.indexOf(card.name) + move[0] + move[1];
      const next = this.cards.get(this.visible[within(position, this.visible.length)]);
      next.box.focus({ focusVisible: true });
    } else if (move) {
      card.cursor = this.#moved(card, move);
      this.#pointByKey(card);
    } else if (event.key === "PageUp" || event.key === "PageDown") {
      const { channels, isVector } = card.sheet.layout;
      if (isVector) return;
      const slot = within(card.sheet.slots[card.cursor[0]] + (event.key === "PageUp" ? -1 : 1), channels);
      card.cursor = [card.sheet.order[slot], card.cursor[1], card.cursor[2]];
      this.#pointByKey(card);
    } else if (event.key === "Enter" || event.key === " ") {
      this.#select(this.#unit(card.name, card.cursor));
    } else if (event.key === "Escape") {
      state.set({ unit: null, hover: null });
    } else return;
    event.preventDefault();
  }

  #moved(card, [down, right]) {
    const { isVector, width, height, features } = card.sheet.layout;
    const [channel, row, column] = card.cursor;
    if (!isVector) return [channel, within(row + down, height), within(column + right, width)];
    const next = channel + down * width + right;
    return [next >= 0 && next < features ? next : channel, null, null];
  }

  #pointByKey(card) {
    this.app.state.set({ hover: this.#unit(card.name, card.cursor) });
    this.app.announce(this.readout.title.textContent + this.readout.text.textContent);
  }

  #listen() {
    const { state } = this.app;
    const mark = oncePerFrame(() => this.#mark());
    const paint = oncePerFrame(() => this.#paint());
    state.on(["result"], () => {
      for (const card of this.cards.values()) card.dirty = true;
      paint();
    });
    state.on(["hover", "unit"], () => this.#mark());
    state.on(["result"], mark); // the value of the unit
    state.on(["source", "strongest"], () => {
      this.resort = true;
      for (const card of this.cards.values()) card.dirty = true;
      paint();
      mark();
    });
    window.addEventListener("beforeprint", () => this.#paintAll(), { capture: true, signal: state.signal });
    state.on(["folded"], () => {
      const focused = document.activeElement?.id;
      this.#layOut();
      this.#paint();
      this.#mark();
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    });
  }

  #cardsMoved(entries) {
    for (const { target, isIntersecting } of entries) {
      this.cards.get(target.dataset.layer).inView = isIntersecting;
    }
    this.#paint();
    this.#mark();
  }

  // Values

  /** The result of the network shown, or null before the first. */
  get result() {
    return this.app.state.get("result")?.[this.number] ?? null;
  }

  /** The values of a layer; of the input, its levels. */
  #valuesOf(name) {
    return name === "input" ? this.app.state.get("pixels") : this.result?.values.get(name);
  }

  /** Put the channels with the largest mean magnitude first, or in their own order. */
  #sort() {
    const strongest = this.app.state.get("strongest");
    for (const { name, sheet, shape } of this.cards.values()) {
      const values = this.#valuesOf(name);
      const order = Array.from({ length: sheet.layout.channels }, (_, i) => i);
      if (strongest && name !== "input" && shape.length === 3 && values) {
        const size = shape[1] * shape[2];
        const strength = order.map((channel) => {
          let sum = 0;
          for (let i = channel * size; i < (channel + 1) * size; i += 1) sum += Math.abs(values[i]);
          return sum;
        });
        order.sort((a, b) => strength[b] - strength[a]);
      }
      sheet.arrange(order);
    }
  }

  #paint() {
    if (this.resort && this.result) {
      this.resort = false;
      this.#sort();
    }
    for (const card of this.cards.values()) if (card.dirty && card.shown && card.inView) this.#paintCard(card);
  }

  /** Also the layers that are out of sight, for print. */
  #paintAll() {
    const added = [];
    for (const card of this.cards.values()) {
      if (!card.shown) continue;
      if (!card.inView) added.push(card);
      card.inView = true;
      if (card.dirty) this.#paintCard(card);
    }
    // Others keep their borders: Chromium prints what is drawn now as commands, and clearing them would clear the values.
    this.#mark(added.filter(({ sheet }) => !sheet.marked));
  }

  #paintCard(card) {
    const values = this.#valuesOf(card.name);
    if (!values) return;
    card.dirty = false;
    if (card.name === "input") {
      card.sheet.paintImage(values, this.inColor);
      return;
    }
    const range = rangeOf(values);
    card.sheet.paint(values, range, this.palettes);
    setText(card.low, formatNumber(range.low));
    setText(card.high, formatNumber(range.high));
    if (card.signed !== range.signed) {
      card.signed = range.signed;
      const bar = colorBar(this.palettes, range.signed);
      card.bar.replaceWith(bar);
      card.bar = bar;
    }
  }

  // Receptive fields

  /** Borders of what belongs to the unit under the pointer, or else to the selected one, and its line of text. */
  #mark(cards = this.cards.values()) {
    const { state } = this.app;
    const selected = state.get("unit");
    const unit = state.get("hover") ?? selected;
    for (const card of cards) {
      card.sheet.clear();
      if (!card.shown) continue;
      card.element.classList.toggle("chosen", card.name === selected?.layer);
      if (unit && card.name !== unit.layer && card.inView) this.#markCard(card, unit);
      for (const each of [selected, unit]) {
        if (each?.layer === card.name)
          card.sheet.frame([this.#channelOf(card, each), each.row, each.column], "selected");
      }
    }
    const [title, text] = unit ? this.#line(unit) : ["", this.t("hint")];
    setText(this.readout.title, title);
    setText(this.readout.text, text);
    this.readout.text.classList.toggle("hint", !unit);
  }

  /** The tile of a unit: the input in color has one for all its channels. */
  #channelOf(card, { channel }) {
    return card.name === "input" && this.inColor ? 0 : channel;
  }

  #markCard(card, { layer, channel, row, column }) {
    const fromInput = layer === "input";
    const fields = this.receptiveFields;
    if (fromInput) {
      const region = fields.dependentUnits(card.name, layer, [row, column]);
      if (region && card.sheet.layout.isVector) card.sheet.outlineAll("dependent");
      else if (region) card.sheet.outline(region, null, "dependent");
      return;
    }
    const same = unitBeforeFlatten(this.model.network, layer, channel);
    if (same) {
      if (card.name === same.layer) card.sheet.frame([same.channel, same.row, same.column], "receptive-field");
      else this.#markCard(card, same);
      return;
    }
    const region = fields.receptiveField(layer, [row ?? 0, column ?? 0], card.name);
    const seen = this.#channelsSeen(layer, channel);
    if (!region || !seen.has(card.name)) return;
    const channels = card.name === "input" && this.inColor ? null : seen.get(card.name);
    if (!card.sheet.layout.isVector) card.sheet.outline(region, channels, "receptive-field");
    else if (channels) for (const each of channels) card.sheet.frame([each, null, null], "receptive-field");
    else card.sheet.outlineAll("receptive-field");
  }

  /** The channels of earlier layers that a channel depends on, remembered for the last one. */
  #channelsSeen(layer, channel) {
    const key = `${layer} ${channel}`;
    if (this.seenBy?.key !== key) this.seenBy = { key, seen: channelsSeen(this.model.network, layer, channel) };
    return this.seenBy.seen;
  }

  /** A unit and its value, and what it sees. */
  #line(unit) {
    const { t } = this;
    const { layer, channel, row, column } = unit;
    const [, height, width] = this.receptiveFields.shapes.get("input");
    if (layer === "input") {
      const levels = this.#levels(row, column);
      const text = `${t("pixelTitle", { row, column })}${t("colon")}${t("level", { value: levels })}`;
      return [text, ` · ${t("seenBy")}`];
    }
    const shape = this.receptiveFields.shapes.get(layer);
    const values = this.#valuesOf(layer);
    const position = row === null ? channel : (channel * shape[1] + row) * shape[2] + column;
    const title = t(row === null ? "featureTitle" : "unitTitle", { layer, channel, row, column });
    const value = values ? `${t("colon")}${t("value", { value: formatNumber(values[position]) })}` : "";
    const same = unitBeforeFlatten(this.model.network, layer, channel) ?? unit;
    const region = this.receptiveFields.receptiveField(same.layer, [same.row ?? 0, same.column ?? 0], "input");
    return [title + value, ` · ${this.#regionText(region, [height, width])}`];
  }

  #levels(row, column) {
    const [channels, height, width] = this.receptiveFields.shapes.get("input");
    const pixels = this.app.state.get("pixels");
    const levels = Array.from({ length: channels }, (_, i) => pixels[(i * height + row) * width + column]);
    return levels.map((level) => Math.round(level)).join(", ");
  }

  #regionText(region, [height, width]) {
    const { t } = this;
    if (!region) return t("seesNothing");
    const [[top, bottom], [left, right]] = bounds(region);
    const values = { top, bottom, left, right, height: bottom - top + 1, width: right - left + 1 };
    const isAll = values.height === height && values.width === width && !hasGaps(region);
    if (isAll && !region.padded) return t("seesAll");
    const outside = region.padded ? shareOutside(region.padded, [height, width]) : 0;
    const padding = outside > 0 ? t("padding", { share: formatPercent(outside, 0) }) : "";
    return t("sees", values) + (hasGaps(region) ? t("gaps") : "") + padding;
  }
}

export function overviewPart(app) {
  const box = h("div", {});
  const show = () => box.replaceChildren(new Overview(app).element);
  show();
  return box;
}
