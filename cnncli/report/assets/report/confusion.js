// The confusion matrix, and the test images behind each of its cells.

import { ARROW_KEYS, h, scrollable, section } from "../shared/dom.js";
import { formatCount, formatPercent } from "../shared/numbers.js";

const IMAGE_SIDE = 56; // px of the longer side of an image, approximately

/** How many of a cell's images are shown, and in what order: `12 of 30 images, least confident first`. */
export function describeImages(shown, count, isCorrect) {
  const images = count === 1 ? "image" : "images";
  if (!shown) return `${formatCount(count)} ${images}, none of them included in this page`;
  const some = shown < count ? `${formatCount(shown)} of ` : "";
  return `${some}${formatCount(count)} ${images}, ${isCorrect ? "least" : "most"} confident first`;
}

class Confusion {
  constructor({ confusion, classes }) {
    Object.assign(this, { ...confusion, classes });
    this.images = new Map(this.cells.map((cell) => [`${cell.label},${cell.predicted}`, cell.images]));
    this.buttons = new Map();
    this.sheet = new Image();
    this.sheet.src = `data:image/webp;base64,${this.sprite.webp}`;
    this.details = h("div", { class: "cell-images", "aria-live": "polite" });
    const axes = "Rows are true classes, columns are predictions. Arrow keys move between numbers.";
    this.element = h(
      "div",
      { class: "confusion" },
      h("div", {}, h("p", { class: "axes", id: "matrix-axes" }, axes), scrollable("confusion matrix", this.table())),
      this.details,
    );
    const first = this.cells.find((cell) => cell.label !== cell.predicted) ?? this.cells[0];
    this.select(first.label, first.predicted);
  }

  table() {
    const columns = this.classes.map((name) => h("th", { scope: "col" }, h("span", {}, name)));
    const head = h("tr", {}, h("td", {}), columns, h("th", { scope: "col" }, "recall"));
    const rows = this.counts.map((counts, label) => {
      const total = counts.reduce((sum, count) => sum + count, 0);
      const cells = counts.map((count, predicted) => h("td", {}, this.cell(count, total, label, predicted)));
      const recall = total ? formatPercent(counts[label] / total) : "–";
      return h("tr", {}, h("th", { scope: "row" }, this.classes[label]), cells, h("td", { class: "recall" }, recall));
    });
    return h(
      "table",
      { class: "matrix", "aria-describedby": "matrix-axes" },
      h("thead", {}, head),
      h("tbody", {}, rows),
    );
  }

  cell(count, total, label, predicted) {
    if (!count) return h("span", { class: "zero" }, "0");
    const description = `${this.classes[label]} predicted as ${this.classes[predicted]}: ${count} of ${total}`;
    const button = h(
      "button",
      {
        type: "button",
        tabindex: "-1",
        "data-cell": `${label},${predicted}`,
        "aria-label": description,
        onclick: () => this.select(label, predicted),
        onkeydown: (event) => this.handleKey(event, label, predicted),
      },
      formatCount(count),
    );
    button.style.setProperty("--share", Math.sqrt(count / total).toFixed(3));
    button.classList.add(label === predicted ? "correct" : "wrong");
    this.buttons.set(`${label},${predicted}`, button);
    return button;
  }

  /** Arrow keys move to the next number that is not 0. */
  handleKey(event, label, predicted) {
    const step = ARROW_KEYS[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const inside = (position) => position >= 0 && position < this.classes.length;
    let [row, column] = [label + step[0], predicted + step[1]];
    while (inside(row) && inside(column)) {
      const button = this.buttons.get(`${row},${column}`);
      if (button) {
        this.select(row, column);
        button.focus();
        return;
      }
      [row, column] = [row + step[0], column + step[1]];
    }
  }

  select(label, predicted) {
    const selected = `${label},${predicted}`;
    for (const [key, button] of this.buttons) {
      button.tabIndex = key === selected ? 0 : -1;
      button.setAttribute("aria-pressed", String(key === selected));
    }
    const images = this.images.get(selected);
    const isCorrect = label === predicted;
    const title = `${this.classes[label]}${isCorrect ? ", correct" : ` predicted as ${this.classes[predicted]}`}`;
    this.details.replaceChildren(
      h("h3", {}, title),
      h("p", {}, describeImages(images.length, this.counts[label][predicted], isCorrect)),
      h(
        "div",
        { class: "thumbnails" },
        images.map((image) => this.thumbnail(image)),
      ),
    );
  }

  thumbnail({ index, confidence, position }) {
    const { columns, height, width } = this.sprite;
    const canvas = h("canvas", { width, height, role: "img", "aria-label": `test image ${index}` });
    canvas.style.width = `${Math.max(1, Math.round(IMAGE_SIDE / Math.max(height, width))) * width}px`;
    const [x, y] = [(position % columns) * width, Math.floor(position / columns) * height];
    this.sheet
      .decode()
      .then(() => canvas.getContext("2d").drawImage(this.sheet, x, y, width, height, 0, 0, width, height));
    const caption = h("figcaption", {}, `#${index}`, h("br"), formatPercent(confidence));
    return h("figure", { "data-index": index }, canvas, caption);
  }
}

export function confusionSection(data) {
  const heading = "Confusion matrix";
  if (!data.confusion) return section("confusion", heading, `Not available: ${data.unavailable}.`);
  const { counts } = data.confusion;
  const total = counts.flat().reduce((sum, count) => sum + count, 0);
  const correct = counts.reduce((sum, row, i) => sum + row[i], 0);
  const intro =
    `${formatCount(correct)} of ${formatCount(total)} test images are correct, with the weights of epoch ${data.epoch}. ` +
    "Select a number to see its images, each with its index in the test set and the confidence of the prediction.";
  return section("confusion", heading, intro, new Confusion(data).element);
}
