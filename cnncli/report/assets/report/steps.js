// Kernels and feature maps of the steps of training, from its weights or as it logged them: one slider moves them all.

import { h, section } from "../shared/dom.js";
import { formatCount } from "../shared/numbers.js";
import { ComputedSteps, describeHistory } from "./kernels.js";
import { StepControl } from "./step-control.js";

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

class LoggedSteps {
  constructor({ logged, metrics }) {
    this.logged = logged;
    this.control = new StepControl(logged.steps, metrics, (step) => this.show(step));
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
      this.control.element,
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
    this.control.show();
  }

  show(step) {
    for (const { tag, image, caption } of [...this.kernels, ...this.featureMaps]) {
      const newest = newestStep(tag.frames, step);
      image.hidden = newest === null;
      if (newest !== null) image.src = `data:image/webp;base64,${this.logged.pictures[tag.frames[newest]]}`;
      image.alt = newest === null ? "" : `${describeTag(tag)} at step ${formatCount(newest)}`;
      const note = newest === null ? " not logged yet" : newest === step ? "" : ` at step ${formatCount(newest)}`;
      caption.replaceChildren(h("b", {}, tag.layer), note);
    }
  }
}

function picture(tag) {
  const image = h("img", { width: 304, height: 215, "data-tag": tagName(tag) });
  const caption = h("figcaption");
  return { tag, image, caption, element: h("figure", { class: "picture" }, image, caption) };
}

/**
 * @param arrays key -> numbers; with the weights of the steps, where the run has kept them.
 * @param pool the images of the page, decoded, or null.
 */
export function stepsSection(data, arrays, pool) {
  const { logged, history } = data;
  const heading = "Kernels and feature maps during training";
  if (history) {
    return section("steps", heading, describeHistory(history), new ComputedSteps(data, arrays, pool).element);
  }
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
    new LoggedSteps(data).element,
  );
}
