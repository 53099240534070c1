// The patches of test images that activate each filter most.

import { h, section } from "../shared/dom.js";
import { formatCount, formatNumber } from "../shared/numbers.js";
import { Sprite } from "../shared/sprite.js";
import { shorten } from "../shared/text.js";

const PATCH_SIDE = 56; // px of the longer side of a patch, about
const OPEN_FILTERS = 40; // layers are open as long as they have so many filters together: on a phone, each takes 350 px
const LABEL_LETTERS = 14;

/** The range of a filter over all test images, or that it is dead. */
export function describeRange({ lowest, highest }) {
  if (lowest === highest)
    return lowest === 0 ? "0 everywhere, on every test image: dead" : `always ${formatNumber(lowest)}`;
  return `${formatNumber(lowest)} to ${formatNumber(highest)}`;
}

function filterRow({ name, patches, ...range }, sprite, classes) {
  const patch = ({ index, label, unit, value, position, size }) => {
    const at = unit.length ? ` at ${unit.join(",")}` : "";
    const description = `patch of test image ${index}, class ${classes[label]}: ${formatNumber(value)}${at}`;
    return h(
      "figure",
      {},
      sprite.tile(position, { label: description, side: PATCH_SIDE, size }),
      h(
        "figcaption",
        { "aria-hidden": "true" },
        h("b", {}, formatNumber(value)),
        h("br"),
        `class ${shorten(classes[label], LABEL_LETTERS)}`,
        h("br"),
        `#${index}${at}`,
      ),
    );
  };
  return h(
    "div",
    { class: "filter" },
    h("h3", {}, name, " ", h("span", { class: "range" }, describeRange(range))),
    patches.length ? h("div", { class: "thumbnails" }, patches.map(patch)) : null,
  );
}

function layerPatches({ name, size, whole, filters, sprite }, classes, open) {
  const pictures = sprite && new Sprite(sprite);
  const dead = filters.filter(({ lowest, highest }) => lowest === 0 && highest === 0).length;
  const facts = [
    `${formatCount(filters.length)} filters`,
    `receptive field ${size} pixels${whole ? ", the whole image" : ""}`,
    ...(dead ? [`${formatCount(dead)} dead: always 0`] : []),
  ];
  const details = h("details", { class: "layer-patches" }, h("summary", {}, h("b", {}, name), `: ${facts.join("; ")}`));
  const fill = () => {
    if (details.childElementCount === 1) details.append(...filters.map((each) => filterRow(each, pictures, classes)));
  };
  details.addEventListener("toggle", fill);
  if (open) {
    details.open = true;
    fill();
  }
  // All filters are printed.
  const openAll = () => {
    fill();
    details.open = true;
  };
  window.addEventListener("beforeprint", openAll, { capture: true });
  return details;
}

export function patchesSection({ views, classes, unavailable }) {
  const heading = "Top-activating patches";
  if (!views) return section("patches", heading, `Not available: ${unavailable}.`);
  const { layers, images, count, omitted } = views.patches;
  let filters = 0;
  const parts = layers.map((layer) => {
    filters += layer.filters.length;
    return layerPatches(layer, classes, filters <= OPEN_FILTERS || layer === layers[0]);
  });
  const missing = omitted.length
    ? ` Without ${omitted.join(", ")}, to keep the page small; cnncli show patches draws them.`
    : "";
  const intro =
    `What activates each filter most: of all ${formatCount(images)} test images, the ${count} with its largest ` +
    "outputs, each cropped to the receptive field of the unit. Below each: the output, the class and the number of the " +
    "image, and the row and column of the unit. Hatched: padding; half hatched: pixels that the unit does not read." +
    missing;
  return section("patches", heading, intro, parts);
}
