// The layer table of `cnncli inspect`, with its hints.

import { definitions, h, scrollable, section } from "../shared/dom.js";

const COLUMNS = [
  ["k/s/p/d", "kernel, stride, padding, dilation"],
  ["RF", "receptive field: pixels of the input from the first to the last that a unit depends on; all: every pixel"],
  ["jump", "pixels of the input from one unit to the next"],
  ["%", "share of the input's area that the receptive field of a unit spans"],
  ["MACs", "multiply-accumulates for one image, without the bias; FLOPs are twice as many"],
  ["start, center", "of the receptive field of unit 0, in pixels; padding: how far it extends beyond the image"],
  ["smallest", "the receptive field over the path where it is smallest"],
];

export function layersSection({ table }) {
  const cells = (texts, tag) =>
    texts.map((text, i) => {
      const { numeric, wide } = table.columns[i];
      const classes = [numeric ? "number" : "", wide ? "wide" : ""].join(" ").trim();
      if (i === 0 && tag === "td") return h("th", { scope: "row" }, text);
      return h(tag, { class: classes || null, scope: tag === "th" ? "col" : null }, text);
    });
  const headings = table.columns.map((column) => column.heading);
  const input = headings.map((heading) => ({ layer: "input", output: table.input })[heading] ?? "");
  const grid = h(
    "table",
    { class: "layers" },
    h("thead", {}, h("tr", {}, cells(headings, "th"))),
    h(
      "tbody",
      {},
      [input, ...table.rows].map((row) => h("tr", {}, cells(row, "td"))),
    ),
    h("tfoot", {}, h("tr", {}, cells(table.totals, "td"))),
  );
  const all = h("input", { type: "checkbox", id: "wide", onchange: () => grid.classList.toggle("all", all.checked) });
  const memory = Object.entries(table.memory)
    .map(([name, size]) => `${name} ${size}`)
    .join("; ");
  return section(
    "layers",
    "Layers",
    null,
    h("p", { class: "control" }, all, h("label", { for: "wide" }, "All columns")),
    scrollable("layer table", grid),
    h("p", { class: "intro" }, `Memory: ${memory}`),
    table.notes.map((note) => h("p", { class: "intro" }, note)),
    table.hints.length ? hints(table.hints) : null,
    h("details", {}, h("summary", {}, "Columns explained"), definitions(COLUMNS)),
  );
}

function hints(all) {
  const consider = (hint) => (hint.consider ? h("span", { class: "consider" }, ` Consider ${hint.consider}.`) : null);
  const items = all.map((hint) => h("li", {}, h("b", {}, hint.name), ` ${hint.layer}: ${hint.says}.`, consider(hint)));
  return h("div", { class: "hints" }, h("h3", {}, "Hints"), h("ul", {}, items));
}
