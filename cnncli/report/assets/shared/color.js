// Color scales, the same as in the pictures that Python draws.

/** A color of the page's current theme, by its name in the style sheet. */
export function themeColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** [red, green, blue] at a position between anchors [position, color]. */
export function interpolate(anchors, position) {
  let last = 1;
  while (last < anchors.length - 1 && anchors[last][0] < position) last += 1;
  const [low, from] = anchors[last - 1];
  const [high, to] = anchors[last];
  const share = Math.min(1, Math.max(0, (position - low) / (high - low)));
  return from.map((level, i) => Math.round(level + share * (to[i] - level)));
}

/** The color scale of some values: diverging and symmetric about zero if any is negative, else from zero up. */
export class ColorScale {
  constructor(values, colors) {
    let low = 0;
    let high = 0;
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const signed = low < 0;
    this.high = Math.max(-low, high);
    this.low = signed ? -this.high : 0;
    this.anchors = signed ? colors.diverging : colors.sequential;
    this.notFinite = colors.not_finite;
  }

  color(value) {
    if (!Number.isFinite(value)) return this.notFinite;
    return interpolate(this.anchors, this.high > 0 ? value / this.high : 0);
  }
}
