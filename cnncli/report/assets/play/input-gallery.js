// The test images in the page: those of a class, or the mistakes of which a network is most confident.

import { h } from "../shared/dom.js";
import { canvasOf } from "./input-pad.js";
import { roveFocus } from "./input-roving.js";

/** Positions of the images of a choice: "class 3", or "mistakes 0" of the first network. */
export function positionsOf({ labels, mistakes }, choice) {
  const [kind, number] = choice.split(" ");
  if (kind === "mistakes") return mistakes[Number(number)];
  return labels.flatMap((label, position) => (label === Number(number) ? [position] : []));
}

/** The choices that have images: mistakes of each network first, then the classes. */
export function galleryChoices({ labels, mistakes }, classes) {
  const present = new Set(labels);
  return [
    ...mistakes.flatMap((list, number) => (list.length ? [`mistakes ${number}`] : [])),
    ...classes.flatMap((_, label) => (present.has(label) ? [`class ${label}`] : [])),
  ];
}

export class Gallery {
  /** `choose` is called with the position of an image that somebody chose. */
  constructor(app, t, choose) {
    Object.assign(this, { app, t, choose, images: app.data.images });
    this.classes = app.models[0].data.model.classes;
    const model = app.state.get("drawing");
    const choices = galleryChoices(this.images, this.classes);
    if (!choices.includes(model.gallery))
      model.gallery = choices.find((each) => each.startsWith("class")) ?? choices[0];
    this.select = h(
      "select",
      { id: "gallery-choice", "aria-label": t("galleryChoice"), onchange: () => this.#open(this.select.value) },
      choices.map((choice) => h("option", { value: choice, selected: choice === model.gallery }, this.#name(choice))),
    );
    const random = h("button", { type: "button", id: "random-image", onclick: () => this.#random() }, t("random"));
    this.list = h("div", { class: "gallery", role: "listbox", "aria-label": t("testImages") });
    this.element = h("div", {}, h("p", { class: "control" }, this.select, random), this.list);
    this.#fill();
  }

  #name(choice) {
    const [kind, number] = choice.split(" ");
    if (kind === "class") return this.t("class", { name: this.classes[Number(number)] });
    if (this.images.mistakes.length === 1) return this.t("mistakes");
    return this.t("mistakesOf", { run: this.app.models[Number(number)].label });
  }

  #open(choice) {
    this.app.state.get("drawing").gallery = choice;
    this.#fill();
    this.showChosen();
  }

  #random() {
    const position = Math.floor(Math.random() * this.images.count);
    const model = this.app.state.get("drawing");
    if (!positionsOf(this.images, model.gallery).includes(position)) {
      model.gallery = `class ${this.images.labels[position]}`;
      this.select.value = model.gallery;
      this.#fill();
    }
    this.choose(position);
  }

  #fill() {
    const { app, t, images } = this;
    this.positions = positionsOf(images, app.state.get("drawing").gallery);
    this.items = this.positions.map((position) => {
      const { pixels } = app.testImage(position);
      const label = t("thumbnail", { number: images.numbers[position], name: this.classes[images.labels[position]] });
      const item = h(
        "div",
        {
          class: "thumbnail",
          role: "option",
          "aria-label": label,
          title: label,
          "data-position": position,
          onclick: () => this.choose(position),
          onkeydown: (event) => {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault();
            this.choose(position);
          },
        },
        canvasOf(pixels, images.shape),
      );
      return item;
    });
    const list = this.list.cloneNode(false); // without the listeners of its former items
    list.append(...this.items);
    this.list.replaceWith(list);
    this.list = list;
    roveFocus(list, this.items, Math.max(0, this.positions.indexOf(app.state.get("source").position)));
    this.showChosen();
  }

  /** Mark the image that the networks see. */
  showChosen() {
    const chosen = this.app.state.get("source").position;
    this.positions.forEach((position, i) => {
      this.items[i].setAttribute("aria-selected", position === chosen);
    });
  }
}
