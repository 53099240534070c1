// Changes images as the playground's sliders do: a list of {pixels, shape, settings} on stdin as JSON, a list of pixels on
// stdout. Settings that are missing are neutral.

import { readFileSync } from "node:fs";
import { neutralTransforms, transformPixels } from "../../cnncli/report/assets/play/transforms.js";

const cases = JSON.parse(readFileSync(0, "utf8"));
const results = cases.map(({ pixels, shape, settings }) => [
  ...transformPixels(Uint8Array.from(pixels), shape, { ...neutralTransforms(shape), ...settings }),
]);
process.stdout.write(JSON.stringify(results));
