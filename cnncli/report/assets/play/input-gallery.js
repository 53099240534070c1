// The test images in the page: those of a class, or the mistakes of which a network is most confident.

import { h } from "../shared/dom.js";
import { rove, toolbar } from "../shared/roving.js";
import { INPUT_MESSAGES } from "./input-messages.js";
import { canvasOf } from "./input-pad.js";

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

class Gallery {
  constructor(app) {
    Object.assign(this, { app, t: app.translate(INPUT_MESSAGES), images: app.data.images });
    this.classes = app.models[0].data.model.classes;
    const choices = galleryChoices(this.images, this.classes);
    const firstClass = choices.find((each) => each.startsWith("class"));
    if (!choices.includes(app.state.get("gallery"))) app.state.set({ gallery: firstClass ?? choices[0] });
    this.select = h(
      "select",
      {
        id: "gallery-choice",
        "aria-label": this.t("galleryChoice"),
        onchange: () => {
          app.state.set({ gallery: this.select.value });
          this.#fill();
        },
      },
      choices.map((choice) => h("option", { value: choice }, this.#name(choice))),
    );
    this.select.value = app.state.get("gallery");
    const random = h("button", { type: "button", id: "random-image", onclick: () => this.#random() }, this.t("random"));
    this.list = h("div", { class: "gallery", role: "listbox", "aria-label": this.t("testImages") });
    rove(this.list);
    this.element = h("div", {}, toolbar(this.t("chooseImage"), "control gallery-line", this.select, random), this.list);
    this.#fill();
    app.state.on(["source"], () => this.#showChosen());
  }

  #name(choice) {
    const [kind, number] = choice.split(" ");
    if (kind === "class") return this.t("class", { name: this.classes[Number(number)] });
    if (this.images.mistakes.length === 1) return this.t("mistakes");
    return this.t("mistakesOf", { run: this.app.models[Number(number)].label });
  }

  /** Show a test image; the sliders stay as they are. */
  #choose(position) {
    const { state } = this.app;
    const model = state.get("drawing");
    model.showImage(this.app.testImage(position));
    state.set({ pixels: model.pixels(), source: model.source });
  }

  #random() {
    const { state } = this.app;
    const position = Math.floor(Math.random() * this.images.count);
    if (!positionsOf(this.images, state.get("gallery")).includes(position)) {
      this.select.value = `class ${this.images.labels[position]}`;
      state.set({ gallery: this.select.value });
      this.#fill();
    }
    this.#choose(position);
  }

  #fill() {
    const { app, t, images } = this;
    this.positions = positionsOf(images, app.state.get("gallery"));
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
          onclick: () => this.#choose(position),
          onkeydown: (event) => {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault();
            this.#choose(position);
          },
        },
        canvasOf(pixels, images.shape),
      );
      return item;
    });
    this.list.replaceChildren(...this.items);
    this.#showChosen();
  }

  /** Mark the image that the networks see. */
  #showChosen() {
    const chosen = this.app.state.get("source").position;
    this.positions.forEach((position, i) => {
      this.items[i].setAttribute("aria-selected", position === chosen);
    });
  }
}

/** The part of the page; null where it has no test images. */
export function galleryPart(app) {
  return app.data.images.count ? new Gallery(app).element : null;
}
