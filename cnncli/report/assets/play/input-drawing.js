// A drawing: levels in memory, changed by strokes of a soft round pen. The pad shows it, and no canvas is read back.

const UNDO_STEPS = 40;

/** The size of a pad for an image: ten pixels for each of its own, more for tiny images and fewer for large ones. */
export function padScale([, height, width], { least = 280, most = 640 } = {}) {
  const side = Math.max(height, width);
  if (10 * side < least) return Math.round(least / side);
  return 10 * side <= most ? 10 : Math.max(1, Math.floor(most / side));
}

/** The width of the soft edge of a pen, on each side of its radius. */
const softness = (radius) => Math.max(0.5, 0.3 * radius);

/** How much of a pixel at `distance` from the middle of the pen its ink covers: 1 inside, softly 0 outside. */
function penCoverage(distance, radius) {
  const soft = softness(radius);
  const inside = Math.min(1, Math.max(0, (radius + soft - distance) / (2 * soft)));
  return inside * inside * (3 - 2 * inside);
}

export class Drawing {
  /**
   * @param height, width of the pad, in its own pixels.
   * @param channels 1 or 3.
   * @param paper the level of each channel where nothing is drawn.
   */
  constructor({ height, width, channels, paper }) {
    Object.assign(this, { height, width, channels, paper });
    this.levels = new Uint8Array(height * width * channels); // row by row, the channels of a pixel side by side
    this.coverage = new Float32Array(height * width); // by the current stroke
    this.before = null; // the levels before the current stroke
    this.history = [];
    this.isEmpty = true;
    this.fill();
  }

  fill() {
    for (let offset = 0; offset < this.levels.length; offset += 1) {
      this.levels[offset] = this.paper[offset % this.channels];
    }
    this.isEmpty = true;
  }

  remember() {
    this.history.push({ levels: this.levels.slice(), isEmpty: this.isEmpty });
    if (this.history.length > UNDO_STEPS) this.history.shift();
  }

  get canUndo() {
    return this.history.length > 0;
  }

  /** Back to before the last stroke, clearing or picture. */
  undo() {
    const last = this.history.pop();
    if (!last) return;
    this.levels.set(last.levels);
    this.isEmpty = last.isEmpty;
    this.before = null;
  }

  clear() {
    if (this.isEmpty) return;
    this.remember();
    this.fill();
  }

  /** Make a picture the drawing: each of its pixels a square. `pixels` are C * H * W levels; C is `channels`. */
  enlarge(pixels, [, height, width]) {
    this.remember();
    for (let row = 0, offset = 0; row < this.height; row += 1) {
      const from = Math.min(height - 1, Math.floor((row * height) / this.height)) * width;
      for (let column = 0; column < this.width; column += 1) {
        const position = from + Math.min(width - 1, Math.floor((column * width) / this.width));
        for (let channel = 0; channel < this.channels; channel += 1, offset += 1) {
          this.levels[offset] = pixels[channel * height * width + position];
        }
      }
    }
    this.isEmpty = false;
  }

  /** Begin a stroke; `ink` is the level of each channel. */
  beginStroke(ink) {
    this.remember();
    this.ink = ink;
    this.before = this.history.at(-1).levels;
    this.coverage.fill(0);
  }

  /**
   * Draw from one point to another; a stroke never covers a pixel twice. Points are {x, y, radius} in pixels of the pad,
   * whose first pixel has its center at 0.5.
   *
   * @returns the rectangle that changed, {left, top, right, bottom}; right and bottom are excluded.
   */
  strokeTo(from, to) {
    const reach = 1.3 * Math.max(from.radius, to.radius) + 1;
    const left = Math.max(0, Math.floor(Math.min(from.x, to.x) - reach));
    const right = Math.min(this.width, Math.ceil(Math.max(from.x, to.x) + reach));
    const top = Math.max(0, Math.floor(Math.min(from.y, to.y) - reach));
    const bottom = Math.min(this.height, Math.ceil(Math.max(from.y, to.y) + reach));
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const squared = dx * dx + dy * dy;
    const widest = Math.max(from.radius, to.radius);
    const outside = (widest + softness(widest)) ** 2;
    for (let row = top; row < bottom; row += 1) {
      for (let column = left; column < right; column += 1) {
        const px = column + 0.5 - from.x;
        const py = row + 0.5 - from.y;
        const along = squared === 0 ? 0 : Math.min(1, Math.max(0, (px * dx + py * dy) / squared));
        const distance = (px - along * dx) ** 2 + (py - along * dy) ** 2; // squared
        if (distance >= outside) continue;
        const covered = penCoverage(Math.sqrt(distance), from.radius + along * (to.radius - from.radius));
        const position = row * this.width + column;
        if (covered <= this.coverage[position]) continue;
        this.coverage[position] = covered;
        for (let channel = 0; channel < this.channels; channel += 1) {
          const offset = position * this.channels + channel;
          this.levels[offset] = Math.round(this.before[offset] + covered * (this.ink[channel] - this.before[offset]));
        }
      }
    }
    this.isEmpty = false;
    return { left, top, right: Math.max(left, right), bottom: Math.max(top, bottom) };
  }

  /** The levels of each channel, row by row. */
  planes() {
    if (this.channels === 1) return [this.levels];
    return this.paper.map((_, channel) =>
      Uint8Array.from({ length: this.height * this.width }, (_, position) => this.levels[3 * position + channel]),
    );
  }

  /** Part of the drawing as RGBA, row by row; by default all of it. */
  rgba({ left, top, right, bottom } = { left: 0, top: 0, right: this.width, bottom: this.height }) {
    const data = new Uint8ClampedArray(4 * (right - left) * (bottom - top));
    for (let row = top, target = 0; row < bottom; row += 1) {
      let offset = (row * this.width + left) * this.channels;
      for (let column = left; column < right; column += 1, target += 4, offset += this.channels) {
        for (let channel = 0; channel < 3; channel += 1) {
          data[target + channel] = this.levels[offset + (this.channels === 1 ? 0 : channel)];
        }
        data[target + 3] = 255;
      }
    }
    return data;
  }
}
