// One tab stop for several controls: arrow keys move the focus among them.

/** The item above or below another one on the page, in the nearest column; itself if there is none. */
function vertically(items, from, direction) {
  const box = items[from].getBoundingClientRect();
  let best = from;
  let least = Number.POSITIVE_INFINITY;
  items.forEach((item, i) => {
    const other = item.getBoundingClientRect();
    const down = direction * (other.top - box.top);
    if (down < box.height / 2) return;
    const distance = 1000 * down + Math.abs(other.left - box.left);
    if (distance < least) [best, least] = [i, distance];
  });
  return best;
}

/**
 * Give a group of controls a single tab stop.
 *
 * @param container that has the items.
 * @param items the controls; those that are disabled are skipped.
 * @param current the position of the first tab stop.
 */
export function roveFocus(container, items, current = 0) {
  const stop = (position) => {
    for (const [i, item] of items.entries()) item.tabIndex = i === position ? 0 : -1;
  };
  stop(current);
  container.addEventListener("focusin", ({ target }) => {
    const position = items.indexOf(target);
    if (position >= 0) stop(position);
  });
  container.addEventListener("keydown", (event) => {
    const from = items.indexOf(event.target);
    if (from < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const usable = items.filter((item) => !item.disabled);
    const at = usable.indexOf(event.target);
    let next;
    if (event.key === "ArrowRight") next = usable[Math.min(usable.length - 1, at + 1)];
    else if (event.key === "ArrowLeft") next = usable[Math.max(0, at - 1)];
    else if (event.key === "ArrowDown") next = usable[vertically(usable, at, 1)];
    else if (event.key === "ArrowUp") next = usable[vertically(usable, at, -1)];
    else if (event.key === "Home") next = usable[0];
    else if (event.key === "End") next = usable.at(-1);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}
