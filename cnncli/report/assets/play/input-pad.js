// The pad: a drawing under mouse, finger, pen or keyboard, and its tools.

import { h, setDisabled } from "../shared/dom.js";
import { toolbar } from "../shared/roving.js";
import { PENS } from "./input-model.js";
import { oncePerFrame } from "./state.js";

const SWATCHES = ["#000000", "#ffffff", "#d62728", "#ff9f1c", "#2ca02c", "#1f77b4", "#8b5a2b"];
const CURSOR_KEYS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const FAST = 4; // pixels of the image that the cursor moves with Shift
const ERASER_BUTTON = 32; // of a pen, in PointerEvent.buttons

/** [red, green, blue] as #rrggbb, and back. */
export const hexOf = (rgb) => `#${rgb.map((level) => level.toString(16).padStart(2, "0")).join("")}`;
export const rgbOf = (hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));

/** The pressure of a pointer: 0.5 unless it is a pen that has one. */
const pressureOf = ({ pointerType, pressure }) => (pointerType === "pen" && pressure > 0 ? pressure : 0.5);

export class Pad {
  /**
   * @param app of the page.
   * @param t the texts of the input.
   * @param changed is called when the image has changed, at most once a frame while one draws.
   */
  constructor(app, t, changed) {
    Object.assign(this, { app, t, changed, model: app.state.get("drawing") });
    const { width, height } = this.model.drawing;
    this.canvas = h("canvas", { width, height, class: "pad-canvas" });
    this.cursor = h("span", { class: "pad-cursor", "aria-hidden": "true" });
    this.hint = h("span", { class: "pad-hint", "aria-hidden": "true" }, t("drawHere"));
    this.element = h(
      "div",
      {
        class: "pad",
        id: "pad",
        tabindex: "0",
        role: "application",
        "aria-label": t("pad"),
        "aria-describedby": "pad-keys",
      },
      this.canvas,
      this.hint,
      this.cursor,
    );
    this.element.style.aspectRatio = `${width} / ${height}`;
    this.element.style.maxWidth = `${Math.min(width, 320)}px`;
    this.keys = h("p", { class: "visually-hidden", id: "pad-keys" }, t("padKeys"));
    this.at = [width / 2, height / 2]; // of the keyboard's cursor
    this.isDown = false;
    this.pointer = null;
    this.dirty = null;
    this.soon = oncePerFrame(() => this.#flush());
    this.toolbar = this.#tools();
    this.#listen();
    this.show();
  }

  // Drawing

  #listen() {
    const pad = this.element;
    pad.addEventListener("pointerdown", (event) => this.#begin(event));
    pad.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.pointer) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.#grow(this.model.continueStroke(this.#pointOf(each)));
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      pad.addEventListener(name, (event) => {
        if (event.pointerId === this.pointer) this.#end();
      });
    }
    pad.addEventListener("keydown", (event) => this.#key(event));
    pad.addEventListener("blur", () => this.#lift());
  }

  #begin(event) {
    if (this.pointer !== null || (event.pointerType === "mouse" && event.button !== 0)) return;
    event.preventDefault();
    this.element.focus({ preventScroll: true });
    this.element.classList.remove("with-cursor");
    this.#lift();
    this.pointer = event.pointerId;
    this.box = this.canvas.getBoundingClientRect();
    try {
      this.element.setPointerCapture(event.pointerId);
    } catch {
      // An event that a script dispatched: there is no such pointer.
    }
    this.#stroke(this.#pointOf(event), (event.buttons & ERASER_BUTTON) !== 0);
  }

  #stroke(point, erase = false) {
    const wasDrawing = this.model.source.kind === "drawing";
    const changed = this.model.beginStroke(point, { erase });
    if (wasDrawing) this.#grow(changed);
    else this.#growAll();
  }

  #end() {
    this.pointer = null;
    this.soon();
    this.showTools();
  }

  /** A point of the pad under a pointer. */
  #pointOf(event) {
    const { left, top, width, height } = this.box;
    const { drawing } = this.model;
    return {
      x: ((event.clientX - left) / width) * drawing.width,
      y: ((event.clientY - top) / height) * drawing.height,
      pressure: pressureOf(event),
    };
  }

  #grow({ left, top, right, bottom }) {
    const { dirty } = this;
    this.dirty = dirty
      ? {
          left: Math.min(left, dirty.left),
          top: Math.min(top, dirty.top),
          right: Math.max(right, dirty.right),
          bottom: Math.max(bottom, dirty.bottom),
        }
      : { left, top, right, bottom };
    this.soon();
  }

  #growAll() {
    const { width, height } = this.model.drawing;
    this.#grow({ left: 0, top: 0, right: width, bottom: height });
  }

  /** Draw what has changed, and let the networks see it. */
  #flush() {
    const { dirty, model } = this;
    if (!dirty) return;
    this.dirty = null;
    if (dirty.right > dirty.left && dirty.bottom > dirty.top) {
      const pixels = new ImageData(model.drawing.rgba(dirty), dirty.right - dirty.left, dirty.bottom - dirty.top);
      this.canvas.getContext("2d").putImageData(pixels, dirty.left, dirty.top);
    }
    this.#showHint();
    model.update();
    this.changed();
  }

  #showHint() {
    const isHidden = !this.model.isEmpty;
    if (this.hint.hidden !== isHidden) this.hint.hidden = isHidden; // the same value again would compute styles
  }

  // Keyboard

  #key(event) {
    const command = event.ctrlKey || event.metaKey;
    const letter = event.key.toLowerCase();
    if (letter === "z" && !event.shiftKey && !event.altKey) this.undo();
    else if (command || event.altKey) return;
    else if (event.key in CURSOR_KEYS) this.#move(CURSOR_KEYS[event.key], event.shiftKey ? FAST : 1);
    else if (event.key === " ") this.#toggle();
    else if (event.key === "Escape" && this.isDown) this.#toggle();
    else if (letter === "e") this.choose("tool", this.model.tool === "pen" ? "eraser" : "pen", true);
    else if (event.key === "Delete") this.clear();
    else return;
    event.preventDefault();
  }

  #move([right, down], pixels) {
    const { width, height } = this.model.drawing;
    const step = pixels * this.model.scale;
    const within = (value, length) => Math.min(length, Math.max(0, value));
    this.at = [within(this.at[0] + right * step, width), within(this.at[1] + down * step, height)];
    if (this.isDown) this.#grow(this.model.continueStroke(this.#cursorPoint()));
    this.#showCursor();
  }

  #toggle() {
    if (this.isDown) {
      this.#lift();
      this.app.announce(this.t("penUp"));
      return;
    }
    this.isDown = true;
    this.#stroke(this.#cursorPoint());
    this.#showCursor();
    this.app.announce(this.t("penDown"));
  }

  #lift() {
    if (!this.isDown) return;
    this.isDown = false;
    this.#flush();
    this.#showCursor();
    this.showTools();
  }

  #cursorPoint() {
    return { x: this.at[0], y: this.at[1], pressure: 0.5 };
  }

  #showCursor() {
    const { width, height } = this.model.drawing;
    this.element.classList.add("with-cursor");
    this.cursor.classList.toggle("down", this.isDown);
    this.cursor.style.left = `${(100 * this.at[0]) / width}%`;
    this.cursor.style.top = `${(100 * this.at[1]) / height}%`;
  }

  // Tools

  #tools() {
    const { t } = this;
    const button = (id, text, onclick, content) =>
      h("button", { type: "button", id, class: "tool", "aria-label": text, title: text, onclick }, content ?? text);
    const choice = (key, value, content) => {
      const element = button(`${key}-${value}`, t(value), () => this.choose(key, value), content);
      return { key, value, element };
    };
    const dot = (share) => {
      const mark = h("span", { class: "dot", "aria-hidden": "true" });
      mark.style.width = mark.style.height = `${Math.round(4 + 180 * share)}px`;
      return mark;
    };
    this.choices = [
      choice("tool", "pen", t("penShort")),
      choice("tool", "eraser", t("eraserShort")),
      ...Object.entries(PENS).map(([name, share]) => choice("pen", name, dot(share))),
    ];
    this.undoButton = button("undo", t("undo"), () => this.undo(), t("undoShort"));
    this.clearButton = button("clear", t("clear"), () => this.clear(), t("clearShort"));
    const choices = this.choices.map(({ element }) => element);
    const tools = toolbar(t("tools"), "tools", choices, this.undoButton, this.clearButton);
    if (!this.model.inColor) return h("div", {}, tools);
    return h("div", {}, tools, this.#colors());
  }

  #colors() {
    const { t, model } = this;
    const paint = (hex) => {
      model.color = rgbOf(hex);
      model.tool = "pen";
      this.showTools();
    };
    this.swatches = SWATCHES.map((hex, i) => {
      const swatch = h("button", {
        type: "button",
        id: `swatch-${i}`,
        class: "swatch",
        "aria-label": t("swatch", { color: hex }),
        title: hex,
        onclick: () => paint(hex),
      });
      swatch.style.background = hex;
      return { hex, swatch };
    });
    this.colorInput = h("input", {
      type: "color",
      id: "pen-color",
      "aria-label": t("color"),
      title: t("color"),
      oninput: () => paint(this.colorInput.value),
    });
    const swatches = this.swatches.map(({ swatch }) => swatch);
    return toolbar(t("colors"), "tools", swatches, this.colorInput);
  }

  choose(key, value, isSaid = false) {
    this.model[key] = value;
    this.showTools();
    if (isSaid) this.app.announce(this.t(value));
  }

  undo() {
    this.#lift();
    this.model.undo();
    this.#changedByTool();
  }

  clear() {
    this.#lift();
    this.model.clear();
    this.#changedByTool();
  }

  #changedByTool() {
    this.dirty = null;
    this.show();
    this.changed();
  }

  /** Draw on the image that the pad shows. */
  drawOn() {
    this.model.drawOn();
    this.#changedByTool();
  }

  showTools() {
    const { model } = this;
    for (const { key, value, element } of this.choices) element.setAttribute("aria-pressed", model[key] === value);
    setDisabled(this.undoButton, !model.canUndo);
    setDisabled(this.clearButton, model.isEmpty);
    if (!this.colorInput) return;
    const hex = hexOf(model.color);
    this.colorInput.value = hex;
    for (const each of this.swatches) each.swatch.setAttribute("aria-pressed", each.hex === hex);
  }

  /** Draw all of the pad: the drawing, the test image enlarged, or the picture as it was given. */
  show() {
    const { model, canvas } = this;
    const context = canvas.getContext("2d");
    const { drawing, source } = model;
    if (source.kind === "drawing") {
      context.putImageData(new ImageData(drawing.rgba(), drawing.width, drawing.height), 0, 0);
    } else if (source.kind === "file") {
      showContained(context, model.picture.image);
    } else {
      context.imageSmoothingEnabled = false;
      context.drawImage(canvasOf(model.base, model.shape), 0, 0, canvas.width, canvas.height);
    }
    this.#showHint();
    this.showTools();
  }
}

/** A picture in the middle of a canvas, as large as it fits. */
function showContained(context, { width, height, data }) {
  const { canvas } = context;
  const factor = Math.min(canvas.width / width, canvas.height / height);
  const [shownWidth, shownHeight] = [width * factor, height * factor];
  const whole = h("canvas", { width, height });
  whole.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = factor < 1;
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, (canvas.width - shownWidth) / 2, (canvas.height - shownHeight) / 2, shownWidth, shownHeight);
}

/** A canvas with C * H * W levels, a pixel for each. */
export function canvasOf(pixels, [channels, height, width]) {
  const canvas = h("canvas", { width, height });
  canvas.getContext("2d").putImageData(imageOf(pixels, [channels, height, width]), 0, 0);
  return canvas;
}

/** C * H * W levels as ImageData. */
export function imageOf(pixels, [channels, height, width]) {
  const image = new ImageData(width, height);
  const size = height * width;
  for (let position = 0; position < size; position += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      image.data[4 * position + channel] = pixels[(channels === 3 ? channel * size : 0) + position];
    }
    image.data[4 * position + 3] = 255;
  }
  return image;
}
