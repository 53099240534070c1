// Prepares images as the playground does: a list of {preparation, options, width, height, data: base64 of RGBA} on stdin
// as JSON, a list of {pixels, steps} on stdout.

import { readFileSync } from "node:fs";
import { prepareImage } from "../../cnncli/report/assets/play/preparation.js";

const cases = JSON.parse(readFileSync(0, "utf8"));
const results = cases.map(({ preparation, options, width, height, data }) => {
  const image = { width, height, data: new Uint8ClampedArray(Buffer.from(data, "base64")) };
  const { pixels, steps } = prepareImage(image, preparation, options);
  return { pixels: [...pixels], steps };
});
process.stdout.write(JSON.stringify(results));
