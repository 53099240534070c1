// The accuracy on the images in the page before and after the edits.

import { h, setDisabled } from "../shared/dom.js";
import { formatPercent } from "../shared/numbers.js";
import { macsOf } from "./cost.js";

const AUTOMATIC = 4e8; // multiply-accumulates, about a second: up to so many, it is measured after every edit

export class EditedAccuracy {
  constructor(app, t) {
    this.app = app;
    this.t = t;
    const { count } = app.data.images;
    this.text = h("p", { class: "accuracy" });
    this.button = h("button", { id: "what-if-measure", type: "button", onclick: () => this.measure() }, t("measure"));
    this.element = h("div", { class: "what-if-accuracy" }, h("h3", {}, t("accuracy", { count })));
    if (!count) {
      this.element.append(h("p", { class: "muted" }, t("noImages")));
      return;
    }
    if (app.data.images.mistakes.some((each) => each.length))
      this.element.append(h("p", { class: "muted" }, t("accuracyNote")));
    this.element.append(h("div", { class: "control" }, this.button, this.text));
    const { state } = app;
    state.on(["edits", "step", "model", "newest"], () => this.changed());
    state.signal.addEventListener("abort", () => clearTimeout(this.timer), { once: true });
    this.changed();
  }

  /** Ask for the numbers of new edits, soon and without being told to where that is quick. */
  changed() {
    clearTimeout(this.timer);
    this.asked = null; // what is measured now is of no use any more
    this.text.textContent = "";
    const { edits } = this;
    setDisabled(this.button, !edits.length);
    const { data, models, state } = this.app;
    const macs = macsOf(models[state.get("model")].data.model) * data.images.count;
    if (edits.length && macs < AUTOMATIC) this.timer = setTimeout(() => this.measure(), 250);
  }

  get edits() {
    const { state } = this.app;
    return state.get("edits").filter(({ model = 0 }) => model === state.get("model"));
  }

  async measure() {
    const { state, client, arrays, data, announce } = this.app;
    const [model, step, edits] = [state.get("model"), state.get("step"), this.edits];
    const asked = {};
    this.asked = asked;
    setDisabled(this.button, true);
    const show = (share) => {
      if (this.asked === asked) this.text.textContent = this.t("measuring", { share: formatPercent(share, 0) });
    };
    const { labels, count } = data.images;
    const measure = (given, from) =>
      client.task("accuracy", { model, edits: given, images: arrays.get("images").slice(), labels }, (share) =>
        show(from + share / 2),
      );
    show(0);
    const key = `${model}/${step}/${state.get("newest")}`;
    const before = state.get("correct")[key] ?? (await measure([], 0)).correct;
    if (this.asked !== asked) return;
    const after = (await measure(edits, 0.5)).correct;
    state.set({ correct: { ...state.get("correct"), [key]: before } });
    if (this.asked !== asked) return;
    const percent = (correct) => formatPercent(correct / count);
    this.text.textContent = this.t("measured", {
      before: percent(before),
      after: percent(after),
      beforeCount: before,
      afterCount: after,
      count,
    });
    announce(this.text.textContent);
    setDisabled(this.button, false);
  }
}
