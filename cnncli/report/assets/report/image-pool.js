// The test images that the network can be applied to.

import { h } from "../shared/dom.js";
import { Sprite } from "../shared/sprite.js";

export class ImagePool {
  /** @param data what `images_data` collects. */
  constructor(data) {
    this.data = data;
    this.sprite = new Sprite(data.sprite);
  }

  /** Decode all images. */
  async load() {
    await this.sprite.ready;
    const { naturalWidth: width, naturalHeight: height } = this.sprite.image;
    const context = h("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
    context.drawImage(this.sprite.image, 0, 0);
    this.sheet = context.getImageData(0, 0, width, height);
  }

  /** The levels of an image by channel, row and column, 0 to 255. */
  pixels(position) {
    const [channels, height, width] = this.data.shape;
    const { columns } = this.sprite;
    const [left, top] = [(position % columns) * width, Math.floor(position / columns) * height];
    const levels = new Uint8Array(channels * height * width);
    let i = 0;
    for (let channel = 0; channel < channels; channel += 1) {
      for (let row = top; row < top + height; row += 1) {
        for (let column = left; column < left + width; column += 1, i += 1) {
          levels[i] = this.sheet.data[4 * (row * this.sheet.width + column) + channel];
        }
      }
    }
    return levels;
  }
}
