// Updates of elements that are in sight, and of those that are not, with a browser whose time the test sets.

import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { updatesInSight } from "../../cnncli/report/assets/play/sight.js";
import { State } from "../../cnncli/report/assets/play/state.js";

/** An element with a function that asks for its update; `move(isIntersecting)` brings it into sight or out of it. */
function watchedElement() {
  mock.timers.enable({ apis: ["setTimeout"] });
  const frames = [];
  globalThis.window = new EventTarget();
  globalThis.requestAnimationFrame = (callback) => frames.push(callback);
  const watched = { updates: 0, state: new State({ training: null }) };
  globalThis.IntersectionObserver = class {
    constructor(callback) {
      watched.move = (isIntersecting) => callback([{ isIntersecting }]);
    }
    observe() {}
    disconnect() {}
  };
  watched.frame = () => {
    for (const callback of frames.splice(0)) callback();
  };
  const count = () => {
    watched.updates += 1;
  };
  watched.ask = updatesInSight({}, count, watched.state);
  return watched;
}

test("an element in sight is updated once in the next frame", () => {
  const watched = watchedElement();
  watched.ask();
  watched.ask();
  assert.equal(watched.updates, 0);
  watched.frame();
  assert.equal(watched.updates, 1);
  mock.timers.tick(10_000);
  watched.frame();
  assert.equal(watched.updates, 1);
  mock.timers.reset();
});

test("an element out of sight is updated when nothing has asked for a while", () => {
  const watched = watchedElement();
  watched.move(false);
  for (let i = 0; i < 10; i += 1) {
    watched.ask();
    watched.frame();
    mock.timers.tick(200);
  }
  assert.equal(watched.updates, 0);
  mock.timers.tick(1000);
  assert.equal(watched.updates, 1);
  mock.timers.reset();
});

test("an element out of sight waits for the end of a training, one in sight does not", () => {
  const watched = watchedElement();
  watched.state.set({ training: { state: "running" } });
  watched.move(false);
  watched.ask();
  mock.timers.tick(10_000);
  assert.equal(watched.updates, 0);
  watched.move(true);
  watched.frame();
  assert.equal(watched.updates, 1);
  watched.move(false);
  watched.ask();
  watched.state.set({ training: { state: "paused" } });
  mock.timers.tick(1000);
  assert.equal(watched.updates, 2);
  mock.timers.reset();
});

test("an element that comes into sight, or is printed, shows what it was asked for", () => {
  const watched = watchedElement();
  watched.move(false);
  watched.ask();
  watched.move(true);
  watched.frame();
  assert.equal(watched.updates, 1);
  watched.move(false);
  watched.ask();
  window.dispatchEvent(new Event("beforeprint"));
  assert.equal(watched.updates, 2);
  mock.timers.tick(1000);
  watched.move(true);
  watched.frame();
  assert.equal(watched.updates, 2);
  mock.timers.reset();
});

test("a part that was removed is not updated", () => {
  const watched = watchedElement();
  watched.ask();
  watched.state.removeParts();
  watched.frame();
  mock.timers.tick(1000);
  assert.equal(watched.updates, 0);
  mock.timers.reset();
});
