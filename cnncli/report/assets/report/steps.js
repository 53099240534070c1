// Kernels and feature maps as the training logged them: one slider moves every picture.

import { h, section } from "../shared/dom.js";
import { formatCount } from "../shared/numbers.js";

const FRAME_MS = 700;

/** The newest of a tag's steps that is not after `step`, or null: tags need not be logged at the same steps. */
export function newestStep(frames, step) {
  const steps = Object.keys(frames)
    .map(Number)
    .filter((each) => each <= step);
  return steps.length ? Math.max(...steps) : null;
}

/** What a logged picture shows, in words: `kernels of conv1`, `feature maps of conv1 for class 3`. */
export function describeTag({ layer, probe }) {
  const name = layer.replace(/^\d+_/, "");
  if (probe === null) return `kernels of ${name}`;
  const image = probe.startsWith("test-") ? `test image ${probe.slice(5)}` : `class ${probe}`;
  return `feature maps of ${name} for ${image}`;
}

const tagName = (tag) => (tag.probe === null ? `kernels/${tag.layer}` : `feature_maps/${tag.layer}/${tag.probe}`);

class StepPlayer {
  constructor({ logged, metrics }) {
    this.logged = logged;
    this.epochs = new Map([[0, "before training"], ...metrics.map((each) => [each.step, `after epoch ${each.epoch}`])]);
    this.timer = null; // while it plays
    this.last = logged.steps.length - 1;
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
    this.kernels = logged.kernels.map(picture);
    this.featureMaps = [];
    this.featureMapsElement = h("div", { class: "pictures" });
    const kernels = h(
      "div",
      { class: "pictures" },
      this.kernels.map((each) => each.element),
    );
    this.element = h(
      "div",
      {},
      h(
        "p",
        { class: "control steps" },
        h("label", { for: "step" }, "Step"),
        this.slider,
        this.output,
        this.last > 0 ? this.button : null,
      ),
      logged.kernels.length ? [h("h3", {}, "Kernels"), kernels] : null,
      logged.feature_maps.length ? [h("h3", {}, "Feature maps"), this.probeChoice(), this.featureMapsElement] : null,
    );
    this.chooseProbe(logged.feature_maps[0]?.probe);
  }

  probeChoice() {
    const probes = [...new Set(this.logged.feature_maps.map((tag) => tag.probe))];
    const text = (probe) => (probe.startsWith("test-") ? probe : `class ${probe}`);
    const options = probes.map((probe) => h("option", { value: probe }, text(probe)));
    const select = h("select", { id: "probe", onchange: () => this.chooseProbe(select.value) }, options);
    return h("p", { class: "control" }, h("label", { for: "probe" }, "Test image"), select);
  }

  chooseProbe(probe) {
    this.featureMaps = this.logged.feature_maps.filter((tag) => tag.probe === probe).map(picture);
    this.featureMapsElement.replaceChildren(...this.featureMaps.map((each) => each.element));
    this.show();
  }

  show() {
    const step = this.logged.steps[Number(this.slider.value)];
    const epoch = this.epochs.get(step);
    const text = `step ${formatCount(step)}${epoch ? `, ${epoch}` : ""}`;
    this.output.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    for (const { tag, image, caption } of [...this.kernels, ...this.featureMaps]) {
      const newest = newestStep(tag.frames, step);
      image.hidden = newest === null;
      if (newest !== null) image.src = `data:image/webp;base64,${this.logged.pictures[tag.frames[newest]]}`;
      image.alt = newest === null ? "" : `${describeTag(tag)} at step ${formatCount(newest)}`;
      const note = newest === null ? " not logged yet" : newest === step ? "" : ` at step ${formatCount(newest)}`;
      caption.replaceChildren(h("b", {}, tag.layer), note);
    }
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

function picture(tag) {
  const image = h("img", { width: 304, height: 215, "data-tag": tagName(tag) });
  const caption = h("figcaption");
  return { tag, image, caption, element: h("figure", { class: "picture" }, image, caption) };
}

export function stepsSection(data) {
  const { logged } = data;
  const heading = "Kernels and feature maps during training";
  if (!logged.steps.length) {
    const reason = logged.enabled
      ? "No pictures of kernels or feature maps have been logged yet."
      : "No pictures were logged: log.images is 0 in the config.";
    return section("steps", heading, reason);
  }
  const omitted = logged.omitted.join(" and ");
  const note = omitted ? ` Omitted to keep the page small: ${omitted}.` : "";
  return section(
    "steps",
    heading,
    `The pictures logged for TensorBoard during training.${note}`,
    new StepPlayer(data).element,
  );
}
