// The drawing of the network: the input and every layer as grids of units, and what a chosen unit sees of them.

const SIDE = 112; // px that a grid takes at most, unless its cells would be less than one
const INPUT_SIDE = 280;
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

class Drawing {
  constructor(data) {
    const { network } = data;
    Object.assign(this, { network, classes: data.classes, colors: data.colors });
    this.fields = new Fields(network);
    this.maps = data.maps ? new Maps(data.maps, this.fields.shapes, data.colors) : null;
    this.probe = 0;
    this.kept = null; // chosen by click, tap or keyboard
    this.hovered = null; // under the mouse
    this.answers = h("ol", { class: "answers", "aria-label": "the likeliest classes" });
    this.cards = new Map();
    for (const name of this.fields.shapes.keys()) this.cards.set(name, this.card(name));
    this.element = this.lay();
    this.paint();
    this.show();
  }

  // Putting it together

  lay() {
    const flow = h("div", { class: "flow" }, this.network.arrangement.map((item) => this.place(item)));
    this.reading = new Reading(this);
    const watch = h("div", { class: "watch" }, this.probeChoice(),
      h("div", { class: "watched" }, this.cards.get("input").element, this.reading.element));
    return h("div", { class: "network" }, watch, flow);
  }

  /** An item of the arrangement: a layer, or paths side by side with the layer that joins them. */
  place(item) {
    if (typeof item === "string") return this.cards.get(item).element;
    const block = item.join.includes(".") ? item.join.replace(/\.[^.]*$/, "") : null;
    const paths = item.paths.map((path) => h("div", { class: "flow path" },
      path.length ? path.map((each) => this.place(each)) : h("span", { class: "identity" }, "identity")));
    return h("div", { class: "fork", role: "group", "aria-label": block },
      block ? h("span", { class: "block" }, block) : null,
      h("div", { class: "joined" }, h("div", { class: "paths" }, paths), this.cards.get(item.join).element));
  }

  probeChoice() {
    if (!this.maps) return null;
    const choices = this.maps.probes.map((probe, i) => {
      const [, height, width] = this.network.input;
      const cell = Math.max(1, Math.round(28 / width));
      const picture = new Grid({ size: [height, width], margin: 0, cell, label: "" });
      picture.paint((row, column) => this.maps.color(i, row, column));
      const radio = h("input", { type: "radio", name: "probe", value: i, checked: i === 0,
        "aria-label": `test image ${probe.number}, class ${this.classes[probe.label]}`,
        onchange: () => { this.probe = i; this.paint(); this.show(); } });
      return h("label", { class: "probe" }, radio, picture.values);
    });
    return h("fieldset", { class: "probes" }, h("legend", {}, "Image"), h("div", { class: "choices" }, choices));
  }

  /** The grid of a layer with its name, its channel and its scale. */
  card(name) {
    const shape = this.fields.shapes.get(name);
    const layer = this.fields.layers.get(name);
    const positions = this.fields.hasPositions(name);
    const across = Math.ceil(Math.sqrt(shape[0]));
    const size = positions ? shape.slice(1) : [Math.ceil(shape[0] / across), across];
    const most = name === "input" ? INPUT_SIDE : SIDE;
    const margin = positions ? this.margin(name, size) : 0;
    const cell = Math.max(1, Math.min(16, Math.floor(most / (Math.max(...size) + 2 * margin))));
    const written = shape.join("x");
    const label = positions
      ? `${name}: ${size[0]} by ${size[1]} units. Arrow keys choose one, page keys the channel.`
      : `${name}: ${shape[0]} features without positions, one unit.`;
    const grid = new Grid({ size, margin, cell, label });
    const card = { name, grid, positions, across, channel: 0, cursor: positions ? size.map((n) => n >> 1) : [0, 0] };
    card.chosen = (cell) => ({ layer: name, unit: positions ? cell : [0, 0], cell });
    card.scale = h("p", { class: "scale" });
    card.channelText = h("span");
    const turn = (by) => h("button", { type: "button", tabindex: "-1", class: "turn",
      "aria-label": `${name}: channel ${by < 0 ? "before" : "after"}`, onclick: () => this.turn(name, by) },
    by < 0 ? "‹" : "›");
    const channels = this.maps && name !== "input" && positions && this.maps.channels(name) > 0;
    card.element = h("figure", { class: "card", "data-layer": name },
      h("figcaption", {}, h("b", {}, shortName(name)), " ",
        h("span", { class: "kind" }, layer && !name.includes(layer.type) ? `${layer.type} ` : "", written)),
      grid.element,
      channels ? h("p", { class: "channel" }, turn(-1), card.channelText, turn(1)) : null, card.scale,
      name === this.network.layers.at(-1).name ? this.answers : null);
    this.listen(card);
    return card;
  }

  /** Cells around a grid for the padding that fields on it reach into, as far as there is room. */
  margin(name, [height, width]) {
    let most = 0;
    for (const seen of Object.values(this.network.seen)) {
      for (const [i, number] of (seen[name] ?? []).entries()) {
        const axis = this.network.axes[number];
        for (const unit of [0, axis.runs.length - 1]) {
          const ends = unclipped(axis, unit);
          if (ends) most = Math.max(most, -ends[0], ends[1] - [height, width][i] + 1);
        }
      }
    }
    return Math.min(most, Math.ceil(Math.max(height, width) / 7));
  }

  // Choosing

  listen(card) {
    const { grid } = card;
    const unit = (event) => {
      const cell = grid.cellAt(event);
      return cell && card.chosen(cell);
    };
    grid.element.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") this.hover(unit(event));
    });
    grid.element.addEventListener("pointerleave", () => this.hover(null));
    grid.element.addEventListener("click", (event) => this.keep(unit(event)));
    grid.element.addEventListener("focus", () => {
      if (grid.element.matches(":focus-visible")) this.keep(card.chosen(card.cursor));
    });
    grid.element.addEventListener("keydown", (event) => this.key(event, card));
  }

  key(event, card) {
    const { grid } = card;
    const [row, column] = card.cursor;
    const [rows, columns] = [grid.height, grid.width];
    let to = null;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) to = [row + ARROWS[event.key][0], column + ARROWS[event.key][1]];
    else if (event.key === "Home") to = event.shiftKey ? [0, 0] : [row, 0];
    else if (event.key === "End") to = event.shiftKey ? [rows - 1, columns - 1] : [row, columns - 1];
    else if (event.key === "PageUp" || event.key === "PageDown") this.turn(card.name, event.key === "PageUp" ? -1 : 1);
    else if (event.key === "Escape") this.keep(null);
    else return;
    event.preventDefault();
    if (to) {
      const within = (value, count) => Math.min(count - 1, Math.max(0, value));
      this.keep(card.chosen([within(to[0], rows), within(to[1], columns)]));
      grid.element.scrollIntoView({ block: "nearest" });
    }
  }

  hover(unit) {
    const same = (a, b) => a === b || (a && b && a.layer === b.layer && String(a.cell) === String(b.cell));
    if (same(unit, this.hovered)) return;
    this.hovered = unit;
    this.show();
  }

  keep(unit) {
    this.kept = unit;
    this.hovered = null;
    if (unit) this.cards.get(unit.layer).cursor = unit.cell;
    this.show();
  }

  turn(name, by) {
    if (!this.maps || name === "input" || !this.fields.hasPositions(name)) return;
    const channels = this.maps.channels(name);
    if (!channels) return;
    const card = this.cards.get(name);
    card.channel = (card.channel + by + channels) % channels;
    this.paintCard(card);
    this.show();
  }

  // Showing

  paint() {
    for (const card of this.cards.values()) this.paintCard(card);
    if (!this.maps) return;
    const answers = this.maps.probes[this.probe].probabilities.map((share, i) => [share, this.classes[i]]);
    const likeliest = answers.sort(([a], [b]) => b - a).slice(0, 3);
    const item = ([share, name]) => h("li", {}, h("b", {}, name), ` ${percent(share)}`);
    this.answers.replaceChildren(...likeliest.map(item));
  }

  paintCard(card) {
    const { name, grid } = card;
    if (!this.maps) return grid.paint(null);
    if (name === "input") return grid.paint((row, column) => this.maps.color(this.probe, row, column));
    const values = this.maps.of(name, this.probe);
    if (!values.length) return grid.paint(null);
    const scale = new Scale(values, this.colors);
    card.scale.replaceChildren(...scale.legend());
    if (!card.positions) {
      return grid.paint((row, column) => {
        const place = row * card.across + column;
        return place < values.length ? scale.color(values[place]) : null;
      });
    }
    const first = card.channel * grid.height * grid.width;
    card.channelText.textContent = `channel ${card.channel}/${this.maps.layers[name].of}`;
    return grid.paint((row, column) => scale.color(values[first + row * grid.width + column]));
  }

  show() {
    const chosen = this.hovered ?? this.kept;
    const pixel = chosen?.layer === "input";
    const lit = new Map();
    for (const [name, card] of this.cards) {
      if (!chosen) card.grid.clear();
      else if (name === chosen.layer) card.grid.choose(chosen.cell);
      else {
        const seen = pixel ? this.fields.seers(name, "input", chosen.unit)
          : this.fields.seen(chosen.layer, chosen.unit, name);
        if (seen) lit.set(name, seen);
        card.grid.show(seen && !card.positions ? wholeOf(card.grid) : seen, pixel ? "seer" : "field");
      }
      card.element.classList.toggle("chosen", name === chosen?.layer);
    }
    this.reading.say(chosen, lit);
  }
}

/** A layer's name in its block; of several paths that are numbered, with its path. */
const shortName = (name) => name.match(/(path\d+\.)?[^.]+$/)[0];

/** All of a grid. */
const wholeOf = (grid) => ({ rows: [0, grid.height - 1], columns: [0, grid.width - 1], padded: null });

function networkSection(data) {
  const drawing = new Drawing(data);
  window.addEventListener("themechange", () => { drawing.paint(); drawing.show(); });
  const unseen = data.untested ? ` Without the maps of a test image: ${data.untested}.` : "";
  return section("network", "What each unit sees",
    "Exact receptive fields, computed from the windows of the layers and not from an image: " +
    `of a unit in orange, hatched where it is padding.${unseen}`, drawing.element);
}
