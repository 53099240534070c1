// Numbers as text, and arrays from base64.

/** A number with three significant digits. */
export function formatNumber(value) {
  if (value === null || Number.isNaN(value)) return "not finite";
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : String(value);
}

export const formatPercent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

/** A whole number with thousands separators. */
export const formatCount = (count) => count.toLocaleString("en-US");

export function decodeBytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
