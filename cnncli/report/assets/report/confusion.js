// The confusion matrix, the most frequent confusions, and the test images behind each cell.

import { ARROW_KEYS, h, scrollable, section } from "../shared/dom.js";
import { formatCount, formatPercent } from "../shared/numbers.js";
import { rove } from "../shared/roving.js";
import { Sprite } from "../shared/sprite.js";
import { shorten } from "../shared/text.js";

const IMAGE_SIDE = 56; // px of the longer side of an image, approximately
const WORST_PAIRS = 10;
const FEW_CLASSES = 15; // up to so many, cells are large and zeros are written
const ROW_LETTERS = 24;
const COLUMN_LETTERS = 16;
const LEVEL_LETTERS = 4; // names in the head of a column are written from left to right up to this length

/** How many of a cell's images are shown, and in what order: `12 of 30 images, least confident first`. */
export function describeImages(shown, count, isCorrect) {
  const images = count === 1 ? "image" : "images";
  if (!shown) return `${formatCount(count)} ${images}, none of them included in this page`;
  const some = shown < count ? `${formatCount(shown)} of ` : "";
  return `${some}${formatCount(count)} ${images}, ${isCorrect ? "least" : "most"} confident first`;
}

/** The cells off the diagonal with the most images: [{label, predicted, count, share}], `share` of the true class. */
export function worstPairs(counts, most) {
  const pairs = counts.flatMap((row, label) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    return row.map((count, predicted) => ({ label, predicted, count, share: count / total }));
  });
  return pairs
    .filter(({ label, predicted, count }) => label !== predicted && count)
    .sort((a, b) => b.count - a.count || b.share - a.share)
    .slice(0, most);
}

class Confusion {
  /**
   * @param pool the images of the page; where they are reduced here, the matrix has its own.
   * @param showImage shows a test image in the network, by its number; returns whether it can.
   */
  constructor({ confusion, classes }, pool, showImage) {
    Object.assign(this, { ...confusion, classes, showImage });
    this.images = new Map(this.cells.map((cell) => [`${cell.label},${cell.predicted}`, cell.images]));
    this.buttons = new Map();
    this.pictures = this.sprite ? new Sprite(this.sprite) : pool.sprite;
    this.details = h("div", { class: "cell-images", "aria-live": "polite" });
    const axes = "Rows are true classes, columns are predictions. Arrow keys move between numbers.";
    this.element = h(
      "div",
      { class: `confusion ${this.isLarge ? "large" : ""}`.trim() },
      h("div", {}, h("p", { class: "axes", id: "matrix-axes" }, axes), scrollable("confusion matrix", this.table())),
      h("div", { class: "beside-matrix" }, this.details, this.worst()),
    );
    const first = this.cells.find((cell) => cell.label !== cell.predicted) ?? this.cells[0];
    this.select(first.label, first.predicted);
  }

  get isLarge() {
    return this.classes.length > FEW_CLASSES;
  }

  /** The head of a row or column: a class, shortened where its name is long. */
  classHead(name, scope, most) {
    const shown = shorten(name, most);
    const full = shown === name ? {} : { title: name, "aria-label": name };
    return h("th", { scope, ...full }, h("span", {}, shown));
  }

  table() {
    const level = this.classes.every((name) => name.length <= LEVEL_LETTERS);
    const columns = this.classes.map((name) => this.classHead(name, "col", COLUMN_LETTERS));
    const head = h("tr", {}, h("td", {}), columns, h("th", { scope: "col", class: "recall" }, "recall"));
    const rows = this.counts.map((counts, label) => {
      const total = counts.reduce((sum, count) => sum + count, 0);
      const cells = counts.map((count, predicted) => h("td", {}, this.cell(count, total, label, predicted)));
      const recall = total ? formatPercent(counts[label] / total) : "–";
      const name = this.classHead(this.classes[label], "row", ROW_LETTERS);
      return h("tr", {}, name, cells, h("td", { class: "recall" }, recall));
    });
    return h(
      "table",
      { class: `matrix ${level ? "" : "upright"}`.trim(), "aria-describedby": "matrix-axes" },
      h("thead", {}, head),
      h("tbody", {}, rows),
    );
  }

  /** The list of the most frequent confusions; its buttons select a cell. */
  worst() {
    const pairs = worstPairs(this.counts, WORST_PAIRS);
    if (!pairs.length) return null;
    const rows = pairs.map(({ label, predicted, count, share }) => {
      const text = `${this.classes[label]} as ${this.classes[predicted]}`;
      const onclick = () => this.select(label, predicted);
      const button = h("button", { type: "button", class: "pair", onclick }, text);
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, button),
        h("td", {}, formatCount(count)),
        h("td", {}, formatPercent(share)),
      );
    });
    const headings = ["true class as predicted class", "images", "of the class"];
    const table = h(
      "table",
      { class: "numbers worst" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          headings.map((text) => h("th", { scope: "col" }, text)),
        ),
      ),
      h("tbody", {}, rows),
    );
    rove(table);
    return h("div", {}, h("h3", {}, "Most frequent confusions"), table);
  }

  cell(count, total, label, predicted) {
    if (!count) return h("span", { class: "zero" }, this.isLarge ? "·" : "0");
    const of = `${formatCount(count)} of ${formatCount(total)}`;
    const description = `${this.classes[label]} predicted as ${this.classes[predicted]}: ${of}`;
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
    // What is below moves down where more images need room, but never up again.
    this.details.style.minHeight = `${this.details.offsetHeight}px`;
    const selected = `${label},${predicted}`;
    for (const [key, button] of this.buttons) {
      button.tabIndex = key === selected ? 0 : -1;
      button.setAttribute("aria-pressed", String(key === selected));
    }
    const images = this.images.get(selected);
    const isCorrect = label === predicted;
    const title = `${this.classes[label]}${isCorrect ? ", correct" : ` predicted as ${this.classes[predicted]}`}`;
    const thumbnails = h(
      "div",
      { class: "thumbnails" },
      images.map((image) => this.thumbnail(image)),
    );
    rove(thumbnails);
    this.details.replaceChildren(
      h("h3", {}, title),
      h("p", {}, describeImages(images.length, this.counts[label][predicted], isCorrect)),
      thumbnails,
    );
  }

  thumbnail({ index, confidence, position }) {
    const picture = this.pictures.tile(position, { label: `test image ${index}`, side: IMAGE_SIDE });
    const caption = h("figcaption", {}, `#${index}`, h("br"), formatPercent(confidence));
    const onclick = () => {
      if (this.showImage(index)) document.getElementById("network").scrollIntoView();
    };
    const title = `Show test image ${index} in the network`;
    const button = h("button", { type: "button", class: "keep image", title, "aria-label": title, onclick }, picture);
    return h("figure", { "data-index": index }, button, caption);
  }
}

export function confusionSection(data, pool, showImage) {
  const heading = "Confusion matrix";
  if (!data.confusion) return section("confusion", heading, `Not available: ${data.unavailable}.`);
  const { counts } = data.confusion;
  const total = counts.flat().reduce((sum, count) => sum + count, 0);
  const correct = counts.reduce((sum, row, i) => sum + row[i], 0);
  const intro =
    `${formatCount(correct)} of ${formatCount(total)} test images are correct, with the weights of epoch ${data.epoch}. ` +
    "Select a number to see its images, each with its index in the test set and the confidence of the prediction. Select an image to see it in the network.";
  return section("confusion", heading, intro, new Confusion(data, pool, showImage).element);
}
