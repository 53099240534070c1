// Which numbers of an image raise the logit of a class: gradient, integrated gradients and occlusion, with the same
// rules as `cnncli show saliency`. The long computations are generators: they yield the share that is done.

const FIRST_POINTS = 64; // points between the baseline and the image at first
const MOST_POINTS = 1024; // they are doubled up to this many
const COMPLETE_TO = 0.002; // until the sum of the parts is as close to the difference of the logits

/** The gradient of the logit of a class with respect to a normalized input: Float64Array, C·H·W. */
export function inputGradient(network, input, target) {
  return network.gradient(input, (logits) => Float64Array.from(logits, (_, label) => (label === target ? 1 : 0)));
}

/**
 * The contribution of each number of an input to a logit, relative to a baseline: the gradient, averaged over the
 * midpoints of equal parts of the straight line between the two, times their difference.
 *
 * After Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (2017).
 *
 * @param input normalized, C·H·W.
 * @param target the class.
 * @param baseline of the size of the input.
 * @param steps number of points.
 * @returns Float64Array, C·H·W.
 */
export function* integratedGradients(network, input, target, baseline, steps) {
  const total = new Float64Array(input.length);
  const point = new Float32Array(input.length);
  for (let step = 0; step < steps; step += 1) {
    const share = (step + 0.5) / steps;
    for (let i = 0; i < point.length; i += 1) point[i] = baseline[i] + share * (input[i] - baseline[i]);
    const gradient = inputGradient(network, point, target);
    for (let i = 0; i < total.length; i += 1) total[i] += gradient[i];
    yield (step + 1) / steps;
  }
  return total.map((sum, i) => (sum / steps) * (input[i] - baseline[i]));
}

/**
 * Integrated gradients with as many points as their sum needs.
 *
 * @returns parts (Float64Array, C·H·W), `error` of their sum as a share of the difference of the logits, and `steps`.
 */
export function* completeGradients(network, input, target, baseline) {
  const [logit, base] = [input, baseline].map((each) => network.runInput(each).logits[target]);
  for (let steps = FIRST_POINTS; ; steps *= 2) {
    const parts = yield* integratedGradients(network, input, target, baseline, steps);
    const sum = parts.reduce((total, part) => total + part, 0);
    const error = logit === base ? 0 : Math.abs((sum - (logit - base)) / (logit - base));
    // Not a number: a weight that was set by hand may be too large.
    if (!(error > COMPLETE_TO) || steps >= MOST_POINTS) return { parts, error, steps };
  }
}

/** A window for images [height, width] and its stride: a seventh of a side, and half of that. */
export function occlusionWindow(size) {
  const window = size.map((side) => Math.max(1, Math.round(side / 7)));
  return { size: window, stride: window.map((side) => Math.max(1, Math.floor(side / 2))) };
}

/** The start of each window along an axis, so that every pixel is in a window. */
function windowStarts(length, size, stride) {
  const starts = [];
  for (let start = 0; start <= length - size; start += stride) starts.push(start);
  if (starts.at(-1) !== length - size) starts.push(length - size);
  return starts;
}

/**
 * How far a logit drops when a window around a pixel is covered: the mean over the windows that cover it.
 *
 * After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014).
 *
 * @param input normalized, C·H·W.
 * @param target the class.
 * @param fill what covers it, of the size of the input.
 * @param size [height, width] of the window.
 * @param stride from one window to the next, [down, across]; the last one ends at the border.
 * @returns Float64Array, H·W.
 */
export function* occlusion(network, input, target, fill, { size, stride }) {
  const [channels, height, width] = network.model.input;
  const tops = windowStarts(height, size[0], stride[0]);
  const lefts = windowStarts(width, size[1], stride[1]);
  const whole = network.runInput(input).logits[target];
  const drops = new Float64Array(height * width);
  const covers = new Uint32Array(height * width);
  const covered = new Float32Array(input.length);
  let done = 0;
  for (const top of tops) {
    for (const left of lefts) {
      covered.set(input);
      for (let channel = 0; channel < channels; channel += 1) {
        for (let row = top; row < top + size[0]; row += 1) {
          const start = (channel * height + row) * width + left;
          covered.set(fill.subarray(start, start + size[1]), start);
        }
      }
      const drop = whole - network.runInput(covered).logits[target];
      for (let row = top; row < top + size[0]; row += 1) {
        for (let column = left; column < left + size[1]; column += 1) {
          drops[row * width + column] += drop;
          covers[row * width + column] += 1;
        }
      }
      done += 1;
      yield done / (tops.length * lefts.length);
    }
  }
  return drops.map((sum, i) => sum / covers[i]);
}

export const ATTRIBUTION_METHODS = ["gradient", "integrated", "occlusion"];

/**
 * The map of a method: the sum over the channels of the signed numbers.
 *
 * @param pixels C·H·W numbers 0 to 255; black is the baseline, and what covers a window.
 * @param target the class.
 * @param method one of `ATTRIBUTION_METHODS`.
 * @returns `map`, Float64Array H·W; of integrated gradients also `error` and `steps`, of occlusion `size` and `stride`.
 */
export function* attributionMap(network, pixels, target, method) {
  const [channels, height, width] = network.model.input;
  const input = network.normalize(pixels);
  const black = network.normalize(new Uint8Array(input.length));
  const summed = (parts) => {
    const map = new Float64Array(height * width);
    for (let i = 0; i < channels * map.length; i += 1) map[i % map.length] += parts[i];
    return map;
  };
  if (method === "gradient") return { map: summed(inputGradient(network, input, target)) };
  if (method === "integrated") {
    const { parts, error, steps } = yield* completeGradients(network, input, target, black);
    return { map: summed(parts), error, steps };
  }
  const window = occlusionWindow([height, width]);
  return { map: yield* occlusion(network, input, target, black, window), ...window };
}

const newestTasks = new Map(); // network and method -> the arguments of the newest task

/** `attributionMap` as a task; null if a newer one for the same network and method came before it was done. */
export async function attributionTask(network, args, report) {
  const { model = 0, pixels, target, method } = args;
  const key = `${model}/${method}`;
  newestTasks.set(key, args);
  const generator = attributionMap(network, pixels, target, method);
  for (;;) {
    const { value, done } = generator.next();
    if (done) return value;
    await report(value);
    if (newestTasks.get(key) !== args) return null;
  }
}
