// The training: a slider over the steps whose weights the run has kept, the answer at each of them, and the metrics.

import { largestOf, Network, softmax } from "../engine/network.js";
import { h, svg } from "../shared/dom.js";
import { formatCount, formatPercent } from "../shared/numbers.js";
import { toolbar } from "../shared/roving.js";
import { shorten } from "../shared/text.js";
import { oncePerFrame } from "./state.js";
import { TIME_MESSAGES } from "./time-messages.js";

const QUIET = 120; // milliseconds without a change of the image before the answers of all steps are computed
const FRAME = 700; // milliseconds of a step while it plays
const LETTERS = 6; // of the name of a class in the strip
const NARROWEST = 48; // px of a step in the strip
const CHART = { width: 1000, height: 100 };

/** The last of the kept steps that is not after `step`, or the first one. Steps are ascending. */
export function keptStep(steps, step) {
  return (steps.findLast((each) => each.step <= step) ?? steps[0]).step;
}

/**
 * Where a step lies among kept steps, which are at 0, 1, 2, ...: the steps between two are spread evenly there.
 *
 * @param steps numbers, ascending.
 */
export function columnOf(steps, step) {
  const next = steps.findIndex((each) => each >= step);
  if (next === 0) return 0;
  if (next < 0) return steps.length - 1;
  return next - 1 + (step - steps[next - 1]) / (steps[next] - steps[next - 1]);
}

/** The position of the first of the answers from which on all are the same as the last one. */
export function constantFrom(answers) {
  return answers.findLastIndex((each) => each !== answers.at(-1)) + 1;
}

/** The columns of a grid of `count` cells, of which `most` fit side by side: no row is much shorter than the others. */
export const balancedColumns = (count, most) => Math.ceil(count / Math.ceil(count / Math.max(1, most)));

/** An epoch, or a part of one, as text. */
const formatEpoch = (epoch) => (Number.isInteger(epoch) ? String(epoch) : epoch.toFixed(epoch < 0.1 ? 2 : 1));

/** Lines through points [column, value from 0 to `high`], with one column marked. Its texts are around the picture. */
class TimeChart {
  /** @param lines [{name, points, dots}]; points are [column, value or null]. */
  constructor(columns, lines, { high, format, label }) {
    Object.assign(this, { columns, lines, high });
    this.picture = svg("svg", {
      viewBox: `0 0 ${CHART.width} ${CHART.height}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    });
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: CHART.height });
    this.paths = lines.map((_, i) => svg("path", { class: `curve-${i}` }));
    this.picture.append(this.cursor, ...this.paths);
    const names = lines.map(({ name }, i) => h("span", { class: `key curve-${i}` }, name));
    const limits = h("span", { class: "limits" }, h("span", {}, format(high)), h("span", {}, format(0)));
    this.names = names;
    this.element = h("figure", { class: "time-chart" }, h("figcaption", {}, names), limits, this.picture);
    for (const i of lines.keys()) this.draw(i, lines[i].points);
  }

  /** Percent of the width at the middle of a column. */
  static left(column, columns) {
    return (100 * (column + 0.5)) / columns;
  }

  draw(i, points) {
    let pen = "M";
    const parts = points.map(([column, value]) => {
      if (value === null || !Number.isFinite(value)) {
        pen = "M";
        return "";
      }
      const x = (TimeChart.left(column, this.columns) / 100) * CHART.width;
      const y = CHART.height * (1 - Math.min(1, value / (this.high || 1)));
      const part = `${pen}${x.toFixed(1)} ${y.toFixed(1)}${pen === "M" ? "h0" : ""}`; // a point alone is a dot
      pen = "L";
      return part;
    });
    this.paths[i].setAttribute("d", parts.join(""));
  }

  mark(column) {
    const x = (TimeChart.left(column, this.columns) / 100) * CHART.width;
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
  }
}

/** The answer of the network at each step, computed one after another after the image has not changed for a while. */
class StepAnswers {
  constructor(app, number, show) {
    const { data, arrays } = app;
    const { model, steps } = data.models[number];
    this.keys = [...steps.map(({ step }) => `history/${number}/${step}`), `weights/${number}`]; // of the weights
    this.networkOf = (key) => new Network(model, arrays.get(key));
    Object.assign(this, { app, number, show, timer: null, networks: [] });
    app.state.signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** Begin again, with the image and the edits of the state. */
  restart() {
    clearTimeout(this.timer);
    const { state } = this.app;
    const pixels = state.get("pixels");
    const edits = state.get("edits").filter(({ model = 0 }) => model === this.number);
    const answers = [];
    const next = () => {
      this.networks[answers.length] ??= this.networkOf(this.keys[answers.length]);
      const network = this.networks[answers.length];
      const { logits } = (edits.length ? network.withEdits(edits) : network).run(pixels);
      answers.push({ best: largestOf(logits), shares: softmax(logits) });
      if (answers.length < this.keys.length) this.timer = setTimeout(next);
      else this.show(answers);
    };
    this.timer = setTimeout(next, QUIET);
  }
}

export function timePart(app) {
  const { state, models } = app;
  const number = state.get("model");
  const { data } = models[number];
  if (!data.steps.length) return null;
  const t = app.translate(TIME_MESSAGES);
  const classes = data.model.classes;
  const numbers = data.steps.map(({ step }) => step);
  const final = numbers.length; // the last position is that of the final weights
  let answers = null;

  const position = () => {
    const step = state.get("step");
    return step === null ? final : numbers.indexOf(keptStep(data.steps, step));
  };
  const nameOf = (i) => {
    if (i === final) return t("finalLong", { step: formatCount(data.step) });
    const { step, epoch } = data.steps[i];
    if (step === 0) return `${t("step", { step })}, ${t("untrained")}`;
    const inEpoch = epoch === null ? [] : [t("epoch", { epoch: formatEpoch(epoch) })];
    return [t("step", { step: formatCount(step) }), ...inEpoch].join(", ");
  };
  const go = (i) => state.set({ step: i === final ? null : numbers[i] });

  const slider = h("input", {
    type: "range",
    id: "time-step",
    min: 0,
    max: final,
    step: 1,
    value: position(),
    "aria-label": t("slider"),
    oninput: () => {
      stop();
      go(Number(slider.value));
    },
  });
  const readout = h("output", { class: "time-readout", for: "time-step" });

  let playing = null;
  const stop = () => {
    clearInterval(playing);
    playing = null;
    playButton.textContent = t("play");
  };
  const advance = () => {
    go(Math.min(final, position() + 1));
    if (position() === final) stop();
  };
  const playButton = h(
    "button",
    {
      type: "button",
      id: "time-play",
      onclick: () => {
        if (playing !== null) return stop();
        if (position() === final) go(0);
        playing = setInterval(advance, FRAME);
        playButton.textContent = t("pause");
      },
    },
    t("play"),
  );
  state.signal.addEventListener("abort", () => clearInterval(playing));
  const backButton = h(
    "button",
    {
      type: "button",
      id: "time-final",
      onclick: () => {
        stop();
        go(final);
      },
    },
    t("backToFinal"),
  );

  const cells = Array.from({ length: final + 1 }, (_, i) => {
    const label = h("span", { class: "time-step" }, i === final ? t("final") : formatCount(numbers[i]));
    const answer = h("b", { class: "time-answer" }, "\u00a0");
    const bar = h("span", { class: "time-bar", "aria-hidden": "true" }, h("span", {}));
    const share = h("span", { class: "time-share" }, "\u00a0");
    const click = () => {
      stop();
      go(i);
    };
    return { element: h("li", { title: nameOf(i), onclick: click }, label, answer, bar, share), answer, bar, share };
  });
  const sentence = h("p", { class: "time-since" }, "\u00a0");
  const charts = chartsOf(data, numbers, t);

  const showStep = () => {
    const i = position();
    slider.value = i;
    const answered = answers
      ? `${t("colon")}${t("answer", { name: classes[answers[i].best], share: formatPercent(answers[i].shares[answers[i].best], 2) })}`
      : "";
    readout.textContent = nameOf(i);
    slider.setAttribute("aria-valuetext", nameOf(i) + answered);
    for (const [j, { element }] of cells.entries()) {
      if (j === i) element.setAttribute("aria-current", "step");
      else element.removeAttribute("aria-current");
    }
    for (const chart of charts) chart.mark(i);
  };
  const showAnswers = (found) => {
    answers = found;
    const last = found[final].best;
    for (const [i, { best, shares }] of found.entries()) {
      cells[i].answer.textContent = shorten(classes[best], LETTERS);
      cells[i].element.classList.toggle("same", best === last);
      cells[i].bar.firstChild.style.width = `${100 * (shares[last] || 0)}%`;
      cells[i].share.textContent = formatPercent(shares[last], 0);
    }
    const from = constantFrom(found.map(({ best }) => best));
    const key = ["sinceStart", "never"][[0, final].indexOf(from)] ?? "since";
    sentence.textContent = t(key, { name: classes[last], step: formatCount(numbers[from] ?? 0) });
    charts[0].names[0].textContent = t("softmaxOf", { name: classes[last] });
    charts[0].draw(
      0,
      found.map(({ shares }, i) => [i, shares[last]]),
    );
    showStep();
  };
  const stepAnswers = new StepAnswers(app, number, showAnswers);
  state.on(["step"], oncePerFrame(showStep));
  state.on(["pixels", "edits"], () => stepAnswers.restart());
  stepAnswers.restart();
  showStep();
  const items = cells.map((cell) => cell.element);
  const strip = h("ol", { class: "time-strip", "aria-label": t("strip") }, items);
  const element = h(
    "div",
    { class: "time" },
    toolbar(t("controls"), "time-controls", playButton, backButton, readout),
    slider,
    sentence,
    strip,
    charts.map(({ element }) => element),
    h("p", { class: "intro" }, t("half")),
  );
  element.classList.toggle(
    "long-names",
    classes.some((name) => name.length > 3),
  );
  const arrange = () => {
    const columns = balancedColumns(items.length, Math.floor(strip.clientWidth / NARROWEST));
    element.style.setProperty("--columns", columns);
    element.classList.toggle("one-row", columns === items.length);
  };
  const observer = new ResizeObserver(arrange);
  observer.observe(strip);
  state.signal.addEventListener("abort", () => observer.disconnect());
  return element;
}

/** Accuracy, with room for the softmax of the answer; and loss, if an epoch is complete. */
function chartsOf({ metrics }, numbers, t) {
  const columns = numbers.length + 1;
  const hasValidation = metrics.some(({ val }) => val);
  const points = (part, name) => metrics.map((each) => [columnOf(numbers, each.step), each[part]?.[name] ?? null]);
  const lines = (name, texts) => [
    { name: texts[0], points: points("train", name) },
    ...(hasValidation ? [{ name: texts[1], points: points("val", name) }] : []),
  ];
  const accuracy = [{ name: "\u00a0", points: [] }, ...lines("accuracy", [t("train"), t("val")])];
  const percent = { high: 1, format: (value) => formatPercent(value, 0) };
  const labelOf = (each) =>
    t("chart", {
      names: each
        .map(({ name }) => name.trim())
        .filter(Boolean)
        .join(", "),
    });
  const charts = [new TimeChart(columns, accuracy, { ...percent, label: labelOf(accuracy) })];
  if (metrics.length) {
    // The first place is the softmax's in the other chart: a metric has the same line in both.
    const loss = [{ name: "", points: [] }, ...lines("loss", [t("trainLoss"), t("valLoss")])];
    const values = loss.flatMap((line) => line.points.map(([, value]) => value)).filter(Number.isFinite);
    const high = Math.max(0, ...values);
    charts.push(new TimeChart(columns, loss, { high, format: (value) => value.toFixed(2), label: labelOf(loss) }));
  }
  return charts;
}
