// The output of every layer for the probe images.

import { decodeBytes, decodeFloat16 } from "../shared/numbers.js";

export class FeatureMaps {
  /**
   * @param data probes, images (uint8: probe, channel, row, column) and layers with their values.
   * @param shapes layer -> shape.
   */
  constructor({ probes, images, layers }, shapes) {
    Object.assign(this, { probes, layers, shapes });
    this.images = decodeBytes(images);
    this.decoded = new Map(Object.entries(layers).map(([name, layer]) => [name, decodeFloat16(layer.values)]));
  }

  /** How many channels of a layer there are values of. */
  channels(name) {
    return name === "input" ? this.shapes.get("input")[0] : this.layers[name].channels;
  }

  /** All values of a layer for a probe image, channel by channel. */
  values(name, probe) {
    const all = this.decoded.get(name);
    const size = all.length / this.probes.length;
    return all.subarray(probe * size, (probe + 1) * size);
  }

  /** The levels of a pixel of a probe image, 0 to 255, one for each channel. */
  pixel(probe, row, column) {
    const [channels, height, width] = this.shapes.get("input");
    const level = (channel) => this.images[((probe * channels + channel) * height + row) * width + column];
    return Array.from({ length: channels }, (_, channel) => level(channel));
  }

  /** The color of a pixel of a probe image: gray unless it has three channels. */
  color(probe, row, column) {
    const levels = this.pixel(probe, row, column);
    return levels.length === 3 ? levels : [levels[0], levels[0], levels[0]];
  }
}
