// The image that the networks see, and where it comes from: a drawing, a test image or a picture, then the sliders.

import { Drawing, padScale } from "./input-drawing.js";
import { prepareImage } from "./preparation.js";
import { neutralTransforms, transformPixels } from "./transforms.js";

/** Radii of the pens, in shares of the shorter side of an image; in MNIST, strokes are as wide as with the medium one. */
export const PENS = { thin: 0.018, medium: 0.04, thick: 0.08 };
const ERASER = 1.5; // times the radius of the pen
const LEAST_RADIUS = 0.5; // pixels of the pad

const BLACK = [0, 0, 0];
const WHITE = [255, 255, 255];

/** The source of a drawing; one object, so that the state does not change with every stroke. */
const DRAWN = { kind: "drawing" };

export class InputModel {
  /**
   * @param shape [C, H, W] of the image that the networks see.
   * @param preparation of images, as `Preparation.description` in Python gives it.
   */
  constructor(shape, preparation) {
    Object.assign(this, { shape, preparation });
    const channels = shape[0] === 1 || preparation.stored?.[0] === 1 ? 1 : 3;
    const isDark = preparation.background === "dark";
    this.scale = padScale(shape);
    this.drawing = new Drawing({
      height: shape[1] * this.scale,
      width: shape[2] * this.scale,
      channels,
      paper: (isDark ? BLACK : WHITE).slice(0, channels),
    });
    this.color = isDark ? WHITE : BLACK; // of the pen
    this.tool = "pen";
    this.pen = "medium";
    this.canCenter = preparation.framing !== null;
    this.center = this.canCenter;
    this.transforms = neutralTransforms(shape);
    this.picture = null; // {image: RGBA, name}
    this.source = DRAWN;
    this.base = new Uint8Array(shape.reduce((a, b) => a * b, 1)); // before the sliders
    this.steps = [];
    this.#prepare();
  }

  /** Whether the pen has colors. */
  get inColor() {
    return this.drawing.channels === 3;
  }

  /** What the networks see: C * H * W levels. */
  pixels() {
    return transformPixels(this.base, this.shape, this.transforms);
  }

  /** The radius of pen or eraser in pixels of the pad, for a pressure from 0 to 1; 0.5 is that of a mouse. */
  radius(pressure = 0.5) {
    const [, height, width] = this.shape;
    const radius = PENS[this.pen] * Math.min(height, width) * this.scale * (this.tool === "eraser" ? ERASER : 1);
    return Math.max(LEAST_RADIUS, 2 * pressure * radius);
  }

  /** Begin a stroke at a point {x, y, pressure} of the pad: on an empty one if it showed an image, which can be erased. */
  beginStroke(point, { erase = false } = {}) {
    const erases = erase || this.tool === "eraser";
    if (this.source.kind !== "drawing") {
      if (erases) this.drawOn();
      else this.#drawAnew();
    }
    const ink = erases ? this.drawing.paper : this.color.slice(0, this.drawing.channels);
    this.drawing.beginStroke(ink);
    this.last = this.#penAt(point);
    return this.drawing.strokeTo(this.last, this.last);
  }

  /** Continue a stroke; returns the rectangle of the pad that changed. */
  continueStroke(point) {
    const next = this.#penAt(point);
    const changed = this.drawing.strokeTo(this.last, next);
    this.last = next;
    return changed;
  }

  #penAt({ x, y, pressure }) {
    return { x, y, radius: this.radius(pressure) };
  }

  #drawAnew() {
    this.source = DRAWN;
    this.drawing.clear();
  }

  /** Make the image that the networks see, before the sliders, the drawing. */
  drawOn() {
    const [channels, height, width] = this.shape;
    // A gray pad for a network in color: its channels are the same.
    const pixels = this.inColor || channels === 1 ? this.base : this.base.subarray(0, height * width);
    this.drawing.enlarge(pixels, [this.drawing.channels, height, width]);
    this.source = DRAWN;
    this.#prepare();
  }

  /** Prepare again what has changed. */
  update() {
    this.#prepare();
  }

  undo() {
    if (!this.canUndo) return;
    if (this.source.kind !== "drawing") this.source = DRAWN;
    else this.drawing.undo();
    this.#prepare();
  }

  clear() {
    this.#drawAnew();
    this.#prepare();
  }

  /** Whether there is something to undo: a stroke, or a picture in place of a drawing. */
  get canUndo() {
    return this.source.kind === "drawing" ? this.drawing.canUndo : !this.drawing.isEmpty;
  }

  get isEmpty() {
    return this.source.kind === "drawing" && this.drawing.isEmpty;
  }

  /** Show the image of a state, as it is stored. */
  showImage({ pixels, source }) {
    this.source = source;
    this.base = Uint8Array.from(pixels);
    this.steps = [];
  }

  /** Show a picture: RGBA with its name. */
  showPicture(image, name) {
    this.picture = { image, name };
    this.source = { kind: "file", name };
    this.#prepare();
  }

  resetTransforms() {
    this.transforms = neutralTransforms(this.shape);
  }

  #prepare() {
    const fit = this.canCenter && !this.center ? "none" : "auto";
    if (this.isEmpty) {
      this.#take({ pixels: new Uint8Array(this.base.length).fill(this.drawing.paper[0]), steps: [] }); // paper is gray
    } else if (this.source.kind === "drawing") {
      const { height, width } = this.drawing;
      const image = { height, width, planes: this.drawing.planes() };
      this.#take(prepareImage(image, this.preparation, { invert: "no", fit }));
    } else if (this.source.kind === "file") {
      this.#take(prepareImage(this.picture.image, this.preparation, { fit }));
    }
  }

  #take({ pixels, steps }) {
    this.base = pixels;
    this.steps = steps;
  }
}
