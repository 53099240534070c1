// What the page shows: one object that its parts read, change and listen to.

/** Named values. A change dispatches one "change" event, whose `detail.keys` is the Set of names that changed. */
export class State extends EventTarget {
  #values;
  #parts = new AbortController();

  constructor(values) {
    super();
    this.#values = { ...values };
  }

  get(key) {
    if (!(key in this.#values)) throw new Error(`no state ${key}`);
    return this.#values[key];
  }

  /** Change some values. Values that are the same as before do not count; without any other, there is no event. */
  set(values) {
    const keys = new Set(Object.keys(values).filter((key) => !Object.is(this.get(key), values[key])));
    if (!keys.size) return;
    Object.assign(this.#values, values);
    this.dispatchEvent(new CustomEvent("change", { detail: { keys } }));
  }

  /** Call `callback(keys)` when one of `keys` changes; with `permanent`, also after the parts were rebuilt. */
  on(keys, callback, { permanent = false } = {}) {
    const listener = ({ detail }) => {
      if (keys.some((key) => detail.keys.has(key))) callback(detail.keys);
    };
    this.addEventListener("change", listener, permanent ? {} : { signal: this.#parts.signal });
  }

  /** Ends when the parts are rebuilt: for listeners of a part on the window or the document. */
  get signal() {
    return this.#parts.signal;
  }

  /** Remove the listeners of all parts, which are about to be rebuilt. */
  removeParts() {
    this.#parts.abort();
    this.#parts = new AbortController();
  }
}

/** A function that calls `callback` in the next frame, once however often it is called before. */
export function oncePerFrame(callback) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      callback();
    });
  };
}

/** Whether a training goes on, which the page follows: its weights change all the time. */
export const isTraining = (state) => state.get("training")?.state === "running";

/** Whether the page comes from a training whose best weights it does not have yet. */
export const isInTraining = ({ data, state }) => Boolean(data.live) && state.get("newest") !== "complete";
