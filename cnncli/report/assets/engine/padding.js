// What is in the padding of a map: zeros, or numbers of the map again.

/** The position whose number stands at a padded position, outside the map as well; null where there is none. */
export function paddedSource(mode, position, size) {
  if (position >= 0 && position < size) return position;
  if (mode === "reflect") return size - 1 - Math.abs(size - 1 - Math.abs(position));
  if (mode === "replicate") return position < 0 ? 0 : size - 1;
  if (mode === "circular") return ((position % size) + size) % size;
  return null;
}

/**
 * The positions along a padded axis that have numbers, [position, source in the map] each: `all`, and those outside the
 * map, which are `repeated`.
 *
 * @param length of the padded axis, from `before` positions before the map on.
 */
export function paddedSources(mode, length, before, size) {
  const positions = Array.from({ length }, (_, position) => [position, paddedSource(mode, position - before, size)]);
  const all = positions.filter(([, source]) => source !== null);
  return { all, repeated: all.filter(([position, source]) => source !== position - before) };
}
