// The slider over the steps of training.

import { h } from "../shared/dom.js";
import { formatCount } from "../shared/numbers.js";

const FRAME_MS = 700;

export class StepControl {
  /**
   * @param steps numbers, ascending; the last one is shown at first.
   * @param metrics of the epochs, for the names of their last steps.
   * @param show called with a step and its text whenever another one is chosen; not by the constructor.
   */
  constructor(steps, metrics, show) {
    Object.assign(this, { steps, onstep: show });
    this.epochs = new Map([[0, "before training"], ...metrics.map((each) => [each.step, `after epoch ${each.epoch}`])]);
    this.timer = null; // while it plays
    this.last = steps.length - 1;
    this.slider = h("input", {
      type: "range",
      id: "step",
      min: 0,
      max: this.last,
      step: 1,
      value: this.last,
      oninput: () => {
        this.stop();
        this.show();
      },
    });
    this.output = h("output", { for: "step" });
    this.button = h("button", { type: "button", onclick: () => (this.timer ? this.stop() : this.play()) }, "Play");
    this.element = h(
      "p",
      { class: "control steps" },
      h("label", { for: "step" }, "Step"),
      this.slider,
      this.output,
      this.last > 0 ? this.button : null,
    );
  }

  show() {
    const step = this.steps[Number(this.slider.value)];
    const epoch = this.epochs.get(step);
    const text = `step ${formatCount(step)}${epoch ? `, ${epoch}` : ""}`;
    this.output.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    this.onstep(step, text);
  }

  play() {
    this.button.textContent = "Stop";
    if (Number(this.slider.value) === this.last) {
      this.slider.value = 0;
      this.show();
    }
    this.timer = setInterval(() => {
      this.slider.value = Number(this.slider.value) + 1;
      this.show();
      if (Number(this.slider.value) === this.last) this.stop();
    }, FRAME_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = "Play";
  }
}
