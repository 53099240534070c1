// The top of the page: what the run is, its results, and the switch between light and dark.

import { h } from "../shared/dom.js";
import { formatCount, formatPercent } from "../shared/numbers.js";

const THEMES = ["auto", "light", "dark"];
const STORAGE_KEY = "cnncli-theme";
const STATES = { complete: "complete", running: "still training", interrupted: "interrupted", failed: "failed" };

/** A button that switches the theme; `auto` follows the system. */
function themeButton() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let theme = storedTheme();
  const next = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem(STORAGE_KEY, theme);
    } catch {
      // The browser allows no storage: the choice lasts as long as the page.
    }
    apply();
  };
  const button = h("button", { type: "button", class: "theme", onclick: next });
  const isDark = () => theme === "dark" || (theme === "auto" && system.matches);
  function apply() {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    button.textContent = `Theme: ${theme}`;
    window.dispatchEvent(new Event("themechange"));
  }
  system.addEventListener("change", apply);
  apply();
  return button;
}

function storedTheme() {
  try {
    const theme = localStorage.getItem(STORAGE_KEY);
    return THEMES.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

/** The header; it also applies the theme, whose colors the sections are drawn in. */
export function header({ head: run, metrics, metadata, epoch }) {
  const measured = run.results ?? metrics.at(-1) ?? {};
  const accuracies = ["test", "val", "train"]
    .filter((split) => measured[split])
    .map((split) => [`${split} accuracy`, formatPercent(measured[split].accuracy, 2)]);
  const macro = [
    ["test balanced accuracy", run.results?.test?.balanced_accuracy],
    ["test macro F1", run.results?.test?.macro_f1],
    [`test top-${run.results?.test?.top_k} accuracy`, run.results?.test?.top_k_accuracy],
  ]
    .filter(([, score]) => (score ?? null) !== null)
    .map(([name, score]) => [name, formatPercent(score, 2)]);
  const facts = [
    ...accuracies,
    ...macro,
    ["parameters", formatCount(run.params)],
    ["MACs per image", formatCount(run.macs)],
    ["epochs", `${metrics.length} of ${run.epochs}`],
  ];
  const device = metadata ? `, on ${metadata.device.name}` : "";
  const weights = epoch ? ` Weights of epoch ${epoch}, the best.` : "";
  return h(
    "header",
    {},
    h("div", { class: "top" }, h("h1", {}, run.name, " ", h("small", {}, `on ${run.data}`)), themeButton()),
    h("p", { class: "intro" }, `${run.run}: started ${run.started}, ${STATES[run.state]}${device}.${weights}`),
    run.state === "complete" ? null : incompleteNotice(run, accuracies.length > 0),
    h(
      "dl",
      { class: "facts" },
      facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
  );
}

function incompleteNotice(run, hasAccuracies) {
  return h(
    "p",
    { class: "notice", role: "note" },
    h("b", {}, `This run is not complete: ${STATES[run.state]}.`),
    run.reason ? ` ${run.reason}.` : "",
    " The page shows its state when the page was written.",
    hasAccuracies ? " The accuracies are those of the last epoch." : "",
  );
}
