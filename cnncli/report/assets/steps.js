// Kernels and feature maps as the training logged them: one slider moves every picture.

const FRAME_MS = 700;

class Steps {
  constructor({ logged, metrics }) {
    this.logged = logged;
    this.epochs = new Map([[0, "before training"], ...metrics.map((each) => [each.step, `after epoch ${each.epoch}`])]);
    this.probe = logged.feature_maps[0]?.probe ?? null;
    this.moving = null; // the timer while it plays
    this.figures = [];
    const last = logged.steps.length - 1;
    this.slider = h("input", { type: "range", id: "step", min: 0, max: last, step: 1, value: last,
      oninput: () => { this.stop(); this.show(); } });
    this.said = h("output", { for: "step" });
    this.player = h("button", { type: "button", onclick: () => (this.moving ? this.stop() : this.play()) }, "Play");
    this.maps = h("div", { class: "pictures" });
    this.kernels = h("div", { class: "pictures" }, logged.kernels.map((tag) => this.figure(tag)));
    this.fixed = this.figures.length;
    this.element = h("div", {},
      h("p", { class: "control steps" }, h("label", { for: "step" }, "Step"), this.slider, this.said,
        last > 0 ? this.player : null),
      logged.kernels.length ? [h("h3", {}, "Kernels"), this.kernels] : null,
      logged.feature_maps.length ? [h("h3", {}, "Feature maps"), this.choice(), this.maps] : null);
    this.chooseProbe(this.probe);
  }

  figure(tag) {
    const image = h("img", { width: 304, height: 215, "data-tag": tag.name });
    const caption = h("figcaption");
    this.figures.push({ tag, image, caption });
    return h("figure", { class: "picture" }, image, caption);
  }

  choice() {
    const probes = [...new Set(this.logged.feature_maps.map((tag) => tag.probe))];
    const select = h("select", { id: "probe", onchange: () => this.chooseProbe(select.value) },
      probes.map((probe) => h("option", { value: probe }, probe.startsWith("test-") ? probe : `class ${probe}`)));
    return h("p", { class: "control" }, h("label", { for: "probe" }, "Test image"), select);
  }

  chooseProbe(probe) {
    this.probe = probe;
    this.figures.length = this.fixed;
    const tags = this.logged.feature_maps.filter((tag) => tag.probe === probe);
    this.maps.replaceChildren(...tags.map((tag) => this.figure(tag)));
    this.show();
  }

  show() {
    const step = this.logged.steps[Number(this.slider.value)];
    const epoch = this.epochs.get(step);
    const place = `step ${grouped(step)}${epoch ? `, ${epoch}` : ""}`;
    this.said.textContent = place;
    this.slider.setAttribute("aria-valuetext", place);
    for (const { tag, image, caption } of this.figures) {
      // The newest one that was there at this step: tags need not have been written at the same steps.
      const written = Object.keys(tag.frames).map(Number).filter((each) => each <= step);
      const newest = written.length ? Math.max(...written) : null;
      image.hidden = newest === null;
      if (newest !== null) image.src = `data:image/webp;base64,${this.logged.pictures[tag.frames[newest]]}`;
      image.alt = newest === null ? "" : `${tag.name} at step ${newest}`;
      const when = newest === null ? "not yet written" : newest === step ? "" : `of step ${grouped(newest)}`;
      caption.replaceChildren(h("b", {}, tag.layer), when ? ` ${when}` : "");
    }
  }

  play() {
    if (Number(this.slider.value) === this.logged.steps.length - 1) this.slider.value = -1;
    this.player.textContent = "Stop";
    const next = () => {
      this.slider.value = Number(this.slider.value) + 1;
      this.show();
      if (Number(this.slider.value) === this.logged.steps.length - 1) this.stop();
    };
    this.moving = setInterval(next, FRAME_MS);
    if (Number(this.slider.value) === 0) this.show();
  }

  stop() {
    clearInterval(this.moving);
    this.moving = null;
    this.player.textContent = "Play";
  }
}

function stepsSection(data) {
  const { logged } = data;
  const heading = "What it learned, step by step";
  if (!logged.steps.length) {
    return section("steps", heading, logged.wanted
      ? "The training has written no pictures of kernels or feature maps yet."
      : "The training wrote no pictures: log.images is 0 in its config.");
  }
  const missing = logged.left_out.join(" and ");
  const without = missing ? ` To keep the page small, it is without ${missing}.` : "";
  const intro = `The pictures that the training wrote, unchanged.${without}`;
  return section("steps", heading, intro, new Steps(data).element);
}
