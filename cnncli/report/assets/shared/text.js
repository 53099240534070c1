// Text that must fit.

/** A name of at most `most` characters, shortened in the middle: names that differ often do so at their ends. */
export function shorten(name, most) {
  const letters = [...name];
  if (letters.length <= most) return name;
  const kept = most - 1;
  const start = letters
    .slice(0, Math.ceil(kept / 2))
    .join("")
    .trimEnd();
  const end = letters
    .slice(letters.length - Math.floor(kept / 2))
    .join("")
    .trimStart();
  return `${start}…${end}`;
}
