// What was taken for what; behind each number the test images.

const ENLARGED = 56; // px of the longer side of an image, about

class Confusion {
  constructor({ confusion, classes }) {
    Object.assign(this, confusion);
    this.classes = classes;
    this.images = new Map(this.cells.map((cell) => [`${cell.label},${cell.predicted}`, cell.images]));
    this.buttons = new Map();
    this.sheet = new Image();
    this.sheet.src = `data:image/png;base64,${this.sprite.png}`;
    this.behind = h("div", { class: "behind", "aria-live": "polite" });
    this.element = h("div", { class: "confusion" },
      h("div", {}, h("p", { class: "axes", id: "matrix-axes" },
        "Rows: what the images show. Columns: what they are taken for. Arrow keys go from number to number."),
      scrolling("the confusion matrix", this.table())), this.behind);
    const wrong = this.cells.find((cell) => cell.label !== cell.predicted) ?? this.cells[0];
    this.choose(wrong.label, wrong.predicted);
  }

  table() {
    const head = h("tr", {}, h("td", {}), this.classes.map((name) => h("th", { scope: "col" }, h("span", {}, name))),
      h("th", { scope: "col" }, "right"));
    const rows = this.counts.map((counts, label) => {
      const all = counts.reduce((sum, count) => sum + count, 0);
      return h("tr", {}, h("th", { scope: "row" }, this.classes[label]),
        counts.map((count, predicted) => h("td", {}, this.cell(count, all, label, predicted))),
        h("td", { class: "right" }, all ? percent(counts[label] / all) : "–"));
    });
    return h("table", { class: "matrix", "aria-describedby": "matrix-axes" },
      h("thead", {}, head), h("tbody", {}, rows));
  }

  cell(count, all, label, predicted) {
    if (!count) return h("span", { class: "none" }, "0");
    const right = label === predicted;
    const button = h("button", { type: "button", tabindex: "-1", "data-cell": `${label},${predicted}`,
      "aria-label": `${this.classes[label]} taken for ${this.classes[predicted]}: ${count} of ${all}`,
      onclick: () => this.choose(label, predicted), onkeydown: (event) => this.key(event, label, predicted) },
      grouped(count));
    button.style.setProperty("--share", Math.sqrt(count / all).toFixed(3));
    button.classList.add(right ? "hit" : "miss");
    this.buttons.set(`${label},${predicted}`, button);
    return button;
  }

  /** Arrow keys go to the next number that is not 0. */
  key(event, label, predicted) {
    const step = ARROWS[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const many = this.classes.length;
    let [row, column] = [label + step[0], predicted + step[1]];
    while (row >= 0 && row < many && column >= 0 && column < many) {
      const button = this.buttons.get(`${row},${column}`);
      if (button) {
        this.choose(row, column);
        button.focus();
        return;
      }
      [row, column] = [row + step[0], column + step[1]];
    }
  }

  choose(label, predicted) {
    for (const [key, button] of this.buttons) {
      const chosen = key === `${label},${predicted}`;
      button.tabIndex = chosen ? 0 : -1;
      button.setAttribute("aria-pressed", String(chosen));
    }
    const images = this.images.get(`${label},${predicted}`);
    const count = this.counts[label][predicted];
    const right = label === predicted;
    const title = `${this.classes[label]}${right ? ", right" : ` taken for ${this.classes[predicted]}`}`;
    const order = right ? "the least sure first" : "the surest first";
    const some = images.length < count ? `${images.length} of ` : "";
    this.behind.replaceChildren(h("h3", {}, title),
      h("p", {}, images.length ? `${some}${grouped(count)}, ${order}` : `${grouped(count)}, none of them in this page`),
      h("div", { class: "thumbnails" }, images.map((image) => this.thumbnail(image))));
  }

  thumbnail({ number, confidence, place }) {
    const { across, height, width } = this.sprite;
    const canvas = h("canvas", { width, height, role: "img", "aria-label": `test image ${number}` });
    canvas.style.width = `${Math.max(1, Math.round(ENLARGED / Math.max(height, width))) * width}px`;
    this.sheet.decode().then(() => canvas.getContext("2d").drawImage(
      this.sheet, (place % across) * width, Math.floor(place / across) * height, width, height, 0, 0, width, height));
    return h("figure", { "data-number": number }, canvas,
      h("figcaption", {}, `#${number}`, h("br"), percent(confidence)));
  }
}

function confusionSection(data) {
  const heading = "What it takes for what";
  if (!data.confusion) return section("confusion", heading, `Not there: ${data.untested}.`);
  const all = data.confusion.counts.flat().reduce((sum, count) => sum + count, 0);
  const right = data.confusion.counts.reduce((sum, row, i) => sum + row[i], 0);
  return section("confusion", heading,
    `${grouped(right)} of ${grouped(all)} test images are right, with the weights of epoch ${data.epoch}. ` +
    "Choose a number to see the images behind it; # is their number in the test set, below it the confidence.",
    new Confusion(data).element);
}
