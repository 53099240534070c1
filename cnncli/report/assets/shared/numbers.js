// Numbers as text, and arrays from base64.

/** A number with three significant digits. */
export function formatNumber(value) {
  if (value === null || Number.isNaN(value)) return "not finite";
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : String(value);
}

/** A share in percent. Only a share of 1 is 100 %: a softmax, for one, never is. */
export function formatPercent(share, digits = 1) {
  const text = (100 * share).toFixed(digits);
  if (share < 1 && Number(text) === 100) return `> ${(100 - 10 ** -digits).toFixed(digits)} %`;
  return `${text} %`;
}

/** A whole number with thousands separators. The browser's own way takes 20 ms when it is first used. */
export const formatCount = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

export function decodeBytes(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64); // in browsers since 2025
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i); // much faster than Uint8Array.from
  return bytes;
}
