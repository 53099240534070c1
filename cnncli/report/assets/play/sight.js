// Updates of what is often out of sight: it follows every image while it can be seen, and else only one that stays.

import { oncePerFrame } from "./state.js";

const SETTLED = 400; // milliseconds without another request until an update happens out of sight

/**
 * A function that asks for an update of an element, which happens in the next frame if the element is in sight.
 *
 * @param element in the page, or about to be.
 * @param update shows the present state.
 * @param signal ends the updates.
 */
export function updatesInSight(element, update, signal) {
  let isInSight = true; // until the observer says where it is
  let isDue = false;
  let timer = null;
  const run = () => {
    clearTimeout(timer);
    if (isDue) update();
    isDue = false;
  };
  const inNextFrame = oncePerFrame(run);
  const observer = new IntersectionObserver((entries) => {
    isInSight = entries.at(-1).isIntersecting;
    if (isInSight && isDue) inNextFrame();
  });
  observer.observe(element);
  window.addEventListener("beforeprint", run, { capture: true, signal });
  signal.addEventListener("abort", () => {
    observer.disconnect();
    clearTimeout(timer);
    isDue = false;
  });
  return () => {
    isDue = true;
    clearTimeout(timer);
    if (isInSight) inNextFrame();
    else timer = setTimeout(run, SETTLED);
  };
}
