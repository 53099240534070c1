// The logits before and after the edits, side by side.

import { softmax } from "../engine/network.js";
import { h, scrollable, setText, svg } from "../shared/dom.js";
import { formatPercent } from "../shared/numbers.js";
import { shorten } from "../shared/text.js";
import { updatesInSight } from "./sight.js";

const MOST_ROWS = 10;
const LETTERS = 13; // of a name
const [BAR_WIDTH, BAR_HEIGHT] = [120, 22];

const formatLogit = (value) => value.toFixed(3);

/** The position of the largest number. */
const largest = (values) => values.indexOf(values.reduce((a, b) => Math.max(a, b)));

export class EditedLogits {
  constructor(app, t) {
    this.app = app;
    this.t = t;
    this.body = h("tbody");
    const [before, after] = [t("before"), t("after")];
    const heads = [t("class"), before, after, t("change")].map((text) => h("th", { scope: "col" }, text));
    const swatch = (name) => h("span", { class: `edit-swatch ${name}`, "aria-hidden": "true" });
    const bars = h("th", { class: "bars" }, swatch("before"), ` ${before} `, swatch("after"), ` ${after}`);
    const table = h("table", { class: "numbers edited-logits" }, h("thead", {}, h("tr", {}, heads, bars)), this.body);
    this.answers = h("p", { class: "what-if-answers" });
    this.rest = h("p", { class: "muted" });
    const scrolled = scrollable(t("logits"), table, t("scroll"));
    this.element = h("div", {}, h("h3", {}, t("logits")), this.answers, scrolled, this.rest);
    this.before = null;
    this.rows = [];
    const { state } = app;
    state.on(
      ["result", "model", "step"],
      updatesInSight(this.element, () => this.update(), state),
    );
    state.on(["edits"], () => {
      this.announces = true;
    });
    this.update();
  }

  get edited() {
    const { state } = this.app;
    return state.get("edits").some(({ model = 0 }) => model === state.get("model"));
  }

  /** Get the logits without edits, at most one request at a time, and show both. */
  async update() {
    const { state, client } = this.app;
    const result = state.get("result");
    if (!result) return;
    const model = state.get("model");
    const { logits } = result[model];
    if (!this.edited) {
      this.show(logits, logits);
      return;
    }
    if (this.asked) {
      this.again = true;
      return;
    }
    this.asked = true;
    try {
      const before = await client.task("logits", { model, pixels: state.get("pixels").slice() });
      this.show(before, logits);
    } finally {
      this.asked = false;
    }
    if (this.again) {
      this.again = false;
      this.update();
    }
  }

  show(before, after) {
    const { classes } = this.app.models[this.app.state.get("model")].data.model;
    const order = Array.from(after.keys());
    if (classes.length > MOST_ROWS) {
      const size = (i) => Math.max(before[i], after[i]);
      order.sort((a, b) => size(b) - size(a)).splice(MOST_ROWS);
    }
    const limit = Math.max(1e-9, ...[...before, ...after].map(Math.abs).filter(Number.isFinite));
    const answers = [largest(before), largest(after)];
    if (this.rows.length !== order.length) {
      this.rows = order.map(logitRow);
      this.body.replaceChildren(...this.rows.map(({ element }) => element));
    }
    this.rows.forEach(({ name, numbers, bars }, row) => {
      const i = order[row];
      setText(name, shorten(classes[i], LETTERS));
      name.title = classes[i];
      numbers.forEach((cell, column) => {
        setText(cell, formatLogit([before[i], after[i], after[i] - before[i]][column]));
        cell.classList.toggle("largest", answers[column] === i);
      });
      bars.forEach((bar, which) => {
        placeBar(bar, (which ? after : before)[i] / limit);
      });
    });
    const named = [before, after].map((logits, which) => {
      const label = answers[which];
      return label < 0
        ? "—"
        : this.t("answer", { name: classes[label], share: formatPercent(softmax(logits)[label], 2) });
    });
    this.answers.textContent = this.t("answers", { before: named[0], after: named[1] });
    this.rest.textContent =
      order.length < classes.length ? this.t("others", { count: order.length, all: classes.length }) : "";
    if (this.announces) {
      this.announces = false;
      this.app.announce(this.answers.textContent);
    }
  }
}

/** A row of the table: cells for the numbers, and two bars from the middle, the first above the second. */
function logitRow() {
  const name = h("th", { scope: "row" });
  const numbers = [h("td", {}), h("td", {}), h("td", {})];
  const bars = ["before", "after"].map((kind, i) =>
    svg("rect", { class: kind, y: 1 + (i * BAR_HEIGHT) / 2, height: BAR_HEIGHT / 2 - 2 }),
  );
  const middle = svg("line", { x1: BAR_WIDTH / 2, x2: BAR_WIDTH / 2, y1: 0, y2: BAR_HEIGHT });
  const size = { viewBox: `0 0 ${BAR_WIDTH} ${BAR_HEIGHT}`, preserveAspectRatio: "none", height: BAR_HEIGHT };
  const picture = svg("svg", { ...size, "aria-hidden": "true" }, ...bars, middle);
  return { element: h("tr", {}, name, numbers, h("td", { class: "bars" }, picture)), name, numbers, bars };
}

/** Give a bar its length: a share of the half width, -1 to 1. */
function placeBar(bar, share) {
  const middle = BAR_WIDTH / 2;
  const width = Math.min(1, Math.abs(share)) * middle || 0;
  bar.setAttribute("x", share < 0 ? middle - width : middle);
  bar.setAttribute("width", width);
}
