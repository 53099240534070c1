// The answer: in one line beside the pad, and the logits as bars with the names of the classes and the softmax in numbers.

import { softmax } from "../engine/network.js";
import { h } from "../shared/dom.js";
import { formatPercent } from "../shared/numbers.js";
import { LOGITS_MESSAGES } from "./logits-messages.js";
import { oncePerFrame } from "./state.js";

const MOST_CLASSES = 12; // more are sorted, and the first ones shown
const FIRST_CLASSES = 10;
const QUIET = 900; // milliseconds without a new answer before it is announced

/** A number with a fixed count of digits after the point, so that columns stay aligned and nothing moves. */
const fixed = (value) => (Number.isFinite(value) ? value.toFixed(Math.abs(value) >= 1000 ? 0 : 2) : String(value));

/** Left end and width of a bar in percent, where zero lies between the smallest and the largest value. */
export function barOf(value, low, high) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(value)) return { left: 0, width: 0 };
  const [from, to] = [Math.min(0, value), Math.max(0, value)];
  return { left: (100 * (from - low)) / span, width: (100 * (to - from)) / span };
}

/** The class with the largest logit. */
const bestOf = (logits) => logits.reduce((most, each, i) => (each > logits[most] ? i : most), 0);

/** The answer of a network and whether it is right, in two lines that keep their height whatever they say. */
class Headline {
  constructor(app, number, t) {
    Object.assign(this, { app, number, t });
    this.classes = app.models[number].data.model.classes;
    this.answer = h("p", { class: "answer" }, "\u00a0");
    this.truth = h("p", { class: "truth" }, "\u00a0");
    const label = app.models[number].label;
    const name = app.models.length > 1 ? h("p", { class: "headline-name", title: label }, label) : null;
    this.element = h("div", { class: "headline" }, name, this.answer, this.truth);
  }

  show(logits) {
    const { t, classes } = this;
    const best = bestOf(logits);
    if (logits.every(Number.isFinite)) {
      const share = formatPercent(softmax(logits)[best], 2);
      const name = h("span", { class: "cut", title: classes[best] }, classes[best]);
      this.answer.replaceChildren(name, h("span", {}, t("answer", { name: "", share })));
    } else this.answer.replaceChildren(h("span", { class: "cut tie", title: t("tie") }, t("tie")));
    this.#showTruth(best);
  }

  #showTruth(best) {
    const label = this.app.state.get("source")?.label;
    if (label === undefined || label === null) {
      this.truth.textContent = "\u00a0";
      return;
    }
    const right = label === best;
    const text = this.t("truth", { name: this.classes[label] });
    const verdict = `${right ? "✓" : "✗"} ${this.t(right ? "right" : "wrong")}`;
    this.truth.replaceChildren(
      h("span", { class: "cut", title: text }, text),
      h("span", { class: "point", "aria-hidden": "true" }, " · "),
      h("b", { class: right ? "right" : "wrong" }, verdict),
    );
  }
}

/** The answers of all networks, for the top of the input. */
export function headlines(app) {
  const { state, models } = app;
  const t = app.translate(LOGITS_MESSAGES);
  const lines = models.map((_, number) => new Headline(app, number, t));
  const show = () => {
    const result = state.get("result");
    if (!result) return;
    lines.forEach((line, i) => {
      line.show(result[i].logits);
    });
  };
  state.on(["result", "source"], oncePerFrame(show));
  show();
  return h(
    "div",
    { class: "headlines" },
    lines.map(({ element }) => element),
  );
}

class LogitTable {
  constructor(app, number, t) {
    Object.assign(this, { app, number, t });
    this.model = app.models[number];
    this.classes = this.model.data.model.classes;
    this.isLong = this.classes.length > MOST_CLASSES;
    const count = this.isLong && !app.state.get("allClasses") ? FIRST_CLASSES : this.classes.length;
    this.rows = Array.from({ length: count }, () => this.#row());
    const head = ["class", null, "logit", "softmax"].map((key) => (key ? h("th", { scope: "col" }, t(key)) : h("td")));
    const table = h(
      "table",
      { class: "logits", "aria-label": t("table") },
      h("thead", {}, h("tr", {}, head)),
      h(
        "tbody",
        {},
        this.rows.map(({ element }) => element),
      ),
    );
    const title = app.models.length > 1 ? h("h3", {}, this.model.label) : null;
    this.element = h("div", { class: "logit-table" }, title, table);
  }

  #row() {
    const name = h("span", {});
    const bar = h("span", { class: "logit-bar" });
    const zero = h("span", { class: "zero" });
    const logit = h("td", { class: "number" });
    const share = h("td", { class: "number" });
    const cell = h("td", { class: "logit-bars" }, zero, bar);
    const element = h("tr", {}, h("th", { scope: "row" }, name), cell, logit, share);
    return { element, name, bar, zero, logit, share };
  }

  /** The order of the classes: their own, or the largest logit first where there are many. */
  #order(logits) {
    const order = this.classes.map((_, i) => i);
    return this.isLong ? order.sort((a, b) => logits[b] - logits[a]) : order;
  }

  show(logits) {
    const { classes } = this;
    const finite = logits.every(Number.isFinite);
    const shares = softmax(logits);
    const best = bestOf(logits);
    const share = formatPercent(shares[best], 2);
    const [low, high] = [
      Math.min(0, ...logits.filter(Number.isFinite)),
      Math.max(0, ...logits.filter(Number.isFinite)),
    ];
    const order = this.#order(logits);
    const zero = high > low ? (100 * (0 - low)) / (high - low) : 0;
    this.rows.forEach((row, i) => {
      const k = order[i];
      const { left, width } = barOf(logits[k], low, high);
      row.element.classList.toggle("best", k === best && finite);
      row.name.textContent = classes[k];
      row.name.title = classes[k];
      row.bar.style.left = `${left}%`;
      row.bar.style.width = `${width}%`;
      row.bar.classList.toggle("negative", logits[k] < 0);
      row.zero.style.left = `${zero}%`;
      row.logit.textContent = fixed(logits[k]);
      row.share.textContent = formatPercent(shares[k], 2);
    });
    return { name: classes[best], share };
  }
}

export function logitsPart(app) {
  const { state, models } = app;
  const t = app.translate(LOGITS_MESSAGES);
  const tables = models.map((_, number) => new LogitTable(app, number, t));
  let timer = null;
  let said = "";
  const announce = (answers) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const text = answers
        .map(({ name, share }, i) => t("announced", { run: models[i].label, name, share }))
        .join(". ");
      if (text !== said) app.announce(text);
      said = text;
    }, QUIET);
  };
  const show = () => {
    const result = state.get("result");
    if (result) announce(tables.map((table, i) => table.show(result[i].logits)));
  };
  state.on(["result"], oncePerFrame(show));
  show();
  const longest = Math.max(...tables.map(({ classes }) => classes.length));
  const all = h("input", {
    type: "checkbox",
    id: "all-classes",
    checked: state.get("allClasses"),
    onchange: (event) => state.set({ allClasses: event.target.checked }),
  });
  const choice = longest > MOST_CLASSES ? h("label", {}, all, ` ${t("all", { count: longest })}`) : null;
  return h(
    "div",
    { class: "logit-tables" },
    tables.map(({ element }) => element),
    choice,
  );
}
