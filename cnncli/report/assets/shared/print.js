// Pictures on paper.

const MOST_PIXELS = 4e6; // of an enlarged canvas

/** Pixels [width, height] enlarged by a whole factor. */
export function enlarged(image, factor) {
  const { width, height } = image;
  const [from, wide] = [new Uint32Array(image.data.buffer), width * factor];
  const to = new Uint32Array(wide * height * factor);
  for (let y = 0; y < height; y += 1) {
    const row = to.subarray(y * factor * wide, (y * factor + 1) * wide);
    for (let x = 0; x < width; x += 1) row.fill(from[y * width + x], x * factor, (x + 1) * factor);
    for (let copy = 1; copy < factor; copy += 1) to.set(row, (y * factor + copy) * wide);
  }
  return to;
}

/**
 * While the page is printed, canvases have at least a pixel for each px of the page: viewers of PDF smooth what they
 * enlarge. What is painted for print must be painted in a listener for `beforeprint` that captures, which runs before.
 */
export function enlargePrintedPixels() {
  let originals = [];
  window.addEventListener("beforeprint", () => {
    for (const canvas of document.querySelectorAll("canvas")) {
      const { width, height } = canvas;
      const factor = Math.ceil(canvas.clientWidth / (width || 1));
      if (factor < 2 || !height || width * height * factor * factor > MOST_PIXELS) continue;
      // Read from a copy: that a page reads canvases again and again is worth a warning to browsers.
      const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const image = copy.getImageData(0, 0, width, height);
      originals.push([canvas, image]);
      canvas.width = width * factor;
      canvas.height = height * factor;
      const pixels = new Uint8ClampedArray(enlarged(image, factor).buffer);
      canvas.getContext("2d").putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
    }
  });
  window.addEventListener("afterprint", () => {
    for (const [canvas, image] of originals) {
      canvas.width = image.width;
      canvas.height = image.height;
      canvas.getContext("2d").putImageData(image, 0, 0);
    }
    originals = [];
  });
}
