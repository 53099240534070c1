// The worker that computes the networks, seen from the page.

/** Start a worker from its script. Throws where the browser refuses. */
function startWorker(script) {
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const worker = new Worker(address);
  URL.revokeObjectURL(address);
  return worker;
}

/**
 * Asks the worker, which starts with the first question: at most one run is in flight, the newest pending one is next,
 * and those between are dropped.
 */
export class Client {
  #start;
  #started = null;
  #number = 0;
  #waiting = new Map(); // id -> {resolve, reject, report}
  #running = null;
  #pending = null;

  /**
   * @param script a function that resolves with the script of the worker.
   * @param models the networks as JSON.
   * @param weights a Float32Array for each.
   * @param failed is called with the error where the browser refuses a worker.
   */
  constructor(script, models, weights, failed) {
    this.count = models.length;
    this.#start = async () => {
      const worker = startWorker(await script());
      worker.addEventListener("message", ({ data }) => this.#receive(data));
      worker.addEventListener("error", (event) => {
        for (const { reject } of this.#waiting.values()) reject(new Error(event.message));
        this.#waiting.clear();
      });
      worker.postMessage({ type: "load", models, weights });
      return worker;
    };
    this.failed = failed;
  }

  #post(message) {
    this.#started ??= this.#start();
    this.#started.then((worker) => worker.postMessage(message), this.failed);
  }

  /**
   * The result of every network for an image.
   *
   * @param pixels C·H·W numbers 0 to 255.
   * @param edits of each network, a list of lists.
   * @returns [{logits, values: Map}], or null if a newer image came before its turn.
   */
  run(pixels, edits = []) {
    return new Promise((resolve, reject) => {
      this.#pending?.resolve(null);
      this.#pending = { pixels, edits, resolve, reject };
      this.#next();
    });
  }

  async #next() {
    if (this.#running || !this.#pending) return;
    const { pixels, edits, resolve, reject } = this.#pending;
    this.#pending = null;
    this.#running = true;
    try {
      const models = Array.from({ length: this.count }, (_, model) => model);
      const answers = models.map((model) => this.#ask({ type: "run", model, pixels, edits: edits[model] ?? [] }));
      const results = await Promise.all(answers);
      resolve(results.map(({ logits, values }) => ({ logits, values: new Map(Object.entries(values)) })));
    } catch (error) {
      reject(error);
    }
    this.#running = false;
    this.#next();
  }

  /** Replace the weights of a network; runs asked for later use them. */
  setWeights(model, weights) {
    this.#post({ type: "weights", model, weights });
  }

  /**
   * The result of a task of the engine.
   *
   * @param name of the task, such as "accuracy".
   * @param args its arguments, with `model`.
   * @param report is called with what the task reports on its way.
   */
  task(name, args, report = () => {}) {
    return this.#ask({ type: name, ...args }, report).then(({ result }) => result);
  }

  #ask(message, report) {
    this.#number += 1;
    const id = this.#number;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, report });
      this.#post({ ...message, id });
    });
  }

  #receive(answer) {
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return;
    if ("progress" in answer) {
      waiting.report(answer.progress);
      return;
    }
    this.#waiting.delete(answer.id);
    if ("error" in answer) waiting.reject(new Error(answer.error));
    else waiting.resolve(answer);
  }
}
