// The command that prints the numbers of a unit, and the picture as a file where it needs one.

import { h, setText } from "../shared/dom.js";
import { rove } from "../shared/roving.js";
import { isInTraining } from "./state.js";
import { shellQuoted } from "./unit-numbers.js";

const PICTURE = "drawing.png";

/** The command for a unit [channel, row, column] or [number] of a layer, and an image: a number, or a file. */
export function unitCommand(run, layer, [channel, ...place], image) {
  const at = place.length ? ` --at ${place.join(",")}` : "";
  const unit = `--layer ${shellQuoted(layer)} --filter ${channel}${at}`;
  const prepared = typeof image === "number" ? "" : " --invert no --fit none";
  return `cnncli explain unit ${shellQuoted(run)} ${unit} --image ${shellQuoted(String(image))}${prepared}`;
}

/** Whether the picture is a test image as it is, without a change by the sliders. */
function isTestImage({ state, testImage }) {
  const source = state.get("source");
  if (source?.kind !== "test" || source.position === undefined) return false;
  const pixels = state.get("pixels");
  return testImage(source.position).pixels.every((level, i) => level === pixels[i]);
}

export class UnitCommand {
  constructor(app, t) {
    Object.assign(this, { app, t });
    this.code = h("code", {});
    this.before = h("p", { class: "intro" });
    this.after = h("p", { class: "intro" });
    this.copyButton = h("button", { type: "button", onclick: () => this.#copy() }, t("copy"));
    this.saveButton = h("button", { type: "button", onclick: () => this.#save() }, t("savePicture"));
    const line = h("div", { class: "command-line" }, h("pre", {}, this.code), this.copyButton, this.saveButton);
    rove(line);
    this.element = h("div", { class: "unit-command" }, h("h3", {}, t("commandHeading")), this.before, line, this.after);
  }

  update(view) {
    const { app, t } = this;
    const { state } = app;
    this.pixels = view.pixels;
    this.shape = view.network.model.input;
    const isTest = isTestImage(app);
    const image = isTest ? state.get("source").number : PICTURE;
    setText(this.code, unitCommand(app.data.command.run[view.number], view.unit.layer, view.index, image));
    setText(this.before, t(isTest ? "commandTest" : "commandDrawing"));
    this.saveButton.hidden = isTest;
    const rounded = !isTest && view.pixels.some((level) => !Number.isInteger(level));
    const notes = [
      rounded ? t("commandRounded") : "",
      view.network.model.precision === "float16" ? t("commandHalf") : "",
      state.get("edits").length ? t("commandEdited") : "",
      state.get("step") === null ? "" : t("commandStep"),
      isInTraining(app) ? t("commandTraining") : "",
    ];
    setText(this.after, notes.filter(Boolean).join(" "));
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.code.textContent);
      this.app.announce(this.t("copied"));
      this.copyButton.textContent = this.t("copied");
    } catch {
      getSelection().selectAllChildren(this.code);
      const done = document.execCommand("copy"); // where a page from a file may not use the clipboard
      this.app.announce(this.t(done ? "copied" : "copyFailed"));
      this.copyButton.textContent = this.t(done ? "copied" : "copyFailed");
    }
    setTimeout(() => {
      this.copyButton.textContent = this.t("copy");
    }, 2500);
  }

  /** Download what the network sees. */
  #save() {
    const link = h("a", { href: pictureAddress(this.pixels, this.shape), download: PICTURE });
    link.click();
    this.app.announce(this.t("saved", { file: PICTURE }));
  }
}

/** A picture as the address of a PNG: gray, or with three channels in color. */
function pictureAddress(pixels, [channels, height, width]) {
  const canvas = h("canvas", { width, height });
  const image = new ImageData(width, height);
  const size = height * width;
  for (let i = 0; i < size; i += 1) {
    for (let j = 0; j < 3; j += 1) image.data[4 * i + j] = Math.round(pixels[(channels === 3 ? j * size : 0) + i]);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.toDataURL("image/png");
}
