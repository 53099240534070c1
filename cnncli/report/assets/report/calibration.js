// The reliability diagram: the accuracy of predictions by their confidence.

import { h, scrollable, section, svg } from "../shared/dom.js";
import { formatCount, formatPercent } from "../shared/numbers.js";

const SIDE = 300;
const BARS = 90; // height of the histogram
const EDGE_CALIBRATION = { left: 44, right: 22, top: 8, bottom: 40 };
const FEW_IMAGES = 20; // the accuracy of a bin with fewer says little

/** The height of a bar of the histogram, on a logarithmic scale on which a single image is visible. */
export const barHeight = (count, most) => (BARS * Math.log2(count + 1)) / Math.log2(most + 1);

/** The text of a bin for a reader who does not see the diagram. */
export function describeBin(i, bins, { count, confidence, accuracy }) {
  const range = `${Math.round((100 * i) / bins)} to ${Math.round((100 * (i + 1)) / bins)} %`;
  if (!count) return `confidence ${range}: no images`;
  const by = formatPercent(Math.abs(confidence - accuracy));
  let gap = "as confident as correct";
  if (confidence !== accuracy) gap = `${confidence > accuracy ? "overconfident" : "underconfident"} by ${by}`;
  const few = count < FEW_IMAGES ? ", few images" : "";
  return `confidence ${range}: ${formatCount(count)} ${count === 1 ? "image" : "images"}, ${formatPercent(accuracy)} correct, ${gap}${few}`;
}

function diagram({ counts, confidence, accuracy }) {
  const bins = counts.length;
  const { left, right, top, bottom } = EDGE_CALIBRATION;
  const [width, height] = [left + SIDE + right, top + SIDE + bottom + BARS + 16];
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "reliability diagram" });
  const x = (share) => left + share * SIDE;
  const y = (share) => top + (1 - share) * SIDE;
  const pattern = svg("pattern", { id: "few", width: 6, height: 6, patternUnits: "userSpaceOnUse" });
  pattern.append(svg("path", { d: "M-1 1l2 -2M0 6l6 -6M5 7l2 -2" }));
  picture.append(svg("defs", {}, pattern));
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const text = `${100 * share} %`;
    picture.append(
      svg("line", { class: "rule", x1: left, x2: left + SIDE, y1: y(share), y2: y(share) }),
      svg("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, text),
      svg("text", { x: x(share), y: top + SIDE + 16, "text-anchor": "middle" }, text),
    );
  }
  const most = Math.max(...counts);
  const base = height - 4;
  counts.forEach((count, i) => {
    if (!count) return;
    const few = count < FEW_IMAGES;
    const bar = { x: x(i / bins) + 1, width: SIDE / bins - 2 };
    const [low, high] = [accuracy[i], confidence[i]].sort((a, b) => a - b);
    const gap = confidence[i] > accuracy[i] ? "over" : "under";
    const tall = barHeight(count, most);
    const group = svg(
      "g",
      { class: few ? "few" : "" },
      svg("rect", { class: "accuracy", ...bar, y: y(low), height: low * SIDE }),
      svg("rect", { class: gap, ...bar, y: y(high), height: (high - low) * SIDE }),
      ...(few ? [svg("rect", { class: "hatch", ...bar, y: y(high), height: high * SIDE })] : []),
      svg("rect", { class: "count", ...bar, y: base - tall, height: tall }),
    );
    const title = svg("title", {}, describeBin(i, bins, { count, confidence: confidence[i], accuracy: accuracy[i] }));
    group.prepend(title);
    picture.append(group);
  });
  picture.append(
    svg("line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    svg("text", { x: left + SIDE / 2, y: top + SIDE + 32, "text-anchor": "middle" }, "confidence"),
    svg(
      "text",
      { x: left + SIDE, y: base - BARS - 3, "text-anchor": "end" },
      `images, up to ${formatCount(most)}, logarithmic`,
    ),
    svg("line", { class: "rule", x1: left, x2: left + SIDE, y1: base, y2: base }),
  );
  return picture;
}

function binsTable({ counts, confidence, accuracy }) {
  const bins = counts.length;
  const heads = ["confidence", "images", "mean confidence", "accuracy", "gap"].map((text) =>
    h("th", { scope: "col" }, text),
  );
  const percent = (value) => (value === null ? "–" : formatPercent(value));
  const rows = counts.map((count, i) => {
    const range = `${((100 * i) / bins).toFixed(1)} to ${((100 * (i + 1)) / bins).toFixed(1)} %`;
    const gap = count
      ? `${confidence[i] >= accuracy[i] ? "+" : "−"}${formatPercent(Math.abs(confidence[i] - accuracy[i]))}`
      : "–";
    const cells = [formatCount(count), percent(confidence[i]), percent(accuracy[i]), gap];
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, range),
      cells.map((text) => h("td", {}, text)),
    );
  });
  return h("table", { class: "numbers" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
}

export function calibrationSection({ views, unavailable }) {
  const heading = "Calibration";
  if (!views) return section("calibration", heading, `Not available: ${unavailable}.`);
  const data = views.calibration;
  const few = data.counts.some((count) => count && count < FEW_IMAGES);
  const intro =
    `Expected calibration error ${formatPercent(data.expected_error, 2)}, maximum ` +
    `${formatPercent(data.maximum_error, 2)}, over ${data.counts.length} bins. Mean confidence ` +
    `${formatPercent(data.mean_confidence, 2)}, accuracy ${formatPercent(data.mean_accuracy, 2)}. ` +
    "A bar reaches up to the accuracy of the predictions with this confidence; on the diagonal both are equal.";
  const legend = [
    ["accuracy", "accuracy"],
    ["over", "overconfident: confidence above accuracy"],
    ["under", "underconfident: accuracy above confidence"],
    ...(few ? [["hatch", `fewer than ${FEW_IMAGES} images`]] : []),
  ].map(([kind, text]) => h("li", { class: kind }, text));
  return section(
    "calibration",
    heading,
    intro,
    h(
      "div",
      { class: "calibration" },
      h("figure", { class: "reliability" }, diagram(data), h("figcaption", {}, h("ul", { class: "key" }, legend))),
      scrollable("bins as a table", binsTable(data)),
    ),
  );
}
