// A training that is going on: its state and loss curve; the page follows its weights, and can pause it.

import { h, setDisabled, svg } from "../shared/dom.js";
import { formatCount, formatPercent } from "../shared/numbers.js";
import { toolbar } from "../shared/roving.js";
import { LIVE_MESSAGES } from "./live-messages.js";
import { oncePerFrame } from "./state.js";

const ENDED = ["complete", "interrupted", "failed", "lost"];
const MOST_POINTS = 1200; // of the loss curve; beyond it, every second one is dropped
const INTERVAL = 2000; // milliseconds from one picture of the training to the next: each takes time from it
const LOST = 15_000; // milliseconds without a word from the training after an error
const CHART = { width: 1000, height: 100 };

/** `training` is what the training last said, with all points and epochs so far; `newest` the step of the weights. */
export const LIVE_STATE = { training: null, newest: 0 };

/** What the training has said so far, after it has said something more. */
export function afterStatus(before, status) {
  const points = [...(before?.points ?? []), ...status.points];
  const kept = points.length > MOST_POINTS ? points.filter((_, i) => i % 2 === (points.length - 1) % 2) : points;
  return { ...status, points: kept, metrics: [...(before?.metrics ?? []), ...status.metrics] };
}

/** The path of a curve through [step, loss] points, from step 0 to `last`, from 0 to the largest loss. */
export function lossPath(points, last) {
  const highest = Math.max(...points.map(([, loss]) => loss), Number.MIN_VALUE);
  return points
    .map(([step, loss], i) => {
      const x = (CHART.width * step) / Math.max(1, last);
      const y = CHART.height * (1 - loss / highest);
      return `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
}

/** Follow the training from which the page comes, if there is one. */
export function startLive(app) {
  const { state, arrays, data } = app;
  if (!data.live) return;
  const page = crypto.getRandomValues(new Uint32Array(1))[0];
  const events = new EventSource(`events/${page}`);
  let latest = null; // what the training has said, which the page shows when it is due
  let due = 0;
  let isFetching = false;
  let lostTimer = null;

  /** Show what the training has said, and its newest weights. */
  function follow() {
    const now = performance.now();
    if (latest.state === "running" && now < due) return; // the next message comes soon
    due = now + INTERVAL;
    state.set({ training: latest });
    followWeights();
  }

  /** Fetch the newest weights, unless the page has them; a page that nobody sees waits for the last ones. */
  async function followWeights() {
    const { weights, state: told } = latest;
    const isLast = ENDED.includes(told);
    const isNewer = isLast ? state.get("newest") !== told : weights > state.get("newest") && !document.hidden;
    if (isFetching || !isNewer) return;
    isFetching = true;
    let isFetched = true;
    try {
      const answer = await fetch(`weights/${page}`);
      if (!answer.ok) throw new Error(answer.statusText);
      arrays.set("weights/0", new Float32Array(await answer.arrayBuffer()));
      // The last weights may be those of an earlier step: they are the best.
      state.set({ newest: isLast ? told : Number(answer.headers.get("X-Step")) });
    } catch {
      isFetched = false;
      lose(); // the events tell when it answers again
    }
    isFetching = false;
    if (isFetched) follow();
  }
  function lose() {
    lostTimer ??= setTimeout(() => {
      events.close();
      latest = { ...latest, state: "lost" };
      state.set({ training: latest });
    }, LOST);
  }
  events.addEventListener("message", ({ data: text }) => {
    clearTimeout(lostTimer);
    lostTimer = null;
    const status = JSON.parse(text);
    // After a new connection the first message has the whole curve again.
    latest = afterStatus(status.first ? null : latest, status);
    if (ENDED.includes(status.state)) events.close();
    follow();
  });
  events.addEventListener("error", lose);
  document.addEventListener("visibilitychange", () => latest && follow());
}

export function livePart(app) {
  if (!app.data.live) return null;
  const { state } = app;
  const t = app.translate(LIVE_MESSAGES);
  const said = h("p", { class: "live-state" });
  const ask = (what) => () => fetch(what, { method: "POST" }).catch(() => {});
  const pause = h("button", { type: "button", id: "live-pause" }, t("pause"));
  pause.addEventListener("click", () => ask(isPaused() ? "resume" : "pause")());
  const single = h("button", { type: "button", id: "live-step", onclick: ask("step") }, t("single"));
  const isPaused = () => ["pausing", "paused"].includes(state.get("training")?.state);
  const facts = Object.fromEntries(
    ["epoch", "step", "weights", "loss", "accuracy", "valLoss", "valAccuracy"].map((key) => [key, h("dd", {}, "–")]),
  );
  const curve = svg("path", { class: "curve-1" });
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: "none", role: "img" },
    curve,
  );
  const highest = h("span", {}, "");
  const weightsShown = () => {
    const newest = state.get("newest");
    if (newest === "complete") return t("best");
    // The last ones of a training that has stopped are those of its last step.
    const step = Number.isInteger(newest) ? newest : state.get("training").weights;
    return t("ofStep", { step: formatCount(step) });
  };
  let announced = state.get("training")?.state ?? null;

  const show = () => {
    const training = state.get("training");
    if (!training) return;
    const { state: now, metrics, points, step } = training;
    const hasEnded = ENDED.includes(now);
    said.textContent = t(now);
    said.dataset.state = now;
    if (announced !== now && now !== "pausing") app.announce(t(now));
    announced = now;
    pause.textContent = t(isPaused() ? "resume" : "pause");
    setDisabled(pause, hasEnded || !training.can_pause);
    setDisabled(single, now !== "paused");
    const last = metrics.at(-1);
    const number = (value, digits = 4) => (value === null || value === undefined ? "–" : value.toFixed(digits));
    const share = (value) => (value === null || value === undefined ? "–" : formatPercent(value, 2));
    facts.epoch.textContent = t("of", { part: training.epoch, whole: training.epochs });
    facts.step.textContent = formatCount(step);
    facts.weights.textContent = weightsShown();
    facts.loss.textContent = number(training.loss);
    facts.accuracy.textContent = share(training.accuracy);
    facts.valLoss.textContent = number(last?.val?.loss);
    facts.valAccuracy.textContent = share(last?.val?.accuracy);
    curve.setAttribute("d", lossPath(points, step));
    picture.setAttribute("aria-label", t("curve", { step: formatCount(step) }));
    highest.textContent = points.length ? Math.max(...points.map(([, loss]) => loss)).toFixed(2) : "";
  };
  said.textContent = t("connecting");
  state.on(["training", "newest"], oncePerFrame(show));
  show();
  return h(
    "div",
    { class: "live" },
    toolbar(t("controls"), "live-controls", pause, single, said),
    h(
      "dl",
      { class: "live-facts" },
      Object.entries(facts).map(([key, value]) => h("div", {}, h("dt", {}, t(key)), value)),
    ),
    h(
      "figure",
      { class: "time-chart" },
      h("figcaption", {}, h("span", { class: "key curve-1" }, t("loss"))),
      h("span", { class: "limits" }, highest, h("span", {}, "0")),
      picture,
    ),
    state.get("training")?.can_pause === false ? h("p", { class: "intro" }, t("cannotPause")) : null,
  );
}
