// The selected unit and its receptive field as text.

import { h } from "../shared/dom.js";
import { formatNumber, formatPercent } from "../shared/numbers.js";
import { bounds, formatRectangle, hasGaps, shareOutside } from "../shared/receptive-fields.js";

const HELP =
  "Point at a unit, or tap it, to see the pixels and the units of earlier layers in its receptive field. " +
  "Point at a pixel of the input to see which units depend on it. " +
  "Keyboard: Tab moves to a layer, arrow keys select a unit, Page Up and Page Down change the channel, " +
  "Escape clears the selection.";

export class UnitReadout {
  /** @param view the network view whose selection is described. */
  constructor(view) {
    this.view = view;
    this.title = h("p", { class: "readout-title" });
    this.lines = h("div", { class: "readout-lines" });
    this.layers = h("ul", { class: "readout-layers" });
    const live = { "aria-live": "polite", "aria-atomic": "true" };
    this.element = h("div", { class: "unit-readout" }, h("div", live, this.title, this.lines), this.layers);
  }

  /** Describe the selected unit and the highlighted regions, a map from layers to runs of rows and columns. */
  update(selected, regions) {
    if (!selected) {
      this.title.textContent = "Select a unit";
      this.lines.replaceChildren(h("p", {}, HELP));
      this.layers.replaceChildren();
      return;
    }
    const { layer, unit } = selected;
    const { receptiveFields } = this.view;
    const isInput = layer === "input";
    const position = receptiveFields.hasPositions(layer) ? `, ${isInput ? "pixel" : "unit"} ${unit.join(",")}` : "";
    this.title.textContent = `${layer}${position}${this.value(selected)}`;
    const lines = isInput ? ["The units in blue depend on this pixel."] : this.describe(layer, regions.get("input"));
    this.lines.replaceChildren(...lines.map((line) => h("p", {}, line)));
    const others = [...regions].filter(([name]) => name !== "input");
    const text = (name, region) => (receptiveFields.hasPositions(name) ? describeRegion(region) : "all");
    this.layers.replaceChildren(
      ...others.map(([name, region]) => h("li", {}, h("b", {}, name), ` ${text(name, region)}`)),
    );
  }

  /** The receptive field of a unit on the input, in the words of `cnncli inspect`. */
  describe(layer, region) {
    const { receptiveFields, network } = this.view;
    const { unknown } = receptiveFields.layers.get(layer);
    if (unknown) return [`receptive field unknown: ${unknown}`];
    if (!region) return ["depends on no pixel of the input"];
    const lines = [`inside the image: ${formatRectangle(bounds(region))}`];
    if (hasGaps(region)) lines.push("with gaps: it does not read every pixel in between");
    if (region.padded) {
      lines.push(`with padding: ${formatRectangle(region.padded)}`);
      lines.push(`padding: ${(100 * shareOutside(region.padded, network.input.slice(1))).toFixed(1)}% of that`);
    } else lines.push("with padding: not a single rectangle");
    return lines;
  }

  /** `: 0.731 in channel 2`, or nothing where there are no values. */
  value({ layer, unit: [row, column], cell }) {
    const { featureMaps, probe, cards, network, classes } = this.view;
    if (!featureMaps) return "";
    if (layer === "input") return `: level ${featureMaps.pixel(probe, row, column).join(", ")} of 255`;
    const values = featureMaps.values(layer, probe);
    const card = cards.get(layer);
    if (!values.length) return "";
    if (card.hasPositions) {
      const value = values[(card.channel * card.grid.height + row) * card.grid.width + column];
      return `: ${formatNumber(value)} in channel ${card.channel}`;
    }
    const feature = cell[0] * card.grid.width + cell[1];
    if (feature >= values.length) return "";
    const isLast = network.layers.at(-1).name === layer;
    const probability = featureMaps.probes[probe].probabilities[feature];
    const answer = isLast ? ` (${classes[feature]}, ${formatPercent(probability)})` : "";
    return `: ${formatNumber(values[feature])} in feature ${feature}${answer}`;
  }
}

function describeRegion(region) {
  return formatRectangle(bounds(region)) + (hasGaps(region) ? ", with gaps" : "");
}
