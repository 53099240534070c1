import assert from "node:assert/strict";
import test from "node:test";

import { afterStatus, LIVE_STATE, lossPath, startLive } from "../../cnncli/report/assets/play/live.js";
import { State } from "../../cnncli/report/assets/play/state.js";

const status = (values) => ({
  state: "running",
  step: 0,
  weights: 0,
  first: false,
  points: [],
  metrics: [],
  ...values,
});

/** A page that follows a training, and a function that tells it a status. */
function followedPage(t) {
  let hear = null;
  let now = 0;
  t.mock.method(performance, "now", () => now);
  class Events {
    addEventListener(name, listener) {
      if (name !== "message") return;
      hear = (told, milliseconds = 2000) => {
        now += milliseconds;
        listener({ data: JSON.stringify(told) });
      };
    }
    close() {}
  }
  const document = { hidden: true, addEventListener() {} }; // hidden: it fetches no weights
  Object.assign(globalThis, { EventSource: Events, document });
  t.after(() => {
    delete globalThis.EventSource;
    delete globalThis.document;
  });
  const state = new State({ ...LIVE_STATE });
  startLive({ state, arrays: new Map(), data: { live: true } });
  return { state, hear };
}

test("a training is shown every two seconds, and at once when it pauses", (t) => {
  const { state, hear } = followedPage(t);
  const shown = () => state.get("training").step;
  hear(status({ first: true, step: 1 }));
  assert.equal(shown(), 1);
  hear(status({ step: 2 }), 1900);
  assert.equal(shown(), 1);
  hear(status({ step: 3 }), 100);
  assert.equal(shown(), 3);
  hear(status({ step: 4, state: "paused" }), 10);
  assert.equal(shown(), 4);
});

test("points and epochs are added to those before", () => {
  const one = afterStatus(null, status({ points: [[1, 2]], metrics: [{ epoch: 1 }] }));
  const two = afterStatus(one, status({ step: 9, points: [[9, 1]], metrics: [{ epoch: 2 }] }));
  assert.deepEqual(
    [two.step, two.points],
    [
      9,
      [
        [1, 2],
        [9, 1],
      ],
    ],
  );
  assert.deepEqual(two.metrics, [{ epoch: 1 }, { epoch: 2 }]);
});

test("a long curve loses every second point, but not the last", () => {
  const points = Array.from({ length: 1201 }, (_, step) => [step, 1]);
  const kept = afterStatus(null, status({ points })).points;
  assert.equal(kept.length, 601);
  assert.deepEqual(
    [kept[0], kept.at(-1)],
    [
      [0, 1],
      [1200, 1],
    ],
  );
});

test("after a new connection curve and epochs are those that the first message has, and are not repeated", (t) => {
  const { state, hear } = followedPage(t);
  hear(status({ first: true, points: [[1, 3]], metrics: [{ epoch: 1 }] }));
  hear(status({ points: [[2, 2]], metrics: [{ epoch: 2 }] }));
  assert.deepEqual(state.get("training").points, [
    [1, 3],
    [2, 2],
  ]);
  // The connection breaks; the browser opens another one.
  hear(
    status({
      first: true,
      points: [
        [1, 3],
        [2, 2],
        [3, 1],
      ],
      metrics: [{ epoch: 1 }, { epoch: 2 }],
    }),
  );
  hear(status({ points: [[4, 0.5]] }));
  assert.deepEqual(state.get("training").points, [
    [1, 3],
    [2, 2],
    [3, 1],
    [4, 0.5],
  ]);
  assert.deepEqual(state.get("training").metrics, [{ epoch: 1 }, { epoch: 2 }]);
});

test("the path of the loss ends at the last step, from 0 to the largest loss", () => {
  assert.equal(
    lossPath(
      [
        [5, 2],
        [10, 1],
      ],
      20,
    ),
    "M250.0 0.0L500.0 50.0",
  );
});
