// The messages that a worker answers; `post(message, transferred)` sends its answers.
//
// - `{type: "load", models, weights}`: the networks; `model` in other messages is an index into them.
// - `{type: "weights", model, weights}`: other weights for a network.
// - `{type: "run", id, model, pixels, edits}`: `{id, logits, values}`, values by layer.
// - `{type, id, model, edits, ...}` with the name of a task: `{id, progress}` while it runs, then `{id, result}`.
// - `{type: "cancel", id}`: a task ends without an answer.
//
// What fails is answered with `{id, error}`.

import { Network } from "./network.js";
import { TASKS } from "./tasks.js";

const REPORT_INTERVAL = 50; // milliseconds between two reports of progress, in which other messages are answered

/** A function that takes messages. `pause()` resolves after messages that wait have been taken. */
export function messageHandler(post, pause, now = () => performance.now()) {
  const networks = [];
  const canceled = new Set();

  function edited({ model = 0, edits = [] }) {
    const network = networks[model];
    return edits.length ? network.withEdits(edits) : network;
  }

  function reporter(id) {
    let last = now();
    return async (progress) => {
      if (now() - last < REPORT_INTERVAL) return;
      post({ id, progress });
      await pause();
      if (canceled.has(id)) throw new TaskCanceled();
      last = now();
    };
  }

  const handlers = {
    load({ models, weights }) {
      networks.splice(0, networks.length, ...models.map((model, i) => new Network(model, weights[i])));
    },
    weights({ model, weights }) {
      networks[model] = networks[model].withWeights(weights);
    },
    run(message) {
      const { logits, values } = edited(message).run(message.pixels);
      const buffers = new Set(Array.from(values.values(), ({ buffer }) => buffer));
      post({ id: message.id, logits, values: Object.fromEntries(values) }, [...buffers]);
    },
    cancel({ id }) {
      canceled.add(id);
    },
  };

  return async (message) => {
    try {
      if (Object.hasOwn(handlers, message.type)) handlers[message.type](message);
      else if (Object.hasOwn(TASKS, message.type)) {
        const result = await TASKS[message.type](edited(message), message, reporter(message.id));
        post({ id: message.id, result });
      } else throw new Error(`no message ${message.type}`);
    } catch (error) {
      if (!(error instanceof TaskCanceled)) post({ id: message.id, error: error.message });
    }
  };
}

class TaskCanceled extends Error {}
