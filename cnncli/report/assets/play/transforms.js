// Changes of an image before a network sees it: the sliders below the pad. Shift, rotation, scale and contrast change
// pixels as cnncli.robustness does; what comes in from outside is black.

/**
 * What can be changed, for images of a size.
 *
 * @returns a list of {name, min, max, step, neutral}: pixels for `right`, `down`, `square`, `squareX` and `squareY`,
 *   clockwise degrees for `rotate`, factors for `scale` and `contrast`, and for `brightness` and `noise` (a standard
 *   deviation) fractions of the way from black to white.
 */
export function transformSliders([, height, width]) {
  const [halfWidth, halfHeight] = [Math.floor(width / 2), Math.floor(height / 2)];
  return [
    { name: "right", min: -halfWidth, max: halfWidth, step: 1, neutral: 0 },
    { name: "down", min: -halfHeight, max: halfHeight, step: 1, neutral: 0 },
    { name: "rotate", min: -180, max: 180, step: 1, neutral: 0 },
    { name: "scale", min: 0.3, max: 2, step: 0.05, neutral: 1 },
    { name: "brightness", min: -1, max: 1, step: 0.05, neutral: 0 },
    { name: "contrast", min: 0, max: 2, step: 0.05, neutral: 1 },
    { name: "noise", min: 0, max: 1, step: 0.05, neutral: 0 },
    { name: "square", min: 0, max: Math.min(height, width), step: 1, neutral: 0 },
    { name: "squareX", min: 0, max: width, step: 1, neutral: halfWidth },
    { name: "squareY", min: 0, max: height, step: 1, neutral: halfHeight },
  ];
}

/** Settings that change nothing. */
export function neutralTransforms(shape) {
  return Object.fromEntries([...transformSliders(shape).map(({ name, neutral }) => [name, neutral]), ["seed", 1]]);
}

/** Whether settings leave every image as it is. */
export function isNeutral({ right, down, rotate, scale, brightness, contrast, noise, square }) {
  return (
    [right, down, rotate, brightness, noise, square].every((value) => value === 0) && scale === 1 && contrast === 1
  );
}

/** A generator of numbers from 0 to 1 (without 1), the same for the same seed: mulberry32. */
export function seededRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A generator of normally distributed numbers: Box and Muller. */
function seededNormal(seed) {
  const random = seededRandom(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** An image scaled and rotated about its center, then shifted; bilinear. */
function resampledImage(pixels, [channels, height, width], { right, down, rotate, scale }) {
  const angle = (rotate * Math.PI) / 180;
  const [cos, sin] = rotate === 0 ? [1 / scale, 0] : [Math.cos(angle) / scale, Math.sin(angle) / scale];
  const result = new Float32Array(pixels.length);
  const level = (channel, row, column) =>
    row < 0 || row >= height || column < 0 || column >= width ? 0 : pixels[(channel * height + row) * width + column];
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const [x, y] = [column + 0.5 - width / 2 - right, row + 0.5 - height / 2 - down];
      const sourceX = cos * x + sin * y + width / 2 - 0.5;
      const sourceY = cos * y - sin * x + height / 2 - 0.5;
      const [left, top] = [Math.floor(sourceX), Math.floor(sourceY)];
      const [across, below] = [sourceX - left, sourceY - top];
      for (let channel = 0; channel < channels; channel += 1) {
        const upper = (1 - across) * level(channel, top, left) + across * level(channel, top, left + 1);
        const lower = (1 - across) * level(channel, top + 1, left) + across * level(channel, top + 1, left + 1);
        result[(channel * height + row) * width + column] = (1 - below) * upper + below * lower;
      }
    }
  }
  return result;
}

/** First and last position, within `length`, of a square of `size` pixels around `center`. */
function coveredBy(center, size, length) {
  const first = Math.round(center - size / 2);
  return [Math.max(0, first), Math.min(length, first + size)];
}

/**
 * An image changed: scaled, rotated and shifted, then brightness, contrast, noise, and a black square over it.
 *
 * @param pixels C * H * W levels 0..255.
 * @param shape [C, H, W].
 * @param settings a value for each slider, and `seed` of the noise.
 * @returns Uint8Array; `pixels` are not changed.
 */
export function transformPixels(pixels, shape, settings) {
  if (isNeutral(settings)) return Uint8Array.from(pixels);
  const [channels, height, width] = shape;
  const { right, down, rotate, scale, brightness, contrast, noise, square, squareX, squareY, seed } = settings;
  let values = Float32Array.from(pixels);
  if (right !== 0 || down !== 0 || rotate !== 0 || scale !== 1) values = resampledImage(pixels, shape, settings);
  if (brightness !== 0) values = values.map((value) => Math.min(255, Math.max(0, value + 255 * brightness)));
  if (contrast !== 1) {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    values = values.map((value) => mean + contrast * (value - mean));
  }
  if (noise !== 0) {
    const normal = seededNormal(seed);
    values = values.map((value) => value + 255 * noise * normal());
  }
  if (square > 0) {
    const [top, bottom] = coveredBy(squareY, square, height);
    const [left, end] = coveredBy(squareX, square, width);
    for (let channel = 0; channel < channels; channel += 1) {
      for (let row = top; row < bottom; row += 1) {
        const start = (channel * height + row) * width;
        values.fill(0, start + left, start + Math.max(left, end));
      }
    }
  }
  return Uint8Array.from(values, (value) => Math.min(255, Math.max(0, Math.round(value))));
}
