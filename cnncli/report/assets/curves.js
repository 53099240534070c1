// The curves of the training, with one epoch in all of them that can be pointed at and stepped through.

const WIDE = 360;
const HIGH = 210;
const EDGE = { left: 46, right: 10, top: 10, bottom: 26 };

/** At most about five round numbers that cover low to high. */
function ticks(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

class Chart {
  /** @param lines [{name, values}], a number or null for each epoch. */
  constructor(title, epochs, lines, write) {
    Object.assign(this, { title, epochs, lines, write });
    const all = lines.flatMap((line) => line.values).filter((value) => value !== null);
    this.marks = all.length ? ticks(Math.min(...all), Math.max(...all)) : [0, 1];
    const label = `${title} over the epochs`;
    this.picture = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label });
    this.readout = h("p", { class: "readout" });
    this.draw();
    const legend = h("p", { class: "legend" }, lines.length > 1
      ? lines.map((line, i) => h("span", { class: `line-${i}` }, line.name)) : []);
    this.element = h("figure", { class: "chart" },
      h("figcaption", {}, h("b", {}, title), legend), this.picture, this.readout);
  }

  x(epoch) {
    const [first, last] = [this.epochs[0], this.epochs.at(-1)];
    const share = last > first ? (epoch - first) / (last - first) : 0.5;
    return EDGE.left + share * (WIDE - EDGE.left - EDGE.right);
  }

  y(value) {
    const [low, high] = [this.marks[0], this.marks.at(-1)];
    return HIGH - EDGE.bottom - ((value - low) / (high - low)) * (HIGH - EDGE.top - EDGE.bottom);
  }

  draw() {
    for (const mark of this.marks) {
      const y = this.y(mark);
      this.picture.append(svg("line", { class: "rule", x1: EDGE.left, x2: WIDE - EDGE.right, y1: y, y2: y }),
        svg("text", { x: EDGE.left - 6, y: y + 4, "text-anchor": "end" }, short(mark)));
    }
    const every = Math.ceil(this.epochs.length / 8);
    this.epochs.forEach((epoch, i) => {
      if (i % every === 0 || i === this.epochs.length - 1 && i % every > every / 2) {
        this.picture.append(svg("text", { x: this.x(epoch), y: HIGH - 8, "text-anchor": "middle" }, String(epoch)));
      }
    });
    this.cursor = svg("line", { class: "cursor", y1: EDGE.top, y2: HIGH - EDGE.bottom });
    this.picture.append(this.cursor);
    this.lines.forEach(({ values }, number) => {
      let path = "";
      values.forEach((value, i) => {
        if (value === null) return; // a gap: the loss was not finite, or nothing was held out
        const starts = i === 0 || values[i - 1] === null;
        path += `${starts ? "M" : "L"}${this.x(this.epochs[i]).toFixed(1)} ${this.y(value).toFixed(1)}`;
      });
      this.picture.append(svg("path", { class: `line-${number}`, d: path }));
    });
    this.dots = this.lines.map((_, number) => svg("circle", { class: `line-${number}`, r: 4 }));
    this.picture.append(...this.dots);
  }

  /** The number of the epoch nearest to a pointer. */
  nearest(event) {
    const box = this.picture.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDE;
    const away = this.epochs.map((epoch) => Math.abs(this.x(epoch) - x));
    return away.indexOf(Math.min(...away));
  }

  show(i) {
    const x = this.x(this.epochs[i]);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.lines.forEach(({ values }, number) => {
      const there = values[i] !== null;
      this.dots[number].setAttribute("visibility", there ? "visible" : "hidden");
      if (there) this.dots[number].setAttribute("cx", x);
      if (there) this.dots[number].setAttribute("cy", this.y(values[i]));
    });
    const said = this.lines.map(({ name, values }) => `${name} ${this.said(values[i])}`.trim());
    this.readout.textContent = `epoch ${this.epochs[i]}: ${said.join(", ")}`;
  }

  said(value) {
    return value === null ? "–" : this.write(value);
  }
}

function curvesSection({ metrics }) {
  const heading = "Curves";
  if (!metrics.length) return section("curves", heading, "No epoch has ended yet.");
  const epochs = metrics.map((each) => each.epoch);
  const validated = metrics.some((each) => each.val);
  const both = (name) => [
    { name: "train", values: metrics.map((each) => each.train[name]) },
    ...(validated ? [{ name: "val", values: metrics.map((each) => each.val?.[name] ?? null) }] : []),
  ];
  const charts = [
    new Chart("Accuracy", epochs, both("accuracy"), (value) => percent(value, 2)),
    new Chart("Loss", epochs, both("loss"), (value) => value.toFixed(4)),
    new Chart("Learning rate", epochs, [{ name: "", values: metrics.map((each) => each.learning_rate) }],
      (value) => value.toExponential(2)),
  ];
  const slider = h("input", { type: "range", id: "epoch", min: 0, max: epochs.length - 1, step: 1,
    value: epochs.length - 1, oninput: () => show(Number(slider.value)) });
  function show(i) {
    slider.value = i;
    slider.setAttribute("aria-valuetext", charts.map((chart) => chart.readout.textContent).join("; "));
    for (const chart of charts) chart.show(i);
  }
  for (const chart of charts) {
    chart.picture.addEventListener("pointermove", (event) => show(chart.nearest(event)));
    chart.picture.addEventListener("click", (event) => show(chart.nearest(event)));
  }
  show(epochs.length - 1);
  const step = h("p", { class: "control" }, h("label", { for: "epoch" }, "Epoch"), slider);
  return section("curves", heading,
    validated ? "Train is measured while the weights change, with augmentation; val at the end of each epoch." : null,
    h("div", { class: "charts" }, charts.map((chart) => chart.element)),
    epochs.length > 1 ? step : null, curvesTable(metrics, charts));
}

function curvesTable(metrics, charts) {
  const columns = charts.flatMap((chart) => chart.lines.map((line) => ({ chart, line })));
  const head = h("tr", {}, h("th", { scope: "col" }, "epoch"), h("th", { scope: "col" }, "step"),
    columns.map(({ chart, line }) => h("th", { scope: "col" }, `${chart.title.toLowerCase()} ${line.name}`.trim())));
  const rows = metrics.map((each, i) => h("tr", {}, h("th", { scope: "row" }, String(each.epoch)),
    h("td", {}, grouped(each.step)), columns.map(({ chart, line }) => h("td", {}, chart.said(line.values[i])))));
  return h("details", {}, h("summary", {}, "The numbers as a table"),
    scrolling("the curves as a table", h("table", { class: "numbers" }, h("thead", {}, head), h("tbody", {}, rows))));
}
