// From the sum of a unit to its value: each stage with its arithmetic, and the curve of the activation.

import { h, svg } from "../shared/dom.js";
import { formatNumber } from "../shared/numbers.js";
import { fixedNumber, operandText } from "./unit-numbers.js";
import { bySum } from "./unit-patches.js";

const MOST_SUMMANDS = { channels: 8, products: 10 }; // as many as there are cards of channels, and rows of products
const NORM_DECIMALS = 4;
const CURVE_WIDTH = 264; // px of the curve
const CURVE_HEIGHT = 176;
const CURVE_MARGIN = 26;
const CURVE_SAMPLES = 128;

const STAGE_NAMES = {
  sum: ({ of }) =>
    ({
      channels: "stageNameSumChannels",
      products: "stageNameSumProducts",
      powers: "stageNameSumPowers",
      paths: "stageNameSumPaths",
    })[of],
  root: () => "stageNameRoot",
  largest: () => "stageNameLargest",
  mean: () => "stageNameMean",
  weighted: () => "stageNameWeighted",
  passed: () => "stageNamePassed",
  divided: () => "stageNameDivided",
  scaled: ({ of }) => (of === "gate" ? "stageNameGate" : "stageNameScaled"),
  bias: () => "stageNameBias",
  norm: () => "stageNameNorm",
  activation: () => "stageNameActivation",
  constant: () => "stageNameConstant",
  edit: () => "stageNameEdit",
};

/** Numbers added up, the largest first; beyond a few, the sum of the others. */
function addition(numbers, most, decimals, t) {
  const order = bySum(numbers);
  const shown = order.slice(0, most).map((i) => operandText(fixedNumber(numbers[i], decimals)));
  const others = order.slice(most);
  if (others.length) {
    const sum = others.reduce((total, i) => total + numbers[i], 0);
    shown.push(`(${t("sumOfOthers", { sum: fixedNumber(sum, decimals), count: others.length })})`);
  }
  return shown.join(" + ");
}

/** The arithmetic of a stage after `before`, without its result; empty where there is none to show. */
function arithmetic(stage, before, { trace, decimals, t }) {
  const fixed = (value) => fixedNumber(value, decimals);
  const small = (value) => operandText(fixedNumber(value, NORM_DECIMALS));
  switch (stage.kind) {
    case "sum":
    case "weighted": {
      const numbers =
        stage.of === "channels" ? trace.patches.map(({ total }) => total) : trace.terms.map((each) => each.product);
      return numbers.length > 1 ? addition(numbers, MOST_SUMMANDS[stage.of] ?? numbers.length, decimals, t) : "";
    }
    case "mean":
      return `${operandText(fixed(stage.total))} / ${stage.divisor}`;
    case "root":
      return `${operandText(fixed(before))} ^ (1 / ${stage.power})`;
    case "divided":
      return `${operandText(fixed(trace.terms[0].value))} / ${formatNumber(stage.divisor)}`;
    case "scaled":
    case "edit":
      return `${operandText(fixed(stage.before ?? before))} × ${operandText(String(Number(stage.factor.toPrecision(6))))}`;
    case "bias":
      return `${fixed(before)} + ${operandText(fixed(stage.bias))}`;
    case "norm": {
      const { mean, variance, eps, weight, bias } = stage;
      const value = fixed(stage.before);
      const centered = mean === null ? operandText(value) : `(${value} - ${small(mean)})`;
      const scaled = `${centered} / √(${small(variance)} + ${eps.toFixed(12).replace(/0+$/, "")})`;
      return scaled + (weight === null ? "" : ` × ${small(weight)}`) + (bias === null ? "" : ` + ${small(bias)}`);
    }
    case "activation":
      return `${stage.type}(${fixed(stage.before)})`;
    default:
      return "";
  }
}

/** The formula of a whole unit in one line, such as `1.23 + 0.5 = 1.73, relu(1.73) = 1.73`. */
export function formulaOf({ trace, decimals, t }) {
  let before = 0;
  const steps = trace.stages.map((stage) => {
    const text = ["sum", "weighted"].includes(stage.kind)
      ? t(STAGE_NAMES[stage.kind](stage))
      : arithmetic(stage, before, { trace, decimals, t }) || t(STAGE_NAMES[stage.kind](stage));
    before = stage.value;
    return `${text} = ${fixedNumber(stage.value, decimals)}`;
  });
  return steps.join(", ");
}

export class UnitStages {
  constructor(t) {
    this.t = t;
    this.list = h("ol", { class: "stages" });
    this.element = h("div", { class: "unit-stages" }, h("h3", {}, t("stagesHeading")), this.list);
  }

  update(view) {
    let before = 0;
    const items = view.trace.stages.map((stage) => {
      const item = this.#item(stage, before, view);
      before = stage.value;
      return item;
    });
    this.list.replaceChildren(...items);
  }

  #item(stage, before, view) {
    const { t } = this;
    const fixed = fixedNumber(stage.value, view.decimals);
    const text = arithmetic(stage, before, { trace: view.trace, decimals: view.decimals, t });
    const extra =
      stage.kind === "norm"
        ? this.#normTable(stage)
        : stage.kind === "activation"
          ? activationCurve(stage, view, t)
          : null;
    return h(
      "li",
      { "data-kind": stage.kind },
      h("span", { class: "stage-name" }, t(STAGE_NAMES[stage.kind](stage))),
      h("span", { class: "formula" }, text ? `${text} = ` : "", h("b", { class: "stage-value" }, fixed)),
      extra,
    );
  }

  #normTable(stage) {
    const names = ["mean", "variance", "weight", "bias"].filter((name) => stage[name] !== null);
    return h(
      "dl",
      { class: "norm-numbers" },
      names.map((name) =>
        h(
          "div",
          {},
          h("dt", {}, this.t(name === "variance" && stage.mean === null ? "meanSquare" : name)),
          h("dd", {}, fixedNumber(stage[name], NORM_DECIMALS)),
        ),
      ),
    );
  }
}

/** The graph of an activation with the point of the unit on it. */
function activationCurve({ type, apply, before, value }, view, t) {
  const reach = Math.max(3, axisEnd(Math.abs(before) * 1.15));
  const xs = Array.from({ length: CURVE_SAMPLES + 1 }, (_, i) => reach * ((2 * i) / CURVE_SAMPLES - 1));
  const ys = xs.map(apply);
  const low = Math.min(0, ...ys);
  const high = Math.max(0, ...ys);
  const room = high - low || 1;
  const x = (each) => CURVE_MARGIN + ((each + reach) / (2 * reach)) * (CURVE_WIDTH - 2 * CURVE_MARGIN);
  const y = (each) => CURVE_HEIGHT - CURVE_MARGIN - ((each - low) / room) * (CURVE_HEIGHT - 2 * CURVE_MARGIN);
  const path = xs.map((each, i) => `${i ? "L" : "M"}${x(each).toFixed(1)} ${y(ys[i]).toFixed(1)}`).join("");
  const line = (x1, y1, x2, y2, class_) => svg("line", { x1, y1, x2, y2, class: class_ });
  const text = (at, to, anchor, content) => svg("text", { x: at, y: to, "text-anchor": anchor }, content);
  const [px, py] = [x(before), y(value)];
  const fixed = (each) => fixedNumber(each, view.decimals);
  const ends = [low, high].filter((each) => Math.abs(y(each) - y(0)) > 12);
  return svg(
    "svg",
    {
      class: "curve",
      viewBox: `0 0 ${CURVE_WIDTH} ${CURVE_HEIGHT}`,
      width: CURVE_WIDTH,
      height: CURVE_HEIGHT,
      role: "img",
      "aria-label": t("curve", { type, x: fixed(before), y: fixed(value) }),
    },
    line(CURVE_MARGIN, y(0), CURVE_WIDTH - CURVE_MARGIN, y(0), "axis"),
    line(x(0), CURVE_MARGIN / 2, x(0), CURVE_HEIGHT - CURVE_MARGIN / 2, "axis"),
    text(CURVE_MARGIN, y(0) + 13, "start", formatNumber(-reach)),
    text(CURVE_WIDTH - CURVE_MARGIN, y(0) + 13, "end", formatNumber(reach)),
    ...ends.map((each) => text(x(0) - 4, y(each) + 4, "end", formatNumber(each))),
    svg("path", { d: path, class: "graph" }),
    line(px, y(0), px, py, "to-point"),
    line(x(0), py, px, py, "to-point"),
    svg("circle", { cx: px, cy: py, r: 5, class: "point" }),
  );
}

/** A number of one digit that is not smaller, for the end of an axis. */
function axisEnd(value) {
  if (!(value > 0) || !Number.isFinite(value)) return 0;
  const unit = 10 ** Math.floor(Math.log10(value));
  return Math.ceil(value / unit) * unit;
}
