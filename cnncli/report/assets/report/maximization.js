// Images optimized for each class, beside the test images with the highest logits.

import { h, section } from "../shared/dom.js";
import { formatCount, formatNumber } from "../shared/numbers.js";
import { Sprite } from "../shared/sprite.js";
import { shorten } from "../shared/text.js";

const IMAGE_SIDE_MAXIMIZED = 84; // px of the longer side, about
const NAME_LETTERS = 22;

export function maximizationSection({ views, classes: names, unavailable }) {
  const heading = "Activation maximization";
  if (!views) return section("maximization", heading, `Not available: ${unavailable}.`);
  const { layer, steps, of, classes, sprite } = views.maximization;
  const pictures = new Sprite(sprite);
  const tile = (position, label) => pictures.tile(position, { label, side: IMAGE_SIDE_MAXIMIZED });
  const pair = ({ value, real }, i) =>
    h(
      "div",
      { class: "pair-of-images figure" },
      h("h3", { title: names[i] }, shorten(names[i], NAME_LETTERS)),
      h(
        "div",
        { class: "thumbnails" },
        h(
          "figure",
          {},
          tile(i, `image optimized for class ${names[i]}`),
          h("figcaption", {}, "optimized", h("br"), `logit ${formatNumber(value)}`),
        ),
        h(
          "figure",
          {},
          tile(real.position, `test image ${real.index}, class ${names[real.label]}`),
          h(
            "figcaption",
            {},
            `#${real.index}, ${shorten(names[real.label], 14)}`,
            h("br"),
            `logit ${formatNumber(real.value)}`,
          ),
        ),
      ),
    );
  const some = classes.length < of ? ` The first ${classes.length} of ${formatCount(of)} classes are shown.` : "";
  const intro =
    `Left: an image made by ${steps} steps of gradient ascent, so that the logit of its class (${layer}) is high. ` +
    `Right: the test image with the highest logit of that class, with its true class.${some}`;
  return section("maximization", heading, intro, h("div", { class: "pairs-of-images" }, classes.map(pair)));
}
