// The arrangement of a network's layers: items are names of layers, or {paths, join}.

/** The name of a block: that of the layer that joins it, without its last part; null where it has none. */
export const blockName = (join) => (join.includes(".") ? join.replace(/\.[^.]*$/, "") : null);

/** All layers of some items, in order. */
export function layersOf(items) {
  return items.flatMap((item) => (typeof item === "string" ? [item] : [...item.paths.flatMap(layersOf), item.join]));
}

/** The joins of all blocks of some items, outer ones first. */
export function joinsOf(items) {
  return items.flatMap((item) => (typeof item === "string" ? [] : [item.join, ...item.paths.flatMap(joinsOf)]));
}

/** The layers that are visible where the blocks of some joins are folded. */
export function visibleLayers(items, folded) {
  return items.flatMap((item) => {
    if (typeof item === "string") return [item];
    if (folded.has(item.join)) return [item.join];
    return [...item.paths.flatMap((path) => visibleLayers(path, folded)), item.join];
  });
}
