// For tests in Python: `node run-networks.js FOLDER` reads cases.json and numbers.f64, and writes results.f64.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Network } from "../../cnncli/report/assets/engine/network.js";
import { runCases } from "./run-cases.js";

const folder = process.argv[2];
const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
const bytes = readFileSync(join(folder, "numbers.f64"));
const numbers = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
writeFileSync(join(folder, "results.f64"), Buffer.from(runCases(Network, cases, numbers).buffer));
