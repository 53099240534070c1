// Which pixels of some test images support the predicted class.

import { ColorScale } from "../shared/color.js";
import { h, section } from "../shared/dom.js";
import { decodeBytes, formatNumber } from "../shared/numbers.js";
import { enlargement } from "../shared/sprite.js";

const MAP_SIDE = 112; // px of the longer side of a map, about

/** A canvas with one pixel for each cell, enlarged; `color` gives [red, green, blue] of a position. */
function mapCanvas([height, width], label, side, color) {
  const canvas = h("canvas", { height, width, class: "tile", role: "img", "aria-label": label });
  canvas.style.width = `${enlargement([height, width], side) * width}px`;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < height * width; i += 1) pixels.data.set([...color(i), 255], 4 * i);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function explainedImage({ index, label, lines, shape, picture, reduced, maps }, classes, colors) {
  const [channels, ...size] = shape;
  const area = size[0] * size[1];
  const levels = decodeBytes(picture);
  const name = `test image ${index}, class ${classes[label]}`;
  const image = mapCanvas(size, name, MAP_SIDE, (i) =>
    channels === 3 ? [levels[i], levels[area + i], levels[2 * area + i]] : [levels[i], levels[i], levels[i]],
  );
  const map = ({ name: method, signed, high, note, values }) => {
    const numbers = Float32Array.from(new Int8Array(decodeBytes(values).buffer), (value) => (value / 127) * high);
    const scale = new ColorScale(signed ? [-high, high] : [0, high], colors);
    const canvas = mapCanvas(size, `${method} of ${name}`, MAP_SIDE, (i) => scale.color(numbers[i]));
    const range = signed ? `±${formatNumber(high)}` : `0 to ${formatNumber(high)}`;
    return h(
      "figure",
      {},
      canvas,
      h("figcaption", {}, h("b", {}, method), h("br"), range, note ? [h("br"), note] : null),
    );
  };
  const caption = h("figcaption", {}, h("b", {}, "image"), reduced ? " (reduced)" : "");
  return h(
    "div",
    { class: "explained figure" },
    h("h3", {}, `Test image ${index}, class ${classes[label]}: ${lines.join("; ")}`),
    h("div", { class: "thumbnails" }, h("figure", {}, image, caption), maps.map(map)),
  );
}

export function saliencySection({ views, classes, colors, unavailable }) {
  const heading = "Saliency";
  if (!views) return section("saliency", heading, `Not available: ${unavailable}.`);
  const intro =
    "Which pixels support the predicted class, by several methods. Red supports it, blue opposes it, white is 0; in a " +
    "map that starts at 0, dark is 0 and bright its largest value. Each map has its own scale, given below it.";
  const images = views.saliency.images.map((each) => explainedImage(each, classes, colors));
  return section("saliency", heading, intro, images);
}

/** The effective receptive fields, trained and untrained. */
export function effectiveSection({ views, network, colors, unavailable }) {
  const heading = "Effective receptive fields";
  if (!views) return section("effective", heading, `Not available: ${unavailable}.`);
  if (!views.effective) return section("effective", heading, "No layer of this network has positions.");
  const { images, of, layers } = views.effective;
  const size = network.input.slice(1);
  const some = layers.length < of ? ` The last ${layers.length} of ${of} layers with kernels are shown.` : "";
  const intro =
    `The gradient of the center unit of a layer with respect to each pixel, averaged over ${images} test images, with ` +
    "the trained weights and with those before training. Brightness is the square root of the gradient. The frame is " +
    "the whole receptive field; the table has the sides of the squares around its center that hold a share of the " +
    `gradient.${some}`;
  return section(
    "effective",
    heading,
    intro,
    h(
      "div",
      { class: "effective" },
      layers.map((each) => effectiveLayer(each, size, colors)),
    ),
  );
}

function effectiveLayer({ layer, unit, rows, columns, ...maps }, size, colors) {
  const states = ["trained", "untrained"];
  const scale = new ColorScale([0, 255], colors);
  const figures = states.map((state) => {
    const values = decodeBytes(maps[state].values);
    const canvas = mapCanvas(size, `${layer}, ${state}`, MAP_SIDE + 28, (i) => scale.color(values[i]));
    const frame = h("span", { class: "frame" });
    const percent = (cells, count) => `${((100 * cells) / count).toFixed(3)}%`;
    frame.style.top = percent(rows[0], size[0]);
    frame.style.height = percent(rows[1] - rows[0] + 1, size[0]);
    frame.style.left = percent(columns[0], size[1]);
    frame.style.width = percent(columns[1] - columns[0] + 1, size[1]);
    return h("figure", {}, h("div", { class: "framed" }, canvas, frame), h("figcaption", {}, state));
  });
  const shares = Object.keys(maps.trained.sides).length
    ? Object.keys(maps.trained.sides)
    : Object.keys(maps.untrained.sides);
  const row = (state) => {
    const side = (share) => (maps[state].sides[share] ? `${maps[state].sides[share]} px` : "–");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, state),
      shares.map((share) => h("td", {}, side(share))),
    );
  };
  const heads = ["", ...shares.map((share) => `${share} % in`)].map((text) =>
    h(text ? "th" : "td", text ? { scope: "col" } : {}, text),
  );
  return h(
    "div",
    { class: "figure" },
    h("h3", {}, `${layer}, unit ${unit.join(",")}`),
    h("div", { class: "thumbnails" }, figures),
    shares.length
      ? h("table", { class: "numbers" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, states.map(row)))
      : h("p", {}, "No gradient reaches the image."),
  );
}
