// Cells of a grid: the one under a pointer, and runs of rows or columns.

/**
 * The [row, column] under a pointer; null in the margin and outside the grid.
 *
 * @param pointer clientX and clientY.
 * @param box left, top, width and height of the grid with its margin, in the same pixels.
 * @param size rows and columns without the margin.
 * @param margin cells of margin on each side.
 */
export function cellAt({ clientX, clientY }, box, [height, width], margin) {
  const column = Math.floor(((clientX - box.left) / box.width) * (width + 2 * margin)) - margin;
  const row = Math.floor(((clientY - box.top) / box.height) * (height + 2 * margin)) - margin;
  return row >= 0 && row < height && column >= 0 && column < width ? [row, column] : null;
}

/** Runs [first, last, first, last, ...] as pairs. */
export function pairs(runs) {
  return Array.from({ length: runs.length / 2 }, (_, i) => [runs[2 * i], runs[2 * i + 1]]);
}
