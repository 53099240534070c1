// The inputs that contribute most to a unit, as a list that leads back to them, and as products in the maps before.

import { mapsBehind } from "../engine/unit.js";
import { h, setText } from "../shared/dom.js";
import { formatNumber } from "../shared/numbers.js";
import { colorBar, rangeOf } from "../shared/palette.js";
import { rove } from "../shared/roving.js";
import { TileSheet, tileLayout } from "./tile-sheet.js";
import { fixedNumber } from "./unit-numbers.js";
import { bySum } from "./unit-patches.js";

const MOST_TERMS = 10;
const MAP_SIDE = 56; // px
const WIDEST_SHEET = 300; // px, each of three side by side
const POOL_SIDE = 200; // px

/** Numbers from the largest magnitude to the smallest, the first `most` of them, by their places. */
function largestPlaces(numbers, most) {
  const places = Array.from(numbers.keys());
  return places.sort((a, b) => Math.abs(numbers[b]) - Math.abs(numbers[a]) || a - b).slice(0, most);
}

export class UnitTerms {
  /** @param select is called with the {layer, index} of a unit that was clicked. */
  constructor(t, select) {
    Object.assign(this, { t, select, maps: null, mapsKey: null });
    this.intro = h("p", { class: "intro" });
    this.rows = Array.from({ length: MOST_TERMS }, () => this.#row());
    this.otherName = h("th", { scope: "row" });
    this.otherSum = h("td", {});
    this.others = h("tr", { class: "others" }, this.otherName, h("td", {}), h("td", {}), this.otherSum, h("td", {}));
    const heads = ["termInput", "termValue", "termWeight", "termProduct"];
    this.table = h(
      "table",
      { class: "terms" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((key) => h("th", { scope: "col" }, t(key))),
          h("td", {}),
        ),
      ),
      h(
        "tbody",
        {},
        this.rows.map(({ element }) => element),
        this.others,
      ),
    );
    this.heading = h("h3", {}, t("termsHeading"));
    this.mapsBox = h("div", { class: "product-maps" });
    rove(this.table);
    const scroller = h("div", { class: "scroller" }, this.table);
    this.element = h("div", { class: "unit-terms" }, this.heading, this.intro, scroller, this.mapsBox);
  }

  update(view) {
    const { trace } = view;
    this.view = view;
    this.element.hidden = trace.patches.length > 0 && !view.isLargePool;
    if (this.element.hidden) return;
    this.#updateTable(trace.terms);
    this.#updateMaps();
  }

  #row() {
    const button = h("button", { type: "button", class: "to-unit" });
    const cells = [h("td", {}), h("td", {}), h("td", {})];
    const bar = h("span", { class: "sum-bar", "aria-hidden": "true" });
    const element = h("tr", {}, h("th", { scope: "row" }, button), cells, h("td", { class: "bar-cell" }, bar));
    const row = { element, button, cells, bar, target: null };
    button.addEventListener("click", () => this.select(row.target));
    return row;
  }

  #updateTable(terms) {
    const { t, view } = this;
    const products = terms.map(({ product }) => product);
    const places = largestPlaces(products, MOST_TERMS);
    const largest = Math.abs(products[places[0]] ?? 0);
    const intro = terms.length > MOST_TERMS ? "termsIntro" : terms.length ? "termsOne" : "termsNone";
    setText(this.intro, t(intro));
    this.rows.forEach((row, i) => {
      row.element.hidden = i >= places.length;
      if (row.element.hidden) return;
      const { source, index, value, weight, product } = terms[places[i]];
      row.target = view.originOf(view.trace.inputs[source].name, index);
      setText(row.button, view.fullName(row.target.layer, row.target.index));
      [value, weight, product].forEach((number, j) => {
        setText(row.cells[j], fixedNumber(number, view.decimals));
      });
      row.bar.style.width = `${largest ? (100 * Math.abs(product)) / largest : 0}%`;
      row.bar.classList.toggle("negative", product < 0);
    });
    const shown = new Set(places);
    const rest = products.filter((_, i) => !shown.has(i));
    this.others.hidden = !rest.length;
    setText(this.otherName, t("termOthers", { count: rest.length }));
    const sum = rest.reduce((total, each) => total + each, 0);
    setText(this.otherSum, fixedNumber(sum, view.decimals));
  }

  // Maps

  #updateMaps() {
    const { view } = this;
    const [x] = view.trace.inputs;
    if (view.isLargePool) this.#poolMap(view.trace.patches[0]);
    else if (view.trace.stages[0].of === "products") {
      const behind = mapsBehind(view.network, x.name);
      if (behind) this.#productMaps(behind);
      else this.#noMaps();
    } else this.#noMaps();
  }

  #noMaps() {
    this.mapsKey = null;
    this.mapsBox.replaceChildren();
  }

  /** Values, weights and products of a linear layer, laid out as the maps that were flattened. */
  #productMaps(layer) {
    const { t, view } = this;
    const shape = view.network.shapeOf(layer);
    const [channels, height, width] = shape;
    if (height * width === 1) {
      this.#noMaps();
      return;
    }
    const key = `maps ${view.number} ${layer}`;
    if (key !== this.mapsKey) {
      this.mapsKey = key;
      const room = this.element.clientWidth || Math.min(innerWidth - 40, 560); // before it is in the page
      const layout = tileLayout(shape, { side: MAP_SIDE, most: Math.min(WIDEST_SHEET, room / 3 - 36) });
      this.maps = ["mapsValues", "mapsWeights", "mapsProducts"].map((name) => this.#sheet(t(name), layout));
      this.mapsIntro = h("p", { class: "intro" });
      const operators = ["", "×", "="];
      this.mapsBox.replaceChildren(
        this.mapsIntro,
        h(
          "div",
          { class: "map-row" },
          this.maps.flatMap(({ element }, i) => [
            operators[i] ? h("span", { class: "operator", "aria-hidden": "true" }, operators[i]) : null,
            element,
          ]),
        ),
      );
      for (const { sheet } of this.maps) {
        sheet.element.addEventListener("click", (event) => {
          const index = sheet.unitAt(event);
          if (index) this.select(this.view.originOf(layer, index));
        });
      }
    }
    setText(this.mapsIntro, t("mapsIntro", { layer: view.nameOf(layer) }));
    const { terms } = view.trace;
    const lists = ["value", "weight", "product"].map((name) => Float64Array.from(terms, (each) => each[name]));
    const totals = Array.from({ length: channels }, (_, channel) => {
      let total = 0;
      for (let i = channel * height * width; i < (channel + 1) * height * width; i += 1) total += lists[2][i];
      return total;
    });
    const order = bySum(totals);
    this.maps.forEach((map, i) => {
      map.sheet.arrange(order);
      this.#paint(map, lists[i]);
    });
  }

  /** The map under a global pool; of the largest value, its place. */
  #poolMap({ rows, columns, values, channel }) {
    const { t, view } = this;
    const key = `pool ${rows.length} ${columns.length}`;
    if (key !== this.mapsKey) {
      this.mapsKey = key;
      const layout = tileLayout([1, rows.length, columns.length], { side: POOL_SIDE });
      this.maps = [this.#sheet(t("patch"), layout)];
      this.mapsBox.replaceChildren(h("div", { class: "map-row" }, this.maps[0].element));
      this.maps[0].sheet.element.addEventListener("click", (event) => {
        const index = this.maps[0].sheet.unitAt(event);
        const patch = this.view.trace.patches[0];
        const place = index && [patch.channel, patch.rows[index[1]], patch.columns[index[2]]];
        if (place) this.select(this.view.originOf(this.view.source, place));
      });
    }
    const [map] = this.maps;
    this.#paint(map, values);
    map.sheet.clear();
    setText(map.caption, t("cardTitle", { layer: view.nameOf(view.source), channel }));
    const { winner } = view;
    if (winner) map.sheet.frame([0, rows.indexOf(winner[1]), columns.indexOf(winner[2])], "selected");
  }

  #sheet(name, layout) {
    const sheet = new TileSheet(layout);
    const caption = h("figcaption", {}, name);
    const [low, high] = [h("span", {}), h("span", {})];
    const bar = h("span", { class: "bar" });
    const element = h("figure", {}, caption, sheet.element, h("p", { class: "cell-legend" }, low, " ", bar, " ", high));
    return { sheet, caption, low, high, bar, element };
  }

  #paint(map, values) {
    const range = rangeOf(values);
    map.sheet.paint(values, range, this.view.palettes);
    setText(map.low, formatNumber(range.low));
    setText(map.high, formatNumber(range.high));
    const bar = colorBar(this.view.palettes, range.signed);
    map.bar.replaceWith(bar);
    map.bar = bar;
  }
}
