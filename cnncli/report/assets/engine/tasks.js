// What the worker computes over many images: one function for each task, `(network, arguments, report) -> result`.
//
// `await report(share)` tells how much is done, and lets the worker answer runs in between.

import { attributionTask } from "./attribution.js";
import { largestOf } from "./network.js";

/** The pixels of each image, (C, H, W), in `images`, one after another. */
function* eachImage(network, images) {
  const [channels, height, width] = network.model.input;
  const size = channels * height * width;
  for (let start = 0; start < images.length; start += size) yield images.subarray(start, start + size);
}

/**
 * Compares with the logits that torch computed, (N, K) one row after another.
 *
 * Returns the number of images, `largest`, the largest difference of two logits, `relative`, the largest difference
 * divided by the largest logit of its image, `close`, the number of images in which that is at most `tolerance`, and
 * `same`, that of images with the same answer.
 */
export async function checkTask(network, { images, logits, tolerance = 1e-5 }, report) {
  const classes = network.model.classes.length;
  const result = { count: 0, largest: 0, relative: 0, close: 0, same: 0, tolerance };
  for (const pixels of eachImage(network, images)) {
    const expected = logits.subarray(result.count * classes, (result.count + 1) * classes);
    const actual = network.run(pixels).logits;
    let difference = 0;
    let scale = 0;
    for (let i = 0; i < classes; i++) {
      // A NaN that torch has, too, is no difference; one that only one side has is an infinite one.
      const apart = Object.is(actual[i], expected[i]) ? 0 : Math.abs(actual[i] - expected[i]);
      difference = Math.max(difference, Number.isNaN(apart) ? Infinity : apart);
      scale = Math.max(scale, Math.abs(expected[i]) || 0);
    }
    const relative = difference / Math.max(scale, Number.MIN_VALUE);
    result.largest = Math.max(result.largest, difference);
    result.relative = Math.max(result.relative, relative);
    result.close += relative <= tolerance ? 1 : 0;
    result.same += largestOf(actual) === largestOf(expected) ? 1 : 0;
    result.count += 1;
    await report((result.count * classes) / logits.length);
  }
  return result;
}

/** The number of images whose label the network predicts, and its predictions. */
export async function accuracyTask(network, { images, labels }, report) {
  const result = { count: 0, correct: 0, predictions: [] };
  for (const pixels of eachImage(network, images)) {
    const prediction = largestOf(network.run(pixels).logits);
    result.correct += prediction === labels[result.count] ? 1 : 0;
    result.predictions.push(prediction);
    result.count += 1;
    await report(result.count / labels.length);
  }
  return result;
}

/** The logits for an image, without the values of the other layers. */
export async function logitsTask(network, { pixels }) {
  return network.run(pixels).logits.slice();
}

export const TASKS = { check: checkTask, accuracy: accuracyTask, logits: logitsTask, attribution: attributionTask };
