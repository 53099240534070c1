// Many small images of one size in one picture.

import { h } from "./dom.js";

/** px for each pixel of an image whose longer side takes about `side` px: whole, so that pixels stay square. */
export const enlargement = ([height, width], side) => Math.max(1, Math.round(side / Math.max(height, width)));

export class Sprite {
  constructor({ webp, columns, height, width }) {
    Object.assign(this, { columns, height, width });
    this.image = new Image();
    this.image.src = `data:image/webp;base64,${webp}`;
    this.ready = this.image.decode();
  }

  /**
   * An image as a canvas, drawn as soon as the picture is decoded.
   *
   * @param position of the image.
   * @param label for screen readers.
   * @param side px of its longer side, about.
   * @param size its height and width, where it does not fill its place.
   */
  tile(position, { label, side, size = [this.height, this.width] }) {
    const [height, width] = size;
    const canvas = h("canvas", { height, width, class: "tile", role: "img", "aria-label": label });
    const scale = enlargement(size, side);
    canvas.style.width = `${scale * width}px`;
    canvas.style.height = `${scale * height}px`;
    const [x, y] = [(position % this.columns) * this.width, Math.floor(position / this.columns) * this.height];
    this.ready.then(() => canvas.getContext("2d").drawImage(this.image, x, y, width, height, 0, 0, width, height));
    return canvas;
  }
}
