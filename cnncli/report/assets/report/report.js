// The report of a run, built from the data in the page.

import { loadArrays } from "../shared/arrays.js";
import { definitions, h, section } from "../shared/dom.js";
import { enlargePrintedPixels } from "../shared/print.js";
import { calibrationSection } from "./calibration.js";
import { confusionSection } from "./confusion.js";
import { curvesSection } from "./curves.js";
import { embeddingSection } from "./embedding.js";
import { header } from "./header.js";
import { ImagePool } from "./image-pool.js";
import { layersSection } from "./layers.js";
import { maximizationSection } from "./maximization.js";
import { NetworkSection } from "./network.js";
import { patchesSection } from "./patches.js";
import { effectiveSection, saliencySection } from "./saliency.js";
import { stepsSection } from "./steps.js";

function configSection({ files, metadata, head: run }) {
  const titles = { "config.yaml": "Config as given", "resolved.yaml": "Config with all defaults and overrides" };
  const texts = Object.entries(files).map(([name, text]) =>
    h("details", {}, h("summary", {}, titles[name]), h("pre", { tabindex: "0" }, text)),
  );
  const facts = metadata
    ? [
        ["command", metadata.command.join(" ")],
        ["device", `${metadata.device.name} (${metadata.device.type})`],
        ["threads", String(metadata.threads)],
        ["platform", metadata.platform],
        ["git commit", metadata.git_commit ?? "none"],
        ...Object.entries(metadata.versions).map(([name, version]) => [name, version ?? "none"]),
        ...Object.entries(metadata.data),
        ["resumed", metadata.resumed ? `${metadata.resumed.length} times` : "never"],
      ]
    : [];
  return section(
    "config",
    "Config and environment",
    null,
    texts,
    h("details", { open: true }, h("summary", {}, "Command, device, versions, data"), definitions(facts)),
    h("p", { class: "intro" }, `Created ${run.created} by cnncli ${run.cnncli}.`),
  );
}

async function render(data) {
  const top = header(data);
  const arrays = await loadArrays(data.arrays, document.getElementById("binary").textContent);
  const pool = data.images && new ImagePool(data.images);
  await pool?.load();
  const network = new NetworkSection(data, arrays, pool);
  const sections = [
    layersSection(data),
    network.element,
    curvesSection(data),
    stepsSection(data, arrays, pool),
    patchesSection(data),
    saliencySection(data),
    maximizationSection(data),
    effectiveSection(data),
    confusionSection(data, pool, (number) => network.show(number)),
    calibrationSection(data),
    embeddingSection(data),
    configSection(data),
  ];
  const link = (each) => h("li", {}, h("a", { href: `#${each.id}` }, each.querySelector("h2").textContent));
  document
    .getElementById("page")
    .append(
      h("a", { class: "skip", href: "#layers" }, "Skip to content"),
      top,
      h("nav", { "aria-label": "Sections" }, h("ul", {}, sections.map(link))),
      h("main", {}, sections),
    );
  enlargePrintedPixels();
  document.documentElement.dataset.ready = "";
}

render(JSON.parse(document.getElementById("data").textContent));
