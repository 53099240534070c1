// What is lit, in words.

const HELP = "Point at a unit of a layer, or tap it, to see which pixels and which units before it lead to it. " +
  "A pixel of the input shows which units see it. By keyboard: Tab to a layer, arrow keys to a unit, " +
  "page keys for the channel, Escape to let go.";

class Reading {
  /** @param drawing whose chosen unit is read out. */
  constructor(drawing) {
    this.drawing = drawing;
    this.title = h("p", { class: "reading-title" });
    this.lines = h("div", { class: "reading-lines" });
    this.between = h("ul", { class: "reading-between" });
    this.element = h("div", { class: "reading" },
      h("div", { "aria-live": "polite", "aria-atomic": "true" }, this.title, this.lines), this.between);
  }

  /** Say what was chosen and what is lit: name -> runs of rows and columns. */
  say(chosen, lit) {
    if (!chosen) {
      this.title.textContent = "Choose a unit";
      this.lines.replaceChildren(h("p", {}, HELP));
      this.between.replaceChildren();
      return;
    }
    const { layer, unit } = chosen;
    const { fields } = this.drawing;
    const kind = layer === "input" ? "pixel" : "unit";
    const place = fields.hasPositions(layer) ? `, ${kind} ${unit.join(",")}` : "";
    this.title.textContent = `${layer}${place}${this.valueAt(chosen)}`;
    const lines = layer === "input" ? ["is seen by the units in blue"] : this.fieldInWords(layer, lit.get("input"));
    this.lines.replaceChildren(...lines.map((line) => h("p", {}, line)));
    const others = [...lit].filter(([name]) => name !== "input");
    this.between.replaceChildren(...others.map(([name, seen]) => h("li", {}, h("b", {}, name),
      ` ${fields.hasPositions(name) ? litInWords(seen) : "whole"}`)));
  }

  /** What a unit sees of the input, in the words of `cnncli inspect --unit`. */
  fieldInWords(layer, seen) {
    const { fields, network } = this.drawing;
    const { unknown } = fields.layers.get(layer);
    if (unknown) return [`what it sees is not known: ${unknown}`];
    if (!seen) return ["sees no pixel of the input"];
    const lines = [`inside the image: ${rectangle([span(seen.rows), span(seen.columns)])}`];
    if (holes(seen)) lines.push("not every pixel of that: those between are passed over");
    if (seen.padded) {
      lines.push(`with padding: ${rectangle(seen.padded)}`);
      lines.push(`padding: ${(100 * outside(seen.padded, network.input.slice(1))).toFixed(1)}% of that`);
    } else lines.push("with padding: not one rectangle that a formula gives");
    return lines;
  }

  /** `: 0.731 in channel 2`, if there are numbers. */
  valueAt({ layer, unit: [row, column], cell }) {
    const { maps, probe, cards, network, classes } = this.drawing;
    if (!maps) return "";
    if (layer === "input") return `: level ${maps.pixel(probe, row, column).join(", ")} of 255`;
    const values = maps.of(layer, probe);
    const card = cards.get(layer);
    if (!values.length) return "";
    if (card.positions) {
      const value = values[(card.channel * card.grid.height + row) * card.grid.width + column];
      return `: ${short(value)} in channel ${card.channel}`;
    }
    const place = cell[0] * card.across + cell[1];
    if (place >= values.length) return "";
    const last = network.layers.at(-1).name === layer;
    const named = last ? ` (${classes[place]}, ${percent(maps.probes[probe].probabilities[place])})` : "";
    return `: ${short(values[place])} in feature ${place}${named}`;
  }
}

function litInWords(seen) {
  return rectangle([span(seen.rows), span(seen.columns)]) + (holes(seen) ? ", with gaps" : "");
}
