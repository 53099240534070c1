// Shapes: (C, H, W) of maps, (F,) of vectors.

/** The number of values of a shape. */
export function sizeOfShape(shape) {
  return shape.reduce((product, size) => product * size, 1);
}

/** The number of positions of each channel; 1 in a vector. */
export function positionsOfShape(shape) {
  return shape.length === 3 ? shape[1] * shape[2] : 1;
}
