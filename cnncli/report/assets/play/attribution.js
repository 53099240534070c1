// Maps of the pixels that raise the logit of a class: gradient, integrated gradients and occlusion, beside the image.

import { ATTRIBUTION_METHODS } from "../engine/attribution.js";
import { largestOf } from "../engine/network.js";
import { ARROW_KEYS, h } from "../shared/dom.js";
import { formatNumber, formatPercent } from "../shared/numbers.js";
import { Palettes } from "../shared/palette.js";
import { toolbar } from "../shared/roving.js";
import { ATTRIBUTION_MESSAGES } from "./attribution-messages.js";
import { macsOf } from "./cost.js";
import { patchImage } from "./patches.js";
import { PixelMap } from "./pixel-map.js";
import { updatesInSight } from "./sight.js";
import { isInTraining, isTraining } from "./state.js";

/** What the state holds for this part: the class, null for the predicted one, and whether maps show the image. */
export const ATTRIBUTION_STATE = { attribution: { target: null, over: true } };

const QUICK = 5e6; // multiply-accumulates of a network: up to so many, all maps follow the drawing
const PAUSE = 300; // milliseconds without a change before the slow maps follow

class Attribution {
  constructor(app) {
    this.app = app;
    this.t = app.translate(ATTRIBUTION_MESSAGES);
    this.palettes = new Palettes(app.data.colors);
    const { t } = this;
    const { over } = this.settings;
    this.classes = h("select", { id: "attribution-class", onchange: () => this.chooseClass() });
    this.overImage = h("input", {
      id: "attribution-over",
      type: "checkbox",
      checked: over,
      onchange: () => this.set({ over: this.overImage.checked }),
    });
    this.edited = h("p", { class: "muted attribution-edited" });
    const [, height, width] = app.data.images.shape;
    const size = { height, width, onpoint: (pixel) => this.point(pixel) };
    this.image = new PixelMap({ ...size, name: t("image"), about: "" });
    this.maps = Object.fromEntries(
      ATTRIBUTION_METHODS.map((method) => {
        const retry = () => this.request(method);
        return [
          method,
          new PixelMap({ ...size, name: t(method), about: t(`about.${method}`), compute: t("compute"), retry }),
        ];
      }),
    );
    this.figures = h(
      "div",
      {
        class: "attribution-maps",
        tabindex: "0",
        role: "application",
        "aria-label": t("mapsLabel", { rows: height, columns: width }),
        onkeydown: (event) => this.move(event),
        onfocus: () => this.point(this.cursor ?? [height >> 1, width >> 1]),
        onblur: () => this.point(null),
        onpointerleave: () => this.point(null),
      },
      [this.image, ...Object.values(this.maps)].map(({ element }) => element),
    );
    this.readout = h("p", { class: "attribution-readout" });
    this.command = h("p", { class: "attribution-command" });
    this.element = h(
      "div",
      { class: "attribution" },
      h("p", { class: "intro" }, t("intro")),
      toolbar(
        t("controls"),
        "control",
        h("label", {}, t("class"), this.classes),
        h("label", {}, this.overImage, t("overImage")),
      ),
      this.figures,
      this.readout,
      h("p", { class: "intro" }, t("sign")),
      this.edited,
      this.command,
    );
    this.listen();
    this.update();
    this.point(null);
  }

  get settings() {
    return this.app.state.get("attribution");
  }

  set(changes) {
    this.app.state.set({ attribution: { ...this.settings, ...changes } });
  }

  listen() {
    const { state } = this.app;
    state.on(
      ["result", "model", "step"],
      updatesInSight(this.element, () => this.update(), state),
    );
    state.on(["attribution"], () => {
      if (this.target === this.shownTarget) this.paint();
      else this.update();
    });
    state.on(["training"], () => {
      if (this.waits && !isTraining(state)) this.followSlowly();
    });
    state.signal.addEventListener("abort", () => clearTimeout(this.timer), { once: true });
  }

  get model() {
    return this.app.state.get("model");
  }

  get edits() {
    return this.app.state.get("edits").filter(({ model = 0 }) => model === this.model);
  }

  /** The class whose logit is explained: the chosen one, or the predicted one. */
  get target() {
    const { result } = this;
    return this.settings.target ?? (result ? largestOf(result.logits) : 0);
  }

  get result() {
    return this.app.state.get("result")?.[this.model] ?? null;
  }

  chooseClass() {
    const { value } = this.classes;
    this.set({ target: value === "" ? null : Number(value) });
  }

  /** Show the image; get its gradient at once, and the other maps when nothing has changed for a moment. */
  update() {
    if (!this.result) return;
    this.showClasses();
    this.pixels = this.app.state.get("pixels").slice();
    this.shownTarget = this.target;
    this.edited.textContent = this.edits.length ? this.t("edited") : "";
    this.image.showImage(this.pixels);
    this.showCommand();
    this.requestGradient();
    clearTimeout(this.timer);
    for (const method of ["integrated", "occlusion"]) this.maps[method].outdate();
    this.timer = setTimeout(() => this.followSlowly(), PAUSE);
  }

  showClasses() {
    const { classes } = this.app.models[this.model].data.model;
    const predicted = this.t("predicted", { name: classes[largestOf(this.result.logits)] });
    if (this.classes.length !== classes.length + 1) {
      const options = classes.map((name, i) => h("option", { value: i }, name));
      this.classes.replaceChildren(h("option", { value: "" }, predicted), ...options);
    }
    this.classes.options[0].textContent = predicted;
    this.classes.value = this.settings.target ?? "";
  }

  /** The gradient of the newest image, one request at a time. */
  async requestGradient() {
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      await this.request("gradient");
    } finally {
      this.asking = false;
    }
    if (this.again && this.figures.isConnected) {
      this.again = false;
      this.requestGradient();
    }
  }

  /**
   * The other maps, where a gradient is quick: integrated gradients take 64 to 1,024 of them. While a training goes on,
   * whose weights are new all the time, they wait until they are asked for, or it pauses.
   */
  followSlowly() {
    if (this.again || this.asking) {
      this.timer = setTimeout(() => this.followSlowly(), PAUSE);
      return;
    }
    if (!this.figures.isConnected) return;
    const isQuick = macsOf(this.app.models[this.model].data.model) <= QUICK;
    this.waits = isQuick && isTraining(this.app.state);
    for (const method of ["integrated", "occlusion"]) {
      if (isQuick && !this.waits) this.request(method);
      else this.maps[method].offer(this.t(this.waits ? "training" : "slow"));
    }
  }

  /** Compute a map of the image that is shown. */
  async request(method) {
    const map = this.maps[method];
    const { pixels, shownTarget: target, model, edits } = this;
    const asked = {};
    map.asked = asked;
    const report = (share) => {
      if (map.asked === asked) map.note(this.t("computing", { share: formatPercent(share, 0) }));
    };
    const found = await this.app.client.task("attribution", { model, edits, pixels, target, method }, report);
    if (!found || map.asked !== asked) return; // a newer request is under way
    Object.assign(map, { pixels, found });
    this.paintMap(method);
    this.point(this.cursor);
  }

  paint() {
    this.overImage.checked = this.settings.over;
    for (const method of ATTRIBUTION_METHODS) if (this.maps[method].found) this.paintMap(method);
  }

  paintMap(method) {
    const map = this.maps[method];
    const { found, pixels } = map;
    map.showValues(found.map, this.palettes, this.settings.over ? pixels : null);
    map.note(this.noteOf(method, found));
  }

  noteOf(method, { error, steps, size, stride }) {
    if (method === "integrated") return this.t("note.integrated", { error: formatNumber(100 * error), steps });
    if (method === "occlusion") return this.t("note.occlusion", { height: size[0], width: size[1], stride: stride[0] });
    return "";
  }

  /** The values at a pixel in one line; null for none. */
  point(pixel) {
    this.cursor = pixel ?? this.cursor;
    for (const map of [this.image, ...Object.values(this.maps)]) map.mark(pixel);
    if (!pixel || !this.pixels) {
      this.readout.textContent = this.t("pointHint");
      return;
    }
    const [row, column] = pixel;
    const [channels, height, width] = this.app.data.images.shape;
    const at = row * width + column;
    const levels = Array.from({ length: channels }, (_, i) => Math.round(this.pixels[i * height * width + at]));
    const values = Object.entries(this.maps)
      .filter(([, { found }]) => found)
      .map(([method, { found }]) => `${this.t(method)} ${formatNumber(found.map[at])}`);
    const parts = [`${this.t("level")} ${levels.join(", ")}`, ...values];
    this.readout.textContent = `${this.t("pixel", { row, column })}${this.t("colon")}${parts.join(" · ")}`;
  }

  move(event) {
    const step = ARROW_KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    const [, height, width] = this.app.data.images.shape;
    const [row, column] = this.cursor;
    const within = (value, size) => Math.min(size - 1, Math.max(0, value));
    this.point([within(row + step[0], height), within(column + step[1], width)]);
    this.app.announce(this.readout.textContent);
  }

  /** The command that prints the same maps, where the image is a test image as it is in the data set. */
  showCommand() {
    const { state, data, models } = this.app;
    const { kind, number, position } = state.get("source");
    const image = position === undefined ? patchImage(this.app, number) : this.app.testImage(position);
    const original = kind === "test" ? image?.pixels : null;
    const same = original?.every((level, i) => level === this.pixels[i]);
    const final = state.get("step") === null && !this.edits.length && !isInTraining(this.app);
    this.command.replaceChildren();
    if (!same || !final) return;
    const run = data.command.run[this.model];
    const target =
      this.settings.target === null ? "" : ` --target ${quoted(models[this.model].data.model.classes[this.target])}`;
    this.command.append(
      `${this.t("command")} `,
      h("code", {}, `cnncli show saliency ${quoted(run)} ${number}${target}`),
    );
  }
}

/** A word of a command line, quoted where it needs to be. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

/** The panel with the maps. */
export const attributionPart = (app) => new Attribution(app).element;
