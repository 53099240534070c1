// The tour: a few steps through the page, each of them a link; built in, or a teacher's own.

import { h, setDisabled } from "../shared/dom.js";
import { rove, toolbar } from "../shared/roving.js";
import { followLink, parseLink } from "./link.js";
import { TOUR_MESSAGES } from "./tour-messages.js";
import { tourSteps } from "./tour-steps.js";

/** The steps as texts in the language of the page: [{title, text, link}]. */
function stepsOf(app, t) {
  const { data, models } = app;
  if (data.tour) {
    return data.tour.steps.map(({ title, text, link }, i) => ({
      title: title ?? t("step", { number: i + 1 }),
      text,
      link,
    }));
  }
  const [model] = models;
  const steps = tourSteps(model.data, model.receptiveFields, {
    first: data.images.count ? data.images.numbers[0] : null,
    mistake: mistakeOf(app),
  });
  return steps.map(({ key, title, values, link }) => {
    const channels = values.channels === 1 ? t("oneChannel") : t("severalChannels", { count: values.channels });
    const shown = models.length > 1 ? `${link}&model=0` : link;
    return { title: t(`${title}Title`), text: t(key, { ...values, channels }), link: shown };
  });
}

/** The most confident mistake of the first network among the images of the page, or null. */
function mistakeOf({ data, models, testImage }) {
  const position = data.images.mistakes[0]?.[0];
  if (position === undefined) return null;
  const { logits } = models[0].network.run(testImage(position).pixels);
  const { classes } = models[0].data.model;
  return {
    number: data.images.numbers[position],
    label: classes[data.images.labels[position]],
    predicted: classes[logits.indexOf(Math.max(...logits))],
  };
}

/** The list of the steps, and a button that starts with the first. */
function tourList(app, steps, t) {
  const { state, data } = app;
  const intro = data.tour
    ? t("introOwn", { title: data.tour.title, count: steps.length })
    : t("intro", { count: steps.length });
  const entries = steps.map(({ title }, i) =>
    h("button", { type: "button", class: "tour-entry", onclick: () => state.set({ tour: i }) }, title),
  );
  const list = h(
    "ol",
    {},
    entries.map((entry) => h("li", {}, entry)),
  );
  const start = h("button", { type: "button", id: "tour-start", onclick: () => state.set({ tour: 0 }) }, t("start"));
  const element = h("div", { class: "tour-list" }, h("p", { class: "intro" }, intro), start, list);
  rove(element);
  return element;
}

/** One step, with the way to the others; it stays at the lower edge of the window. */
function tourStep(app, steps, number, t) {
  const { state } = app;
  const { title, text } = steps[number];
  const go = (to) => () => state.set({ tour: to });
  const isLast = number === steps.length - 1;
  const back = h("button", { type: "button", id: "tour-back", onclick: go(number - 1) }, t("back"));
  setDisabled(back, number === 0);
  return h(
    "div",
    {
      class: "tour-step",
      role: "group",
      "aria-labelledby": "tour-title",
      onkeydown: (event) => {
        if (event.key === "Escape") state.set({ tour: null });
      },
    },
    h("p", { class: "tour-place" }, t("place", { number: number + 1, count: steps.length })),
    h("h3", { id: "tour-title", tabindex: "-1" }, title),
    h("p", { class: "tour-text" }, text),
    toolbar(
      t("buttons"),
      "tour-buttons",
      back,
      isLast ? null : h("button", { type: "button", id: "tour-next", onclick: go(number + 1) }, t("next")),
      h("button", { type: "button", id: "tour-leave", onclick: go(null) }, t("leave")),
    ),
  );
}

export function tourPart(app) {
  const { state } = app;
  const t = app.translate(TOUR_MESSAGES);
  const steps = stepsOf(app, t);
  const element = h("div", { class: "tour" });
  const show = () => {
    const number = state.get("tour");
    const isOpen = number !== null && number < steps.length;
    element.classList.toggle("open", isOpen);
    document.body.classList.toggle("touring", isOpen); // a selector with :has() would be matched for every new text
    element.replaceChildren(isOpen ? tourStep(app, steps, number, t) : tourList(app, steps, t));
    return isOpen ? steps[number] : null;
  };
  const follow = () => {
    const step = show();
    if (step) {
      followLink(app, parseLink(step.link));
      element.querySelector("#tour-title").focus({ preventScroll: true });
    } else element.querySelector("#tour-start").focus({ preventScroll: true });
  };
  state.on(["tour"], follow);
  show();
  return element;
}
