// Updates of what is often out of sight: it follows every image while it can be seen, and else only one that stays.

import { isTraining, oncePerFrame } from "./state.js";

const SETTLED = 400; // milliseconds without another request until an update happens out of sight

/**
 * A function that asks for an update of an element, which happens in the next frame if the element is in sight. Out of
 * sight, no update takes time from a training that goes on.
 *
 * @param element in the page, or about to be.
 * @param update shows the present state.
 * @param state of the page; the updates end when its parts are rebuilt.
 */
export function updatesInSight(element, update, state) {
  let isInSight = true; // until the observer says where it is
  let isDue = false;
  let timer = null;
  const { signal } = state;
  const run = () => {
    clearTimeout(timer);
    if (isDue) update();
    isDue = false;
  };
  const inNextFrame = oncePerFrame(run);
  const whenSettled = () => {
    clearTimeout(timer);
    if (!isTraining(state)) timer = setTimeout(run, SETTLED);
  };
  const observer = new IntersectionObserver((entries) => {
    isInSight = entries.at(-1).isIntersecting;
    if (isInSight && isDue) inNextFrame();
  });
  observer.observe(element);
  state.on(["training"], () => {
    if (isDue && !isInSight) whenSettled();
  });
  window.addEventListener("beforeprint", run, { capture: true, signal });
  signal.addEventListener("abort", () => {
    observer.disconnect();
    clearTimeout(timer);
    isDue = false;
  });
  return () => {
    isDue = true;
    if (isInSight) inNextFrame();
    else whenSettled();
  };
}
