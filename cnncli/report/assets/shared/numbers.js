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
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64); // in browsers since 2025
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i); // much faster than Uint8Array.from
  return bytes;
}
