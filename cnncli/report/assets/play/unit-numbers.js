// The numbers of a unit as text: the same digits as `cnncli explain unit` prints.

const DIGITS = 5;
const MOST_DECIMALS = 4;
const EXACT = 40; // decimals that tell a tie from a number near it

/** A number with a fixed number of decimals, a tie rounded to the even digit as in Python; zero has no sign. */
export function fixedNumber(value, decimals) {
  if (!Number.isFinite(value)) return String(value);
  const exact = Math.abs(value).toFixed(decimals + EXACT);
  const isTie = /^50*$/.test(exact.slice(-EXACT));
  const down = exact.slice(0, -EXACT).replace(/\.$/, "");
  const text = isTie && /[02468]$/.test(down) ? down : Math.abs(value).toFixed(decimals);
  return value < 0 && /[1-9]/.test(text) ? `-${text}` : text;
}

/**
 * How many decimals to show of the numbers of a unit: about five digits of the largest.
 *
 * The engine computes in single precision. Where its number and ours round differently, one decimal less or more
 * usually makes them equal; a real difference stays visible.
 */
export function decimalsOf({ stages, terms }, byEngine) {
  let largest = 0;
  for (const { value } of stages) largest = Math.max(largest, Math.abs(value));
  for (const { product } of terms) largest = Math.max(largest, Math.abs(product));
  const whole = largest < 1 ? 1 : 1 + Math.floor(Math.log10(largest));
  const usual = Math.min(MOST_DECIMALS, Math.max(0, DIGITS - whole)) || 0; // of NaN, none
  const { value } = stages.at(-1);
  const agrees = (decimals) => fixedNumber(value, decimals) === fixedNumber(byEngine, decimals);
  return [usual, Math.max(0, usual - 1), usual + 1].find(agrees) ?? usual;
}

/** A formatted number inside a sum or a product: negative numbers are in parentheses. */
export const operandText = (text) => (text.startsWith("-") ? `(${text})` : text);

/** Text as one argument of a shell command. */
export const shellQuoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
