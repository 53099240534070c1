// Training curves, with one epoch selected in all of them.

import { h, scrollable, section, svg } from "../shared/dom.js";
import { formatCount, formatNumber, formatPercent } from "../shared/numbers.js";

const WIDTH = 360;
const HEIGHT = 210;
const EDGE = { left: 46, right: 10, top: 10, bottom: 26 };
const EPOCH_LABELS = 8;

/** About five round numbers, evenly spaced, that cover low to high. */
export function ticks(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

/** Positions of the epochs with a label: evenly spaced, and the last one where there is room for it. */
export function labeledEpochs(count) {
  const every = Math.ceil(count / EPOCH_LABELS);
  const isLabeled = (i) => i % every === 0 || (i === count - 1 && i % every > every / 2);
  return Array.from({ length: count }, (_, i) => i).filter(isLabeled);
}

/** The path of a curve through [x, y] points; null is a gap: a loss that is not finite, or no validation set. */
export function curvePath(points) {
  const command = (i) => (i === 0 || points[i - 1] === null ? "M" : "L");
  return points
    .map((point, i) => (point === null ? "" : `${command(i)}${point[0].toFixed(1)} ${point[1].toFixed(1)}`))
    .join("");
}

class Chart {
  /**
   * @param lines [{name, values}], with a number or null for each epoch.
   * @param format a value as text.
   */
  constructor(title, epochs, lines, format) {
    Object.assign(this, { title, epochs, lines });
    this.format = (value) => (value === null ? "–" : format(value));
    const all = lines.flatMap((line) => line.values).filter((value) => value !== null);
    this.ticks = all.length ? ticks(Math.min(...all), Math.max(...all)) : [0, 1];
    const label = `${title} over the epochs`;
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
    this.readout = h("p", { class: "readout" });
    this.draw();
    const names = lines.length > 1 ? lines.map((line, i) => h("span", { class: `line-${i}` }, line.name)) : [];
    const caption = h("figcaption", {}, h("b", {}, title), h("p", { class: "legend" }, names));
    this.element = h("figure", { class: "chart" }, caption, this.picture, this.readout);
  }

  x(epoch) {
    const [first, last] = [this.epochs[0], this.epochs.at(-1)];
    const share = last > first ? (epoch - first) / (last - first) : 0.5;
    return EDGE.left + share * (WIDTH - EDGE.left - EDGE.right);
  }

  y(value) {
    const [low, high] = [this.ticks[0], this.ticks.at(-1)];
    return HEIGHT - EDGE.bottom - ((value - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  }

  draw() {
    for (const tick of this.ticks) {
      const y = this.y(tick);
      this.picture.append(
        svg("line", { class: "rule", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y, y2: y }),
        svg("text", { x: EDGE.left - 6, y: y + 4, "text-anchor": "end" }, formatNumber(tick)),
      );
    }
    for (const i of labeledEpochs(this.epochs.length)) {
      const epoch = this.epochs[i];
      this.picture.append(svg("text", { x: this.x(epoch), y: HEIGHT - 8, "text-anchor": "middle" }, String(epoch)));
    }
    this.cursor = svg("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
    const curves = this.lines.map(({ values }, number) => {
      const points = values.map((value, i) => (value === null ? null : [this.x(this.epochs[i]), this.y(value)]));
      return svg("path", { class: `line-${number}`, d: curvePath(points) });
    });
    this.dots = this.lines.map((_, number) => svg("circle", { class: `line-${number}`, r: 4 }));
    this.picture.append(this.cursor, ...curves, ...this.dots);
  }

  /** The position of the epoch nearest to a pointer. */
  nearest(event) {
    const box = this.picture.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const distances = this.epochs.map((epoch) => Math.abs(this.x(epoch) - x));
    return distances.indexOf(Math.min(...distances));
  }

  show(i) {
    const x = this.x(this.epochs[i]);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.lines.forEach(({ values }, number) => {
      const dot = this.dots[number];
      dot.setAttribute("visibility", values[i] === null ? "hidden" : "visible");
      if (values[i] === null) return;
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", this.y(values[i]));
    });
    const values = this.lines.map((line) => `${line.name} ${this.format(line.values[i])}`.trim());
    this.readout.textContent = `epoch ${this.epochs[i]}: ${values.join(", ")}`;
  }
}

/** When the values of a curve are measured; `augmentation` names what was done to the training images. */
export function describeCurves(hasValidation, augmentation) {
  const augmented = augmentation.length ? `, on augmented images (${augmentation.join(", ")})` : "";
  const training = `Training values are measured while the weights change${augmented}`;
  return `${training}${hasValidation ? "; validation values at the end of each epoch" : ""}.`;
}

export function curvesSection({ metrics, augmentation }) {
  const heading = "Training curves";
  if (!metrics.length) return section("curves", heading, "No epoch is complete yet.");
  const epochs = metrics.map((each) => each.epoch);
  const hasValidation = metrics.some((each) => each.val);
  const lines = (name) => [
    { name: "train", values: metrics.map((each) => each.train[name]) },
    ...(hasValidation ? [{ name: "val", values: metrics.map((each) => each.val?.[name] ?? null) }] : []),
  ];
  const rates = [{ name: "", values: metrics.map((each) => each.learning_rate) }];
  const charts = [
    new Chart("Accuracy", epochs, lines("accuracy"), (value) => formatPercent(value, 2)),
    new Chart("Loss", epochs, lines("loss"), (value) => value.toFixed(4)),
    new Chart("Learning rate", epochs, rates, (value) => value.toExponential(2)),
  ];
  const last = epochs.length - 1;
  const slider = h("input", {
    type: "range",
    id: "epoch",
    min: 0,
    max: last,
    step: 1,
    value: last,
    oninput: () => show(Number(slider.value)),
  });
  function show(i) {
    slider.value = i;
    for (const chart of charts) chart.show(i);
    slider.setAttribute("aria-valuetext", charts.map((chart) => chart.readout.textContent).join("; "));
  }
  for (const chart of charts) {
    chart.picture.addEventListener("pointermove", (event) => show(chart.nearest(event)));
    chart.picture.addEventListener("click", (event) => show(chart.nearest(event)));
  }
  show(last);
  const intro = describeCurves(hasValidation, augmentation);
  return section(
    "curves",
    heading,
    intro,
    h(
      "div",
      { class: "charts" },
      charts.map((chart) => chart.element),
    ),
    last > 0 ? h("p", { class: "control" }, h("label", { for: "epoch" }, "Epoch"), slider) : null,
    curvesTable(metrics, charts),
  );
}

function curvesTable(metrics, charts) {
  const columns = charts.flatMap((chart) => chart.lines.map((line) => ({ chart, line })));
  const title = ({ chart, line }) => `${chart.title.toLowerCase()} ${line.name}`.trim();
  const headings = ["epoch", "step", ...columns.map(title)].map((text) => h("th", { scope: "col" }, text));
  const rows = metrics.map((each, i) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, String(each.epoch)),
      h("td", {}, formatCount(each.step)),
      columns.map(({ chart, line }) => h("td", {}, chart.format(line.values[i]))),
    ),
  );
  const table = h("table", { class: "numbers" }, h("thead", {}, h("tr", {}, headings)), h("tbody", {}, rows));
  return h("details", {}, h("summary", {}, "Values as a table"), scrollable("training curves as a table", table));
}
