// What the layers of the network make of the probe images.

/** What the layers make of the probe images: numbers by layer, image, channel and unit. */
class Maps {
  constructor(maps, shapes, colors) {
    Object.assign(this, { probes: maps.probes, layers: maps.layers, shapes, colors });
    this.images = bytes(maps.images);
    this.values = new Map(Object.entries(maps.layers).map(([name, layer]) => [name, halves(layer.values)]));
  }

  channels(name) {
    return name === "input" ? this.shapes.get("input")[0] : this.layers[name].channels;
  }

  /** All numbers of a layer for an image. */
  of(name, probe) {
    const values = this.values.get(name);
    const size = values.length / this.probes.length;
    return values.subarray(probe * size, (probe + 1) * size);
  }

  /** The levels of a pixel of the input, 0 to 255, one per channel. */
  pixel(probe, row, column) {
    const [channels, height, width] = this.shapes.get("input");
    const levels = [];
    for (let i = 0; i < channels; i += 1) {
      levels.push(this.images[((probe * channels + i) * height + row) * width + column]);
    }
    return levels;
  }

  color(probe, row, column) {
    const levels = this.pixel(probe, row, column);
    return levels.length === 3 ? levels : [levels[0], levels[0], levels[0]];
  }
}
