// The sliders that change the image.

import { h, setDisabled } from "../shared/dom.js";
import { rove } from "../shared/roving.js";
import { isNeutral, transformSliders } from "./transforms.js";

const DIGITS = { scale: 2, brightness: 2, contrast: 2, noise: 2 };
const UNITS = { right: "px", down: "px", square: "px", squareX: "px", squareY: "px", rotate: "degrees" };

export class Sliders {
  /** `changed` is called when a slider was moved. */
  constructor(app, t, changed) {
    Object.assign(this, { t, model: app.state.get("drawing"), changed });
    this.rows = transformSliders(this.model.shape).map((slider) => this.#row(slider));
    this.resetButton = h("button", { type: "button", id: "reset-sliders", onclick: () => this.#reset() }, t("reset"));
    this.seedButton = h("button", { type: "button", id: "new-noise", onclick: () => this.#newNoise() }, t("newNoise"));
    this.element = h(
      "div",
      { class: "sliders" },
      this.rows.map(({ row }) => row),
      h("p", { class: "control" }, this.resetButton, this.seedButton),
    );
    rove(this.element);
    this.show();
  }

  #row({ name, min, max, step }) {
    const id = `slider-${name}`;
    const input = h("input", {
      type: "range",
      id,
      min,
      max,
      step,
      oninput: () => this.#move(name, Number(input.value)),
    });
    const output = h("output", { for: id });
    const row = h("div", { class: "slider" }, h("label", { for: id }, this.t(name)), input, output);
    return { name, input, output, row };
  }

  #move(name, value) {
    this.model.transforms = { ...this.model.transforms, [name]: value };
    this.show();
    this.changed();
  }

  #reset() {
    this.model.resetTransforms();
    this.show();
    this.changed();
  }

  #newNoise() {
    this.#move("seed", this.model.transforms.seed + 1);
  }

  show() {
    const { transforms } = this.model;
    for (const { name, input, output } of this.rows) {
      input.value = transforms[name];
      const number = transforms[name].toFixed(DIGITS[name] ?? 0);
      const text = UNITS[name] ? this.t(UNITS[name], { number }) : number;
      output.textContent = text;
      input.setAttribute("aria-valuetext", text);
    }
    setDisabled(this.resetButton, isNeutral(transforms));
    setDisabled(this.seedButton, transforms.noise === 0);
  }
}
