// The logits before and after the edits, side by side.

import { softmax } from "../engine/network.js";
import { h, scrollable, svg } from "../shared/dom.js";
import { formatPercent } from "../shared/numbers.js";

const MOST_ROWS = 10;
const [BAR_WIDTH, BAR_HEIGHT] = [120, 22];

const formatLogit = (value) => value.toFixed(3).replace("-", "−");

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
    this.element = h("div", {}, h("h3", {}, t("logits")), this.answers, scrollable(t("logits"), table), this.rest);
    this.before = null;
    const { state } = app;
    state.on(["result", "model", "step"], () => this.update());
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
    this.body.replaceChildren(
      ...order.map((i) =>
        h(
          "tr",
          {},
          h("th", { scope: "row", title: classes[i] }, classes[i]),
          h("td", { class: answers[0] === i ? "largest" : null }, formatLogit(before[i])),
          h("td", { class: answers[1] === i ? "largest" : null }, formatLogit(after[i])),
          h("td", {}, formatLogit(after[i] - before[i])),
          h("td", { class: "bars" }, logitBars(before[i] / limit, after[i] / limit)),
        ),
      ),
    );
    const named = [before, after].map((logits, which) => {
      const label = answers[which];
      return label < 0 ? "—" : this.t("answer", { name: classes[label], share: formatPercent(softmax(logits)[label]) });
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

/** Two bars from the middle, the first above the second; shares of the half width, -1 to 1. */
function logitBars(before, after) {
  const middle = BAR_WIDTH / 2;
  const bar = (share, y, name) => {
    const width = Math.min(1, Math.abs(share)) * middle || 0;
    return svg("rect", { class: name, x: share < 0 ? middle - width : middle, y, width, height: BAR_HEIGHT / 2 - 2 });
  };
  return svg(
    "svg",
    {
      viewBox: `0 0 ${BAR_WIDTH} ${BAR_HEIGHT}`,
      preserveAspectRatio: "none",
      height: BAR_HEIGHT,
      "aria-hidden": "true",
    },
    bar(before, 1, "before"),
    bar(after, BAR_HEIGHT / 2 + 1, "after"),
    svg("line", { x1: middle, x2: middle, y1: 0, y2: BAR_HEIGHT }),
  );
}
