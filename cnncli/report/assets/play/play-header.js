// The top of the page: the run, the comparison with torch, theme and language.

import { sizeOfShape } from "../engine/shape.js";
import { h } from "../shared/dom.js";
import { formatCount, formatPercent } from "../shared/numbers.js";
import { toolbar } from "../shared/roving.js";
import { SHELL_MESSAGES } from "./shell-messages.js";
import { THEMES } from "./theme.js";

const TOLERANCES = [1e-5, 1e-4];

/** The badge of a comparison with torch: `found` is what the task `check` gives, {error}, or null while it runs. */
export function badgeOf(found, source, t) {
  if (!found) return { kind: "pending", sign: "…", text: t("checking") };
  if (found.error) return { kind: "bad", sign: "!", text: t("cannotCheck", { reason: found.error }) };
  const { count, close, relative, tolerance } = found;
  const kept = TOLERANCES.find((each) => relative <= each);
  if (kept === undefined) {
    const values = { same: close, count, tolerance: tolerance.toExponential(), largest: relative.toPrecision(2) };
    return { kind: "bad", sign: "!", text: t("checkFailed", values) };
  }
  const key = source === "random" ? "checkedRandom" : "checked";
  return { kind: "good", sign: "✓", text: t(key, { same: count, count, tolerance: kept.toExponential() }) };
}

function badge(app, number, t) {
  const element = h("p", { class: "badge" });
  const show = () => {
    const { kind, sign, text } = badgeOf(app.state.get("checks")[number], app.data.images.check.source, t);
    element.dataset.kind = kind;
    element.replaceChildren(h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", {}, text));
  };
  app.state.on(["checks"], show);
  show();
  return element;
}

/** A network's name, run and facts. */
function modelHead(app, model, number, t) {
  const learned = model.data.model.tensors.filter(({ name }) => !/\.running_(mean|var)$/.test(name));
  const parameters = learned.reduce((sum, { shape }) => sum + sizeOfShape(shape), 0);
  const facts = [
    [t("data"), model.data.data],
    model.data.accuracy === null ? null : [t("accuracy"), formatPercent(model.data.accuracy, 2)],
    app.data.live ? null : [t("epoch"), String(model.data.epoch)],
    [t("parameters"), formatCount(parameters)],
  ];
  const half = model.data.model.precision === "float16" ? h("span", { class: "half" }, t("half")) : null;
  return h(
    "div",
    { class: "model-head" },
    h("p", { class: "model-name" }, h("b", {}, model.data.name), " ", h("span", { class: "run" }, model.data.run)),
    h(
      "dl",
      { class: "play-facts" },
      facts.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
    half,
    badge(app, number, t),
  );
}

export function playHeader(app) {
  const { state, data, models } = app;
  const t = app.translate(SHELL_MESSAGES);
  const themeNames = { auto: "themeAuto", light: "themeLight", dark: "themeDark" };
  const theme = state.get("theme");
  const turnTheme = () => state.set({ theme: THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] });
  const other = state.get("language") === "en" ? "zh" : "en";
  const controls = toolbar(
    t("pageControls"),
    "page-controls",
    h(
      "button",
      { type: "button", id: "language", lang: other, onclick: () => state.set({ language: other }) },
      t("otherLanguage"),
    ),
    h("button", { type: "button", id: "tour-open", onclick: () => state.set({ tour: 0 }) }, t("tour")),
    h("button", { type: "button", id: "theme", onclick: turnTheme }, t(themeNames[theme])),
  );
  const names = models.map((model) => model.data.name);
  const heads = models.map((model, number) => modelHead(app, model, number, t));
  return h(
    "header",
    { class: "play-head" },
    h("div", { class: "play-title" }, h("h1", {}, [...new Set(names)].join(" · ")), controls),
    h("p", { class: "intro" }, t(models.length > 1 ? "introTwo" : "intro")),
    data.unavailable ? h("p", { class: "notice", role: "note" }, t("noImages", { reason: data.unavailable })) : null,
    h("div", { class: "model-heads" }, heads),
  );
}
