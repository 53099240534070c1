// What a unit with a window reads: for each input channel the patch, the kernel, their products and their sum.

import { h, setText } from "../shared/dom.js";
import { formatNumber } from "../shared/numbers.js";
import { colorBar, rangeOf } from "../shared/palette.js";
import { rove } from "../shared/roving.js";
import { commonRange, NumberTable } from "./unit-cells.js";
import { fixedNumber } from "./unit-numbers.js";

const FEW = 8; // channels shown at first
const SMALL = 3; // columns up to which two cards fit side by side
const WIDE = 4; // columns from which numbers have fewer decimals
const WIDE_DECIMALS = 3;

/** Whether positions of a window, null in the padding, follow each other: padding that repeats numbers goes back. */
const isAscending = (positions) => {
  const inside = positions.filter((each) => each !== null);
  return inside.every((each, i) => !i || each > inside[i - 1]);
};

/** Channels by the magnitude of their sums, the largest first. */
export const bySum = (totals) =>
  Array.from(totals.keys()).sort((a, b) => Math.abs(totals[b]) - Math.abs(totals[a]) || a - b);

export class UnitPatches {
  /** @param select is called with the {layer, index} of a unit that was clicked. */
  constructor(t, select) {
    Object.assign(this, { t, select, all: false, key: null, cards: [], order: [] });
    // A region that scrolls has to be reached by the Tab key.
    this.overflow = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        const scrolls = target.scrollWidth > target.clientWidth;
        if (scrolls) target.setAttribute("tabindex", "0");
        else target.removeAttribute("tabindex");
      }
    });
    this.heading = h("h3", {}, "");
    this.intro = h("p", { class: "intro" });
    this.legend = h("p", { class: "cell-legends" });
    this.list = h("ol", { class: "patch-cards" });
    this.rest = h("p", { class: "rest" });
    this.winner = h("button", { type: "button", class: "to-unit", onclick: () => this.#back(this.view.winner) });
    this.more = h("button", { type: "button", onclick: () => this.#toggle() });
    const footer = h("div", { class: "patch-footer" }, this.more, this.rest, this.winner);
    rove(footer);
    this.element = h("div", { class: "unit-patches" }, this.heading, this.intro, this.legend, this.list, footer);
  }

  /** @param resort whether the channels may change places: not while one draws. */
  update(view, resort = true) {
    const { patches } = view.trace;
    this.element.hidden = !patches.length || view.isLargePool;
    if (this.element.hidden) return;
    this.view = view;
    const totals = patches.map(({ total }) => total ?? 0);
    const key = `${view.number} ${view.unit.layer} ${view.unit.channel}`;
    if (resort || key !== this.key || this.order.length !== patches.length) this.order = bySum(totals);
    if (key !== this.key) this.all = false;
    this.key = key;
    const shown = this.order.slice(0, this.all ? patches.length : FEW);
    this.#texts(patches[0]);
    this.#fill(shown);
    this.#footer(patches, totals, shown);
  }

  #toggle() {
    this.all = !this.all;
    this.update(this.view);
  }

  #texts({ kernel }) {
    const { t, view } = this;
    const { source, trace, spec } = view;
    const padded = trace.patches.some(({ rows, columns }) => [...rows, ...columns].includes(null));
    const repeated = trace.patches.some(({ rows, columns }) => !isAscending(rows) || !isAscending(columns));
    const { padding_mode: mode } = spec.operations[0];
    const stage = trace.stages[0];
    setText(this.heading, t(kernel ? "patchesHeading" : "poolHeading"));
    const ofPool = { mean: () => t("poolMean", stage), sum: () => t("poolPowers", trace.stages[1]) };
    const first = kernel ? t("patchesIntro") : (ofPool[stage.kind]?.() ?? t("poolLargest"));
    const normalized = source === "input" ? t("normalizedNote", { level: t("level") }) : "";
    setText(
      this.intro,
      [first, padded ? t("paddingNote") : "", repeated ? t("repeatNote", { mode }) : "", normalized]
        .filter(Boolean)
        .join(" "),
    );
    this.element.dataset.type = spec.type;
  }

  /** One card for each channel shown; the tables are made anew only for another size of window. */
  #fill(shown) {
    const { patches } = this.view.trace;
    const [{ rows, columns, kernel }] = patches;
    const size = `${rows.length} ${columns.length} ${kernel !== null}`;
    if (size !== this.size) {
      this.size = size;
      this.cards = [];
    }
    while (this.cards.length < shown.length)
      this.cards.push(this.#card([rows.length, columns.length], kernel !== null));
    if (this.list.childElementCount !== shown.length || this.list.firstElementChild !== this.cards[0].element) {
      this.list.replaceChildren(...this.cards.slice(0, shown.length).map(({ element }) => element));
    }
    const ranges = this.#ranges();
    const largest = Math.max(...patches.map(({ total }) => Math.abs(total ?? 0)));
    shown.forEach((channel, i) => {
      this.#updateCard(this.cards[i], patches[channel], ranges, largest);
    });
  }

  /** The color scales: of patches that of their layer's tiles, of kernels and products what is in this unit. */
  #ranges() {
    const { patches } = this.view.trace;
    const [x] = this.view.trace.inputs;
    const values = rangeOf(x.values);
    if (!patches[0].kernel) {
      this.#legends([["patch", values]]);
      return { values };
    }
    const kernel = commonRange(patches.map((patch) => patch.kernel));
    const products = commonRange(patches.map((patch) => patch.values.map((value, i) => value * patch.kernel[i])));
    this.#legends([
      ["patch", values],
      ["kernel", kernel],
      ["products", products],
    ]);
    return { values, kernel, products };
  }

  #legends(scales) {
    const { t, view } = this;
    const legends = scales.map(([name, range]) => {
      const isGray = name === "patch" && view.source === "input";
      const [low, high] = isGray ? [0, 255] : [range.low, range.high];
      const bar = colorBar(view.palettes, range.signed);
      if (isGray) bar.style.background = "linear-gradient(to right, #000, #fff)";
      const label = isGray ? `${t(name)}, ${t("level")}` : t(name);
      return h("span", { class: "cell-legend" }, label, " ", formatNumber(low), " ", bar, " ", formatNumber(high));
    });
    this.legend.replaceChildren(...legends);
  }

  #card(size, hasKernel) {
    const patch = new NumberTable(size, true);
    const tables = hasKernel ? { patch, kernel: new NumberTable(size), products: new NumberTable(size) } : { patch };
    const title = h("span", {});
    const extent = h("span", { class: "extent" });
    const bar = h("span", { class: "sum-bar", "aria-hidden": "true" });
    const total = h("b", {});
    const operator = (text) => h("span", { class: "operator", "aria-hidden": "true" }, text);
    const sum = h("p", { class: "card-sum" }, h("span", {}, this.t("patchSum")), total, bar);
    const grids = hasKernel
      ? [patch.element, operator("×"), tables.kernel.element, operator("="), tables.products.element]
      : [patch.element];
    const scroller = h("div", { class: "grids" }, grids, hasKernel ? sum : null);
    const kind = hasKernel && size[1] <= SMALL ? "patch-card small" : "patch-card";
    const element = h("li", { class: kind }, h("h4", {}, title, extent), scroller);
    this.overflow.observe(scroller);
    patch.element.addEventListener("click", (event) => {
      const i = patch.placeOf(event.target);
      const { channel, rows, columns } = card.patch;
      const [row, column] = [rows[Math.floor(i / columns.length)], columns[i % columns.length]];
      if (i >= 0 && row !== null && column !== null) this.#back([channel, row, column]);
    });
    const card = { element, tables, title, extent, total, bar, patch: null };
    return card;
  }

  #updateCard(card, patch, ranges, largest) {
    const { t, view } = this;
    const { rows, columns, values, kernel, total } = patch;
    card.patch = patch;
    const decimals = columns.length > WIDE ? Math.min(WIDE_DECIMALS, view.decimals) : view.decimals;
    const isPadding = (i) => rows[Math.floor(i / columns.length)] === null || columns[i % columns.length] === null;
    const cell = (value, style, kind = "") => ({ text: fixedNumber(value, decimals), style, kind });
    setText(card.title, t("cardTitle", { layer: view.nameOf(view.source), channel: patch.channel }));
    setText(card.extent, this.#extent(rows, columns));
    const winner = kernel ? null : view.winner;
    card.tables.patch.update(
      t("patch"),
      (i) => {
        if (isPadding(i)) return { text: "0", style: null, kind: "padding" };
        const [row, column] = [rows[Math.floor(i / columns.length)], columns[i % columns.length]];
        const isWinner = winner && winner[1] === row && winner[2] === column;
        return cell(
          values[i],
          this.#valueStyle(patch.channel, row, column, values[i], ranges),
          isWinner ? "winner" : "",
        );
      },
      { rows, columns },
    );
    if (!kernel) return;
    card.tables.kernel.update(t("kernel"), (i) => cell(kernel[i], view.styles.of(kernel[i], ranges.kernel)));
    card.tables.products.update(t("products"), (i) => {
      const product = values[i] * kernel[i];
      return isPadding(i)
        ? { text: "0", style: null, kind: "padding" }
        : cell(product, view.styles.of(product, ranges.products));
    });
    setText(card.total, fixedNumber(total, view.decimals));
    card.bar.style.width = `${largest ? (6 * Math.abs(total)) / largest : 0}rem`;
    card.bar.classList.toggle("negative", total < 0);
  }

  /** Cells of the picture are gray as the picture is; others have the color of their tile. */
  #valueStyle(channel, row, column, value, ranges) {
    const { view } = this;
    if (view.source !== "input") return view.styles.of(value, ranges.values);
    const [, height, width] = view.network.model.input;
    return view.styles.ofLevel(view.pixels[(channel * height + row) * width + column]);
  }

  #extent(rows, columns) {
    const inside = [rows, columns].map((axis) => axis.filter((each) => each !== null));
    if (inside.some((axis) => !axis.length)) return this.t("onlyPadding");
    const [inRows, inColumns] = inside.map((axis) =>
      isAscending(axis) ? this.t("extentSpan", { first: axis[0], last: axis.at(-1) }) : axis.join(", "),
    );
    return this.t("extent", { rows: inRows, columns: inColumns });
  }

  #footer(patches, totals, shown) {
    const { t, view } = this;
    this.more.hidden = patches.length <= FEW;
    setText(this.more, this.all ? t("showFew", { count: FEW }) : t("showAll", { count: patches.length }));
    const others = this.order.slice(shown.length);
    const sum = others.reduce((total, channel) => total + totals[channel], 0);
    const { winner } = view;
    this.winner.hidden = !winner;
    setText(this.rest, "");
    if (others.length) {
      setText(this.rest, t("others", { count: others.length, sum: fixedNumber(sum, view.decimals) }));
    } else if (winner) {
      setText(this.rest, t("winner", { value: fixedNumber(view.trace.terms[0].value, view.decimals) }));
      setText(this.winner, view.fullName(view.source, winner));
    }
  }

  /** To the unit that a number of a patch comes from. */
  #back(index) {
    this.select(this.view.originOf(this.view.source, index));
  }
}
