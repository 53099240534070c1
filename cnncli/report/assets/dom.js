"use strict";

// What the whole page uses: elements, numbers as text, bytes, colors.

/** An element. Children that are texts become text nodes: nothing that comes from a run is ever read as HTML. */
function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** An element of SVG. */
function svg(name, properties = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Three significant digits. */
function short(value) {
  if (value === null || Number.isNaN(value)) return "not finite";
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : String(value);
}

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const grouped = (count) => count.toLocaleString("en-US");

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** IEEE half precision numbers, little endian, in base64. */
function halves(text) {
  const raw = new DataView(bytes(text).buffer);
  return Float32Array.from({ length: raw.byteLength / 2 }, (_, i) => {
    const bits = raw.getUint16(2 * i, true);
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** A color of the page's style, by name. */
function themed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Red, green and blue at a position between anchors [position, color]; as `pictures.color` in Python. */
function between(anchors, position) {
  let last = 1;
  while (last < anchors.length - 1 && anchors[last][0] < position) last += 1;
  const [low, from] = anchors[last - 1];
  const [high, to] = anchors[last];
  const share = Math.min(1, Math.max(0, (position - low) / (high - low)));
  return from.map((level, i) => Math.round(level + share * (to[i] - level)));
}

/** The color scale of some numbers: diverging about zero where any is negative, else from zero up. */
class Scale {
  constructor(values, colors) {
    let low = 0;
    let high = 0;
    for (const value of values) {
      if (Number.isFinite(value)) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    this.signed = low < 0;
    this.high = this.signed ? Math.max(-low, high) : high;
    this.low = this.signed ? -this.high : 0;
    this.anchors = this.signed ? colors.diverging : colors.sequential;
    this.notFinite = colors.not_finite;
  }

  color(value) {
    if (!Number.isFinite(value)) return this.notFinite;
    return between(this.anchors, this.high > 0 ? value / this.high : 0);
  }

  /** The scale as a bar with its two numbers. */
  legend() {
    const stops = this.anchors.map(([, color]) => `rgb(${color.join(" ")})`);
    const bar = h("span", { class: "bar" });
    bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    return [short(this.low), bar, short(this.high)];
  }
}

/** A section of the page with its heading; `intro` is a sentence or none. */
function section(id, heading, intro, ...content) {
  const lead = intro ? h("p", { class: "intro" }, intro) : null;
  return h("section", { id, "aria-labelledby": `${id}-heading` },
    h("h2", { id: `${id}-heading`, tabindex: "-1" }, heading), lead, content);
}

/** A table that scrolls by itself where it is too wide, also by keyboard. */
function scrolling(label, table) {
  return h("div", { class: "scrolling", tabindex: "0", role: "region", "aria-label": label }, table);
}
