// The network, computed for a test image: parts of the playground, without its drawing.

import { Network } from "../engine/network.js";
import { galleryPart } from "../play/input-gallery.js";
import { headlines, logitsPart } from "../play/logits.js";
import { overviewPart } from "../play/overview.js";
import { State } from "../play/state.js";
import { translator } from "../play/translate.js";
import { unitPart } from "../play/unit.js";
import { h, section } from "../shared/dom.js";
import { formatCount } from "../shared/numbers.js";
import { ReceptiveFields } from "../shared/receptive-fields.js";

const NO_IMAGES = { count: 0, labels: [], numbers: [], mistakes: [] };

/** Takes the place of a drawing: the test image that was chosen. */
class ChosenImage {
  showImage({ pixels, source }) {
    Object.assign(this, { image: pixels, source });
  }

  pixels() {
    return this.image;
  }
}

const endOf = (end, { shape, offset }) => Math.max(end, offset + shape.reduce((a, b) => a * b, 1));

/** The playground's app, as far as these parts use it: one network, with its best weights, or none. */
function createNetworkApp(data, arrays, pool) {
  const { head, network, model } = data;
  const weights = arrays.get("weights/0") ?? new Float32Array(model.tensors.reduce(endOf, 0)); // without any: zeros
  const images = data.images ?? { ...NO_IMAGES, shape: network.input };
  const entry = { name: head.name, run: head.run, receptive_fields: network, model };
  const [channels, height, width] = network.input;
  const testImage = (position) => ({
    pixels: pool.pixels(position),
    source: { kind: "test", number: images.numbers[position], label: images.labels[position], position },
  });
  const blank = { pixels: new Uint8Array(channels * height * width), source: { kind: "drawing" } };
  const state = new State({
    ...(pool ? testImage(0) : blank),
    drawing: new ChosenImage(),
    result: null,
    unit: null,
    hover: null,
    model: 0,
    step: null,
    training: null, // the report is not that of a training that goes on
    edits: [],
    strongest: false,
    folded: {},
    gallery: null,
    allClasses: false,
    language: "en",
  });
  const live = h("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  return {
    data: { colors: data.colors, images, models: [entry], command: { run: [head.path] }, language: "en" },
    models: [
      {
        data: entry,
        network: new Network(model, weights),
        receptiveFields: new ReceptiveFields(network),
        steps: [],
        label: head.name,
      },
    ],
    state,
    live,
    testImage,
    announce(text) {
      live.textContent = text;
    },
    translate: translator("en"),
    edited() {
      return this.models[0].network;
    },
  };
}

export class NetworkSection {
  /**
   * @param data of the page.
   * @param arrays key -> numbers; with the weights, where there are any.
   * @param pool its images, decoded, or null.
   */
  constructor(data, arrays, pool) {
    this.images = data.images;
    this.app = createNetworkApp(data, arrays, pool);
    this.body = h("div", { class: "network" });
    this.element = section("network", "Network", this.intro(data), this.body, this.app.live);
    this.app.state.on(["pixels"], () => this.compute(), { permanent: true });
    window.addEventListener("themechange", () => this.build());
    this.compute();
    this.build();
  }

  intro({ unavailable, images }) {
    const fields =
      "Point at a unit, and its exact receptive field is outlined in the input and in every layer between; it is " +
      "computed from the layers alone and not measured on an image, and hatched where it covers padding. Point at a " +
      "pixel, and the units that depend on it are outlined.";
    if (unavailable) return `${fields} Without values: ${unavailable}.`;
    const some = images.count < images.of ? `${formatCount(images.count)} of the ${formatCount(images.of)}` : "all";
    return (
      `Every layer as computed in this page, for one of ${some} test images: the first image of each class and ` +
      `those behind the confusion matrix. ${fields}`
    );
  }

  compute() {
    const { state, models } = this.app;
    const { network } = models[0];
    const pixels = state.get("pixels");
    if (this.images) state.set({ result: [{ ...network.run(pixels), pixels }] });
  }

  build() {
    const { app } = this;
    app.state.removeParts();
    const part = (heading, ...content) => h("div", { class: "part" }, h("h3", {}, heading), content);
    if (!this.images) {
      this.body.replaceChildren(overviewPart(app));
      this.body.classList.add("alone");
      return;
    }
    this.body.replaceChildren(
      h(
        "div",
        { class: "side" },
        part("Test images", galleryPart(app)),
        part("Answer", headlines(app), logitsPart(app)),
      ),
      h("div", {}, overviewPart(app)),
      h("div", { class: "whole" }, part("The arithmetic of a unit", unitPart(app))),
    );
  }

  /** Show a test image by its number, if it is one of those in the page; returns whether it is. */
  show(number) {
    const position = this.images?.numbers.indexOf(number) ?? -1;
    if (position < 0) return false;
    const { state } = this.app;
    const image = this.app.testImage(position);
    state.get("drawing").showImage(image);
    state.set({ ...image });
    return true;
  }
}
