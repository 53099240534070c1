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

/** IEEE half-precision numbers, little endian, in base64. */
export function decodeFloat16(base64) {
  const view = new DataView(decodeBytes(base64).buffer);
  return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true);
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}
