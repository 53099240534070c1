// The answer: in one line beside the pad, and the logits as bars with the names of the classes and the softmax in numbers.

import { softmax } from "../engine/network.js";
import { h, setText } from "../shared/dom.js";
import { formatPercent } from "../shared/numbers.js";
import { shorten } from "../shared/text.js";
import { LOGITS_MESSAGES } from "./logits-messages.js";
import { updatesInSight } from "./sight.js";
import { oncePerFrame } from "./state.js";

const MOST_CLASSES = 12; // more are sorted, and the first ones shown
const FIRST_CLASSES = 10;
const [ROW_LETTERS, HEADLINE_LETTERS] = [11, 13]; // of a name
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

/** Set a text around a name, which is shortened to `most` letters; all of it is the title. */
function setTitledText(element, name, most, textOf = (each) => each) {
  setText(element, textOf(shorten(name, most)));
  const whole = textOf(name);
  if (element.title !== whole) element.title = whole;
}

/** The answer of a network and whether it is right, in two lines that keep their height whatever they say. */
class Headline {
  constructor(app, number, t) {
    Object.assign(this, { app, number, t });
    this.classes = app.models[number].data.model.classes;
    this.name = h("span", { class: "cut" });
    this.share = h("span", {});
    this.truth = h("span", { class: "cut" });
    this.verdict = h("b", {});
    const point = h("span", { class: "point", "aria-hidden": "true" }, " · ");
    this.judged = h("p", { class: "truth" }, this.truth, point, this.verdict);
    const label = app.models[number].label;
    const isOne = app.models.length === 1;
    this.letters = isOne ? HEADLINE_LETTERS : ROW_LETTERS;
    const name = isOne ? null : h("p", { class: "headline-name", title: label }, label);
    const answer = h("p", { class: "answer" }, this.name, this.share);
    this.element = h("div", { class: isOne ? "headline" : "headline narrow" }, name, answer, this.judged);
  }

  show(logits) {
    const { t, classes } = this;
    const best = bestOf(logits);
    const allFinite = logits.every(Number.isFinite);
    this.name.classList.toggle("tie", !allFinite);
    setTitledText(this.name, allFinite ? classes[best] : t("tie"), allFinite ? this.letters : Number.POSITIVE_INFINITY);
    const share = allFinite ? formatPercent(softmax(logits)[best], 2) : "";
    setText(this.share, allFinite ? t("answer", { name: "", share }) : "");
    this.#showTruth(best);
  }

  #showTruth(best) {
    const label = this.app.state.get("source")?.label;
    const isKnown = label !== undefined && label !== null;
    this.judged.classList.toggle("unknown", !isKnown);
    if (!isKnown) return;
    const right = label === best;
    setTitledText(this.truth, this.classes[label], this.letters, (name) => this.t("truth", { name }));
    this.verdict.classList.toggle("right", right);
    this.verdict.classList.toggle("wrong", !right);
    setText(this.verdict, `${right ? "✓" : "✗"} ${this.t(right ? "right" : "wrong")}`);
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
    const [logit, share] = [h("span", {}), h("span", {})];
    const cells = [h("span", { class: "logit-bars" }, zero, bar), logit, share].map((content) => h("td", {}, content));
    const element = h("tr", {}, h("th", { scope: "row" }, name), cells);
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
      setTitledText(row.name, classes[k], ROW_LETTERS);
      // Only painted anew: another width would lay out the table, and a transform would composite the page again.
      row.bar.style.backgroundSize = `${width}% 100%`;
      row.bar.style.backgroundPosition = `${width < 100 ? (100 * left) / (100 - width) : 0}% 0`;
      row.bar.classList.toggle("negative", logits[k] < 0);
      row.zero.style.backgroundPosition = `${zero}% 0`;
      setText(row.logit, fixed(logits[k]));
      setText(row.share, formatPercent(shares[k], 2));
    });
  }
}

export function logitsPart(app) {
  const { state, models } = app;
  const t = app.translate(LOGITS_MESSAGES);
  const tables = models.map((_, number) => new LogitTable(app, number, t));
  let timer = null;
  let said = "";
  const announce = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const answers = state.get("result").map(({ logits }, i) => {
        const best = bestOf(logits);
        const [name, share] = [tables[i].classes[best], formatPercent(softmax(logits)[best], 2)];
        return t("announced", { run: models[i].label, name, share });
      });
      const text = answers.join(". ");
      if (text !== said) app.announce(text);
      said = text;
    }, QUIET);
  };
  const show = () => {
    const result = state.get("result");
    if (!result) return;
    tables.forEach((table, i) => {
      table.show(result[i].logits);
    });
  };
  const longest = Math.max(...tables.map(({ classes }) => classes.length));
  const all = h("input", {
    type: "checkbox",
    id: "all-classes",
    checked: state.get("allClasses"),
    onchange: (event) => state.set({ allClasses: event.target.checked }),
  });
  const choice = longest > MOST_CLASSES ? h("label", {}, all, ` ${t("all", { count: longest })}`) : null;
  const element = h(
    "div",
    { class: "logit-tables" },
    tables.map((each) => each.element),
    choice,
  );
  state.on(["result"], updatesInSight(element, show, state));
  state.on(["result"], announce);
  show();
  if (state.get("result")) announce();
  return element;
}
