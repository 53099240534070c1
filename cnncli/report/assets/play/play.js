// The playground: one or two trained networks, computed in the page.
//
// A part of the page is a function `(app) => element`, or null where it has nothing to show. It reads and changes
// `app.state`, and listens with `app.state.on`. All parts are rebuilt when language or theme change, so what must
// survive is in the state.
//
// app = {
//   data, arrays           what Python collected, and its numbers by key
//   models                 [{data, network, receptiveFields, steps}]; `network` has the weights of the step shown
//   state, client          see state.js and client.js
//   translate(messages)    gives the texts of a part, see translate.js
//   announce(text)         for screen readers, politely
//   testImage(position)    the state of an image of the page: {pixels, source}
//   edited(number)         the network with the edits of the state
// }

import { Network } from "../engine/network.js";
import { inflate, PageArrays } from "../shared/arrays.js";
import { h, ignoreDisabled } from "../shared/dom.js";
import { decodeBytes } from "../shared/numbers.js";
import { enlargePrintedPixels } from "../shared/print.js";
import { ReceptiveFields } from "../shared/receptive-fields.js";
import { ATTRIBUTION_STATE, attributionPart } from "./attribution.js";
import { Client } from "./client.js";
import { macsOf } from "./cost.js";
import { inputPart } from "./input.js";
import { galleryPart } from "./input-gallery.js";
import { followLink, formatLink, linkOf, parseLink } from "./link.js";
import { LIVE_STATE, livePart, startLive } from "./live.js";
import { logitsPart } from "./logits.js";
import { overviewPart } from "./overview.js";
import { PATCHES_STATE, patchesPart } from "./patches.js";
import { playHeader } from "./play-header.js";
import { SHELL_MESSAGES } from "./shell-messages.js";
import { oncePerFrame, State } from "./state.js";
import { applyTheme, rememberedTheme, rememberTheme } from "./theme.js";
import { keptStep, timePart } from "./time.js";
import { tourPart } from "./tour.js";
import { translator } from "./translate.js";
import { unitPart } from "./unit.js";
import { WHAT_IF_STATE, whatIfPart } from "./what-if.js";

/** Parts by region: the id of its section, the function that builds it, and whether the first picture lacks it. */
const PARTS = {
  side: [
    { id: "input", build: inputPart },
    { id: "answer", build: logitsPart },
    { id: "test-images", build: galleryPart, later: true },
  ],
  middle: [
    { id: "live", build: livePart },
    { id: "network", build: overviewPart },
  ],
  right: [{ id: "unit", build: unitPart, later: true }],
  below: [
    { id: "what-if", build: whatIfPart, later: true },
    { id: "attribution", build: attributionPart, later: true },
    { id: "patches", build: patchesPart, later: true },
    { id: "time", build: timePart, later: true },
    { id: "tour", build: tourPart, later: true },
  ],
};

/** Multiplications up to which the first picture does not wait for the worker to start. */
const COMPUTED_AT_ONCE = 5e6;

/** The parts are rebuilt when one of these changes. */
const REBUILT_FOR = ["language", "theme", "model", "allClasses"];

/** @param failed is called with the error where the browser refuses a worker. */
function createApp(data, arrays, failed) {
  const weights = data.models.map((_, number) => arrays.get(`weights/${number}`));
  const models = data.models.map((each, number) => ({
    data: each,
    network: new Network(each.model, weights[number]),
    receptiveFields: new ReceptiveFields(each.receptive_fields),
    steps: each.steps,
    label: data.models.filter(({ name }) => name === each.name).length > 1 ? each.run : each.name,
  }));
  const [channels, height, width] = data.images.shape;
  const size = channels * height * width;
  const sourceOf = (position) => ({
    kind: "test",
    number: data.images.numbers[position],
    label: data.images.labels[position],
    position,
  });
  const testImage = (position) => ({
    pixels: arrays.get("images").subarray(position * size, (position + 1) * size),
    source: sourceOf(position),
  });
  const blank = { pixels: new Uint8Array(size), source: { kind: "drawing" } };
  const state = new State({
    ...(data.images.count ? { pixels: arrays.get("first"), source: sourceOf(0) } : blank),
    drawing: null,
    result: null,
    unit: null,
    hover: null,
    model: 0,
    step: null,
    ...LIVE_STATE,
    ...WHAT_IF_STATE,
    ...ATTRIBUTION_STATE,
    ...PATCHES_STATE,
    part: null,
    tour: null, // the number of the step
    checks: models.map(() => null),
    strongest: false, // channels in the overview
    folded: {}, // blocks in the overview, by model: the layers that join them; without, by the size of the network
    gallery: null, // the test images offered: "class 3", or "mistakes 0" of the first network
    slidersOpen: false,
    allClasses: false,
    language: data.language,
    theme: rememberedTheme(),
  });
  const live = h("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  const app = {
    data,
    arrays,
    models,
    state,
    client: new Client(
      () => inflate(bytesIn("worker")),
      data.models.map(({ model }) => model),
      weights,
      failed,
    ),
    live,
    testImage,
    announce(text) {
      live.textContent = text;
    },
    translate: (messages) => translator(state.get("language"))(messages),
    edited: (number) => models[number].network.withEdits(editsOf(state, number)),
  };
  state.on(["step", "newest"], () => showStep(app), { permanent: true });
  return app;
}

/** The edits of a network; one that names none is of the first. */
function editsOf(state, number) {
  return state.get("edits").filter(({ model = 0 }) => model === number);
}

/** Use the weights of the state's step, those kept last before it, or the final ones. */
function showStep(app) {
  const step = app.state.get("step");
  app.models.forEach((model, number) => {
    const isFinal = step === null || !model.steps.length;
    const key = isFinal ? `weights/${number}` : `history/${number}/${keptStep(model.steps, step)}`;
    const weights = app.arrays.get(key);
    model.network = model.network.withWeights(weights);
    app.client.setWeights(number, weights);
  });
}

/** Compute the networks for the state's image. */
async function compute(app) {
  const { state, client, models } = app;
  const edits = models.map((_, number) => editsOf(state, number));
  const pixels = state.get("pixels");
  const result = await client.run(pixels, edits);
  if (result) state.set({ result: result.map((each) => ({ ...each, pixels })) });
}

/** Compute the networks for the first picture: small ones here, before the worker has started. */
async function computeFirst(app) {
  const { state, models, data } = app;
  if (data.models.reduce((sum, { model }) => sum + macsOf(model), 0) > COMPUTED_AT_ONCE) {
    await compute(app);
    return;
  }
  const pixels = state.get("pixels");
  state.set({ result: models.map((_, number) => ({ ...app.edited(number).run(pixels), pixels })) });
}

/** Compare the logits of every network with those that torch computed. */
async function check(app) {
  const { data, arrays, client, state } = app;
  const { count, key } = data.images.check;
  const size = data.images.shape.reduce((a, b) => a * b, 1);
  const images = arrays.get(key).slice(0, count * size);
  for (const number of app.models.keys()) {
    let found;
    try {
      found = await client.task("check", { model: number, images, logits: arrays.get(`logits/${number}`) });
    } catch (error) {
      found = { error: error.message };
    }
    state.set({ checks: state.get("checks").map((each, i) => (i === number ? found : each)) });
  }
}

/** The bytes in an element of the page, in base64. */
const bytesIn = (id) => decodeBytes(document.getElementById(id).textContent);

/** Add the arrays that the first picture does not need. They come last in the document. */
async function addOtherArrays({ data, arrays }) {
  if (document.readyState === "loading") {
    await new Promise((resolve) => {
      document.addEventListener("DOMContentLoaded", resolve, { once: true });
    });
  }
  arrays.add(data.arrays, await inflate(bytesIn("binary")));
}

/** Build those parts of a region that `isWanted`. */
function fillRegion(app, region, isWanted) {
  const parts = PARTS[region.classList.item(1)].filter(isWanted);
  region.append(...parts.map((part) => sectionOf(app, part)).filter(Boolean));
}

function sectionOf(app, { id, build }) {
  const content = build(app);
  if (!content) return null;
  const t = app.translate(SHELL_MESSAGES);
  const heading = h("h2", { id: `${id}-heading`, tabindex: "-1" }, t(id));
  return h("section", { id, class: "part", "aria-labelledby": `${id}-heading` }, heading, content);
}

/** Build the page, or rebuild it in another language or theme: the parts that are wanted, or all. */
function build(app, isWanted = () => true) {
  const { state, data } = app;
  const focused = document.activeElement?.id;
  const scrolled = window.scrollY;
  state.removeParts();
  applyTheme(state.get("theme"));
  document.documentElement.lang = state.get("language") === "zh" ? "zh-CN" : "en";
  const t = app.translate(SHELL_MESSAGES);
  const regions = Object.keys(PARTS).map((region) => h("div", { class: `region ${region}` }));
  for (const region of regions) fillRegion(app, region, isWanted);
  const command = [data.command.play, ...data.command.run].join(" ");
  document
    .getElementById("page")
    .replaceChildren(
      h("a", { class: "skip", href: "#network" }, t("skip")),
      playHeader(app),
      h("main", { class: "board" }, regions),
      h("footer", {}, h("p", { class: "intro" }, t("printed", { version: data.version, command }))),
      app.live,
    );
  keepEndInSight(regions[0], state.signal);
  window.scrollTo(0, scrolled);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** Let a column that is higher than the window scroll until its end is in sight, and stay there. */
function keepEndInSight(column, signal) {
  const place = () => {
    column.style.top = `${Math.min(0, window.innerHeight - column.offsetHeight)}px`;
  };
  const observer = new ResizeObserver(place);
  observer.observe(column);
  window.addEventListener("resize", place, { signal });
  signal.addEventListener("abort", () => observer.disconnect());
}

/** Keep the address in step with the state, and the state with links that are followed. */
function listenToLinks(app) {
  const { state } = app;
  let written = location.hash;
  let writtenTour = state.get("tour");
  const write = () => {
    const hash = `#${formatLink(linkOf(state))}`;
    if (hash === written) return;
    written = hash;
    // The browser's back button leads to the step before.
    if (state.get("tour") === writtenTour) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
    writtenTour = state.get("tour");
  };
  let isDue = false;
  const writeSoon = () => {
    if (isDue) return;
    isDue = true;
    setTimeout(() => {
      isDue = false;
      write();
    }, 400); // browsers limit how often an address may change
  };
  state.on(["unit", "source", "step", "model", "part", "tour"], writeSoon, { permanent: true });
  window.addEventListener("hashchange", () => {
    written = location.hash;
    if (location.hash && !/=/.test(location.hash)) return; // a part of the page
    const link = parseLink(location.hash);
    if (!link.tour) state.set({ tour: null });
    followLink(app, link);
    writtenTour = state.get("tour");
  });
}

async function start() {
  applyTheme(rememberedTheme());
  ignoreDisabled();
  const data = JSON.parse(document.getElementById("data").textContent);
  const t = translator(data.language)(SHELL_MESSAGES);
  const fail = (text) => {
    document.getElementById("page").replaceChildren(h("p", { class: "notice", role: "alert" }, text));
  };
  if (!globalThis.DecompressionStream) {
    fail(t("noStream"));
    return;
  }
  const arrays = new PageArrays();
  arrays.add(data.first, bytesIn("first"));
  const app = createApp(data, arrays, (error) => fail(t("noWorker", { reason: error.message })));
  const { state } = app;
  const { tour, part, ...link } = parseLink(location.hash);
  const isLinked = Object.keys(link).length > 0;
  if (isLinked) {
    await addOtherArrays(app); // with the image or the weights that the link may name
    followLink(app, link);
  }
  await computeFirst(app);
  build(app, ({ later }) => !later);
  await nextFrame();
  performance.mark("cnncli-first-picture");
  if (!isLinked) await addOtherArrays(app);
  for (const region of document.querySelectorAll(".region")) fillRegion(app, region, ({ later }) => later);
  followLink(app, { tour, part }); // the parts listen now, and are there to scroll to
  const rebuild = oncePerFrame(() => build(app));
  state.on(REBUILT_FOR, rebuild, { permanent: true });
  state.on(["theme"], () => rememberTheme(state.get("theme")), { permanent: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuild);
  state.on(["pixels", "edits", "step", "newest"], () => compute(app), { permanent: true });
  listenToLinks(app);
  enlargePrintedPixels();
  globalThis.cnncli = { ...app, run: (pixels) => runForTests(app, pixels) };
  await nextFrame();
  document.documentElement.dataset.ready = ""; // all parts have been drawn
  performance.mark("cnncli-ready");
  check(app); // with the weights of the page: newer ones may come from now on
  startLive(app);
}

/** Resolves when the next frame has been drawn: a timer that is started in a frame comes after its layout and paint. */
function nextFrame() {
  return new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
  });
}

/** The logits and every layer of the first network, as plain numbers. Throws a TypeError for other than its pixels. */
function runForTests({ data, models }, pixels) {
  const size = data.images.shape.reduce((product, each) => product * each);
  if (pixels?.length !== size || !Array.prototype.every.call(pixels, Number.isFinite)) {
    throw new TypeError(`cnncli.run takes ${data.images.shape.join(" x ")} = ${size} numbers from 0 to 255`);
  }
  const { logits, values } = models[0].network.run(pixels);
  const layers = data.models[0].model.layers.map(({ name, shape }) => [
    name,
    { shape, values: Array.from(values.get(name)) },
  ]);
  return { logits: Array.from(logits), layers: Object.fromEntries(layers) };
}

start();
