// The input: draw, choose a test image or a picture, and change it. Both are shown: what was given, and what the
// networks see of it.

import { h, setText } from "../shared/dom.js";
import { toolbar } from "../shared/roving.js";
import { INPUT_MESSAGES } from "./input-messages.js";
import { InputModel } from "./input-model.js";
import { imageOf, Pad } from "./input-pad.js";
import { readPicture } from "./input-picture.js";
import { Sliders } from "./input-sliders.js";
import { headlines } from "./logits.js";
import { oncePerFrame } from "./state.js";

/** What was done to an image, in the language of the page. */
export function stepText(step, t) {
  const size = /^resized from (\d+)x(\d+)$/.exec(step);
  return size ? t("resized", { width: size[1], height: size[2] }) : t(step);
}

/** The image in a clipboard or a drop, or null. */
const imageIn = (transfer) => [...(transfer?.files ?? [])].find(({ type }) => type.startsWith("image/")) ?? null;

class InputPart {
  constructor(app) {
    this.app = app;
    this.t = app.translate(INPUT_MESSAGES);
    const { state, data } = app;
    if (!state.get("drawing")) state.set({ drawing: firstInput(app) });
    this.model = state.get("drawing");
    this.shape = data.images.shape;
    const push = () => this.#push();
    this.pad = new Pad(app, this.t, push);
    this.sliders = new Sliders(app, this.t, push);
    this.given = h("span", { id: "given" });
    this.drawOn = h(
      "button",
      { type: "button", id: "draw-on", title: this.t("drawOnNote"), onclick: () => this.pad.drawOn() },
      this.t("drawOn"),
    );
    this.stepsLine = h("p", { class: "input-steps" });
    this.problem = h("p", { class: "input-problem", role: "alert" });
    this.element = this.#layout();
    this.#listen();
    this.#showGiven();
    this.#showSeen();
  }

  #layout() {
    const { t } = this;
    return h(
      "div",
      { class: "input" },
      headlines(this.app), // with the pad, so that both are in sight while one draws
      h("figure", { class: "given" }, h("figcaption", {}, this.given, this.drawOn), this.pad.element, this.pad.keys),
      this.pad.toolbar,
      h(
        "div",
        { class: "seen-row" },
        this.#seen(),
        h("div", { class: "seen-text" }, h("b", {}, t("seen")), this.stepsLine, this.#centerSwitch()),
      ),
      toolbar(t("pictures"), "control pictures-line", this.#pictureButton(), this.#saveButton()),
      h("p", { class: "input-note" }, t("pictureNote")),
      this.problem,
      this.#slidersPanel(),
    );
  }

  #slidersPanel() {
    const { state } = this.app;
    const panel = h(
      "details",
      {
        id: "sliders-panel",
        open: state.get("slidersOpen"),
        ontoggle: () => state.set({ slidersOpen: panel.open }),
      },
      h("summary", { id: "sliders-summary" }, this.t("sliders")),
      this.sliders.element,
    );
    return panel;
  }

  #seen() {
    const [, height, width] = this.shape;
    this.seen = h("canvas", { class: "seen", id: "seen", width, height, role: "img", "aria-label": this.t("seen") });
    this.seen.style.aspectRatio = `${width} / ${height}`;
    return this.seen;
  }

  #centerSwitch() {
    const { model, t, app } = this;
    if (!model.canCenter) return null;
    const box = h("input", {
      type: "checkbox",
      id: "center",
      checked: model.center,
      onchange: () => {
        model.center = box.checked;
        model.update();
        this.#push();
      },
    });
    return h(
      "label",
      { class: "center-switch", for: "center" },
      box,
      t("center", { data: app.data.preparation.dataset }),
    );
  }

  // Pictures

  #pictureButton() {
    const file = h("input", {
      type: "file",
      accept: "image/*",
      id: "picture-file",
      hidden: true,
      onchange: () => {
        if (file.files.length) this.showPicture(file.files[0]);
        file.value = ""; // the same file may be chosen again
      },
    });
    const button = h("button", { type: "button", id: "picture", onclick: () => file.click() }, this.t("choosePicture"));
    return [button, file];
  }

  #saveButton() {
    const save = () => {
      const [, height, width] = this.shape;
      const canvas = h("canvas", { width, height });
      canvas.getContext("2d").putImageData(imageOf(this.app.state.get("pixels"), this.shape), 0, 0);
      canvas.toBlob((blob) => {
        const address = URL.createObjectURL(blob);
        h("a", { href: address, download: "input.png" }).click();
        setTimeout(() => URL.revokeObjectURL(address), 1000);
      });
    };
    return h("button", { type: "button", id: "save-input", title: this.t("saveNote"), onclick: save }, this.t("save"));
  }

  /** Show a picture: a file, or what was dropped or pasted. */
  async showPicture(file) {
    this.problem.textContent = "";
    let image;
    try {
      image = await readPicture(file);
    } catch {
      this.problem.textContent = this.t("unreadable", { name: file.name || this.t("clipboard") });
      return;
    }
    const { model } = this;
    model.resetTransforms();
    model.showPicture(image, file.name || this.t("clipboard"));
    this.#push();
    const steps = model.steps.map((step) => stepText(step, this.t)).join(", ");
    this.app.announce(`${model.source.name}${this.t("colon")}${steps}`);
  }

  // The state

  /** Let the networks see the image. */
  #push() {
    const { model, app } = this;
    app.state.set({ pixels: model.pixels(), source: model.source });
  }

  #listen() {
    const { state } = this.app;
    state.on(
      ["pixels"],
      oncePerFrame(() => this.#showSeen()),
    );
    state.on(["source"], () => {
      if (state.get("source") !== this.model.source) {
        // Another part of the page chose an image: it is shown as it is.
        this.model.resetTransforms();
        this.model.showImage({ pixels: state.get("pixels"), source: state.get("source") });
      }
      this.pad.show();
      this.sliders.show();
      this.#showGiven();
    });
    const { signal } = state;
    document.addEventListener(
      "paste",
      (event) => {
        const file = imageIn(event.clipboardData);
        if (!file) return;
        event.preventDefault();
        this.showPicture(file);
      },
      { signal },
    );
    // A file that is dropped beside the pad must not replace the page.
    document.addEventListener("dragover", (event) => event.preventDefault(), { signal });
    document.addEventListener(
      "drop",
      (event) => {
        event.preventDefault();
        const [file] = event.dataTransfer?.files ?? [];
        if (file) this.showPicture(file);
      },
      { signal },
    );
  }

  #showGiven() {
    const { t, model } = this;
    const { kind, number, name } = model.source;
    if (kind === "test") this.given.textContent = t("givenTest", { number });
    else if (kind === "file") {
      const { width, height } = model.picture.image.original;
      this.given.textContent = t("givenFile", { name, width, height });
    } else this.given.textContent = t("givenDrawing");
    this.given.title = this.given.textContent;
    this.drawOn.style.visibility = kind === "drawing" ? "hidden" : "visible";
  }

  #showSeen() {
    const { t, model } = this;
    this.seen.getContext("2d").putImageData(imageOf(this.app.state.get("pixels"), this.shape), 0, 0);
    const [, height, width] = this.shape;
    const steps = model.steps.map((step) => stepText(step, t)).join(t("comma"));
    setText(this.stepsLine, steps || t("unchanged", { width, height }));
  }
}

/** What the page begins with: the image in its state. */
function firstInput({ state, data }) {
  const model = new InputModel(data.images.shape, data.preparation);
  if (state.get("source").kind === "drawing") {
    state.set({ pixels: model.pixels(), source: model.source });
  } else model.showImage({ pixels: state.get("pixels"), source: state.get("source") });
  return model;
}

/** The part of the page. */
export function inputPart(app) {
  return new InputPart(app).element;
}
