// Text that must fit.

const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/; // as wide as two

/**
 * A name of at most `most` letters, of which wide ones count twice, shortened in the middle: names that differ often do
 * so at their ends.
 */
export function shorten(name, most) {
  const letters = [...name];
  const widths = letters.map((letter) => (WIDE.test(letter) ? 2 : 1));
  if (widths.reduce((sum, width) => sum + width, 0) <= most) return name;
  let [start, end] = [0, letters.length];
  const taken = [0, 1]; // at the start and, with the ellipsis, at the end
  for (;;) {
    const isStart = taken[0] < taken[1];
    const width = widths[isStart ? start : end - 1];
    if (taken[0] + taken[1] + width > most) break;
    taken[isStart ? 0 : 1] += width;
    if (isStart) start += 1;
    else end -= 1;
  }
  return `${letters.slice(0, start).join("").trimEnd()}…${letters.slice(end).join("").trimStart()}`;
}
