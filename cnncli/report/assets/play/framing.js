// What an image shows, separated from its background and placed as the makers of a data set did: the same steps, with
// the same numbers, as cnncli.data.framing. Images are planes {height, width, values}, from 0 (black) to 255 (white).

import { resamplePlane, roundHalfEven } from "./resampling.js";

const BORDER_WIDTH = 0.02; // of the shorter side
const EXTREME = 0.25; // a pixel is dark or bright in this fraction of the range of its image
const OUTLIER = 3; // median absolute deviations from the background: ink
const LEAST_DEVIATION = 2;
const NOISE_QUANTILE = 0.99;
export const NEGLIGIBLE = 16; // gray levels that compression changes
const PLACE_TOLERANCE = 1; // pixels

/** The positions in a plane of the pixels along its border. */
export function borderOffsets({ height, width }) {
  const thickness = Math.max(1, roundHalfEven(BORDER_WIDTH * Math.min(height, width)));
  const offsets = [];
  for (let row = 0; row < height; row += 1) {
    const whole = row < thickness || row >= height - thickness;
    for (let column = 0; column < width; column += 1) {
      if (!whole && column === thickness && width - thickness > column) column = width - thickness;
      offsets.push(row * width + column);
    }
  }
  return offsets;
}

function extremes(values) {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** {dark, bright}: fractions of the pixels along the border that are among the image's darkest and brightest. */
export function borderShares(plane) {
  const [low, high] = extremes(plane.values);
  if (low === high) return { dark: high < 128 ? 1 : 0, bright: high < 128 ? 0 : 1 };
  const tolerance = EXTREME * (high - low);
  let [dark, bright] = [0, 0];
  const offsets = borderOffsets(plane);
  for (const offset of offsets) {
    const value = plane.values[offset];
    if (value < low + tolerance) dark += 1;
    if (value > high - tolerance) bright += 1;
  }
  return { dark: dark / offsets.length, bright: bright / offsets.length };
}

/** The quantile of some numbers, interpolated. */
export function quantileOf(values, share) {
  const sorted = Float64Array.from(values).sort();
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

/** The weights w that make w[0] + w[1] * row + w[2] * column nearest to the values kept, by least squares. */
function fitPlane({ rows, columns, values }, kept) {
  const matrix = [0, 1, 2].map(() => [0, 0, 0, 0]);
  for (let point = 0; point < values.length; point += 1) {
    if (!kept[point]) continue;
    const features = [1, rows[point], columns[point], values[point]];
    for (let i = 0; i < 3; i += 1) for (let j = 0; j < 4; j += 1) matrix[i][j] += features[i] * features[j];
  }
  // Gauss-Jordan on the normal equations; a direction in which all points agree keeps the weight 0.
  const count = matrix[0][0];
  const weights = [0, 0, 0];
  const used = [0, 1, 2].filter((i) => {
    const pivot = matrix[i][i];
    if (pivot <= 1e-12 * count) return false;
    for (let k = 0; k < 3; k += 1) {
      if (k === i) continue;
      const factor = matrix[k][i] / pivot;
      for (let j = 0; j < 4; j += 1) matrix[k][j] -= factor * matrix[i][j];
    }
    return true;
  });
  for (const i of used) weights[i] = matrix[i][3] / matrix[i][i];
  return weights;
}

/** The background, a plane through the border, and how far noise rises above it. */
function fitBackground({ height, width, values: levels }) {
  const offsets = borderOffsets({ height, width });
  const corner = levels[offsets[0]];
  if (offsets.every((offset) => levels[offset] === corner)) return { weights: [corner, 0, 0], noise: 0 };
  const values = Float64Array.from(offsets, (offset) => levels[offset]);
  const rows = Float64Array.from(offsets, (offset) => Math.floor(offset / width) / height);
  const columns = Float64Array.from(offsets, (offset) => (offset % width) / width);
  const middle = quantileOf(values, 0.5);
  let deviations = values.map((value) => value - middle);
  let weights = [0, 0, 0];
  let kept = [];
  for (let round = 0; round < 3; round += 1) {
    const limit = Math.max(LEAST_DEVIATION, OUTLIER * quantileOf(deviations.map(Math.abs), 0.5));
    kept = Uint8Array.from(deviations, (deviation) => (Math.abs(deviation) <= limit ? 1 : 0));
    weights = fitPlane({ rows, columns, values }, kept);
    const [constant, down, across] = weights;
    deviations = values.map((value, i) => value - (constant + down * rows[i] + across * columns[i]));
  }
  const noise = quantileOf(
    deviations.filter((_, i) => kept[i]),
    NOISE_QUANTILE,
  );
  return { weights, noise: Math.max(0, noise) };
}

/** A background in the four corners of an image, where it is largest and smallest. */
function planeCorners([constant, down, across], height, width) {
  const [bottom, right] = [(down * (height - 1)) / height, (across * (width - 1)) / width];
  return [constant, constant + bottom, constant + right, constant + bottom + right];
}

/** How far each value of an image is above its background. */
function aboveBackground({ height, width, values }, [constant, down, across]) {
  const differences = new Float32Array(values.length);
  for (let row = 0, offset = 0; row < height; row += 1) {
    const start = constant + (down * row) / height;
    for (let column = 0; column < width; column += 1, offset += 1) {
      differences[offset] = values[offset] - (start + (across * column) / width);
    }
  }
  return differences;
}

/**
 * What differs from the dark background of an image, such as ink in a negative.
 *
 * @returns {ink, corrected}: a plane from 0, the background, to 255, the strongest ink, or null if there is none, and
 *   whether it differs from the image by more than compression does.
 */
export function separateInk(plane) {
  const { height, width, values } = plane;
  const { weights, noise } = fitBackground(plane);
  const largest = Math.max(...planeCorners(weights, height, width).map(Math.abs));
  const brightest = extremes(values)[1];
  const differences = largest > 0 ? aboveBackground(plane, weights) : values;
  const strongest = (largest > 0 ? extremes(differences)[1] : brightest) - noise;
  if (strongest <= NEGLIGIBLE) return { ink: null, corrected: false };
  if (largest + noise <= NEGLIGIBLE && brightest >= 255 - NEGLIGIBLE) return { ink: plane, corrected: false };
  const stretched = Float32Array.from(values, (_, i) =>
    Math.min(255, Math.max(0, (differences[i] - noise) * (255 / strongest))),
  );
  return { ink: { height, width, values: stretched }, corrected: true };
}

/** {top, bottom, left, right} of the ink in an image; the last row and column are excluded. */
function inkBox({ height, width, values }, framing) {
  const threshold = framing.threshold * extremes(values)[1];
  const box = { top: height, bottom: 0, left: width, right: 0 };
  for (let row = 0; row < height; row += 1) {
    const start = row * width;
    let first = 0;
    while (first < width && !(values[start + first] > threshold)) first += 1;
    if (first === width) continue;
    let end = width;
    while (!(values[start + end - 1] > threshold)) end -= 1;
    if (box.bottom === 0) box.top = row;
    box.bottom = row + 1;
    if (first < box.left) box.left = first;
    if (end > box.right) box.right = end;
  }
  return box;
}

/** The sums of the rows and of the columns. */
function profiles({ height, width, values }) {
  const [rows, columns] = [new Float64Array(height), new Float64Array(width)];
  for (let row = 0, offset = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, offset += 1) {
      rows[row] += values[offset];
      columns[column] += values[offset];
    }
  }
  return [rows, columns];
}

function centerOfMass(profile) {
  let [sum, moment] = [0, 0];
  profile.forEach((value, position) => {
    sum += value;
    moment += value * position;
  });
  return moment / sum;
}

/** A box of an image, resized to [height, width]: reduced by the mean over an area, or enlarged. */
function resizedInk({ height, width, values }, size, box) {
  const filter = size[0] < box.bottom - box.top ? "box" : "bilinear";
  const resized = resamplePlane(values, [height, width], size, { box, filter });
  return { height: size[0], width: size[1], values: resized.map((value) => Math.min(255, Math.max(0, value))) };
}

/** Whether an image in the size of the data set's images has the framing, give or take a pixel. */
function isPlaced(ink, framing) {
  const { top, bottom, left, right } = inkBox(ink, framing);
  const slack = [framing.box[0] - (bottom - top), framing.box[1] - (right - left)];
  const fills = Math.min(...slack) >= -PLACE_TOLERANCE && Math.min(...slack.map(Math.abs)) <= PLACE_TOLERANCE;
  const centers = framing.center === "box" ? [(top + bottom) / 2, (left + right) / 2] : profiles(ink).map(centerOfMass);
  const sides = [ink.height, ink.width];
  return fills && centers.every((center, axis) => Math.abs(center - sides[axis] / 2) <= PLACE_TOLERANCE);
}

/** Where an image with these sums along an axis starts among `room` pixels; all of it stays inside. */
function startOf(profile, room, framing) {
  const free = room - profile.length;
  if (framing.center === "box") return Math.floor((free + 1) / 2);
  return Math.min(Math.max(roundHalfEven(room / 2 - centerOfMass(profile)), 0), free);
}

/**
 * Crop an image to its ink, enlarge or reduce this to fill the box of the framing, and center it.
 *
 * @param ink a plane from 0, the background, to 255; not all 0.
 * @param framing {box: [height, width], center: "mass" | "box", threshold}.
 * @param size [height, width] of the result.
 * @returns {placed: plane, done: what was done besides resizing}.
 */
export function placeInk(ink, framing, size) {
  const { height, width } = ink;
  if (height * size[1] === width * size[0]) {
    const whole = resizedInk(ink, size, { top: 0, bottom: height, left: 0, right: width });
    if (isPlaced(whole, framing)) return { placed: whole, done: [] };
  }
  const box = inkBox(ink, framing);
  const lengths = [box.bottom - box.top, box.right - box.left];
  const factor = Math.min(framing.box[0] / lengths[0], framing.box[1] / lengths[1]);
  const reduced = lengths.map((length) => Math.max(1, roundHalfEven(factor * length)));
  const small = resizedInk(ink, reduced, box);
  const [y, x] = profiles(small).map((profile, axis) => startOf(profile, size[axis], framing));
  const values = new Float32Array(size[0] * size[1]);
  for (let row = 0; row < reduced[0]; row += 1) {
    const line = small.values.subarray(row * reduced[1], (row + 1) * reduced[1]);
    values.set(line, (y + row) * size[1] + x);
  }
  const cropped = lengths[0] !== height || lengths[1] !== width;
  return {
    placed: { height: size[0], width: size[1], values },
    done: [...(cropped ? ["cropped"] : []), "centered"],
  };
}
