// Which units see which: reads what `report.network` worked out, and works nothing out but shifts by whole steps.

/** Whether a position is in runs (first, last, first, last, ...). */
function inRuns(runs, position) {
  for (let i = 0; i < runs.length; i += 2) if (runs[i] <= position && position <= runs[i + 1]) return true;
  return false;
}

class Fields {
  constructor(network) {
    this.network = network;
    this.layers = new Map(network.layers.map((layer) => [layer.name, layer]));
    this.shapes = new Map([["input", network.input], ...network.layers.map((layer) => [layer.name, layer.shape])]);
    this.before = new Map([["input", new Set()]]); // layer -> all that lead to it
    for (const layer of network.layers) {
      const found = new Set(layer.inputs);
      for (const name of layer.inputs) for (const each of this.before.get(name)) found.add(each);
      this.before.set(layer.name, found);
    }
  }

  hasPositions(layer) {
    return this.shapes.get(layer).length === 3;
  }

  /**
   * What a unit of `layer` sees of `source`: runs of rows and of columns, and with padding the first and last of each
   * where there is a closed form; null where it sees nothing of it, or where that is not known.
   */
  seen(layer, unit, source) {
    if (!this.before.get(layer).has(source)) return null;
    if (!this.hasPositions(source)) return { rows: [0, 0], columns: [0, 0], padded: null };
    const axes = this.network.seen[layer][source]?.map((number) => this.network.axes[number]);
    if (!axes) return null;
    const [rows, columns] = axes.map((axis, i) => axis.runs[axis.runs.length === 1 ? 0 : unit[i]]);
    if (!rows.length || !columns.length) return null;
    const padded = axes.map((axis, i) => unclipped(axis, unit[i]));
    return { rows, columns, padded: padded.every(Boolean) ? padded : null };
  }

  /** Runs of rows and columns of the units of `layer` that see a unit of `source`; null where none does. */
  seers(layer, source, unit) {
    const axes = this.network.seen[layer][source]?.map((number) => this.network.axes[number]);
    if (!axes) return null;
    const [rows, columns] = axes.map((axis, i) => {
      const found = [];
      axis.runs.forEach((runs, seer) => {
        if (!inRuns(runs, unit[i])) return;
        if (found.at(-1) === seer - 1) found[found.length - 1] = seer;
        else found.push(seer, seer);
      });
      return found;
    });
    return rows.length && columns.length ? { rows, columns, padded: null } : null;
  }
}

function unclipped(axis, unit) {
  if (!axis.cycle) return null;
  const { patterns, step } = axis.cycle;
  const pattern = patterns[unit % patterns.length];
  const moved = Math.floor(unit / patterns.length) * step;
  return pattern && [pattern[0] + moved, pattern[1] + moved];
}

/** First and last of runs. */
const span = (runs) => [runs[0], runs.at(-1)];

/** `rows 0 to 3, columns 2 to 5 (4 x 4)`, as `cnncli inspect --unit` prints it. */
function rectangle([rows, columns]) {
  const size = ([first, last]) => last - first + 1;
  return `rows ${rows[0]} to ${rows[1]}, columns ${columns[0]} to ${columns[1]} (${size(rows)} x ${size(columns)})`;
}

/** Share of a rectangle that lies outside `shape`. */
function outside([rows, columns], [height, width]) {
  const inside = ([first, last], size) => Math.max(0, Math.min(size - 1, last) - Math.max(0, first) + 1);
  const area = (rows[1] - rows[0] + 1) * (columns[1] - columns[0] + 1);
  return 1 - (inside(rows, height) * inside(columns, width)) / area;
}

/** Whether runs have gaps, as those of a dilated convolution do. */
const holes = (seen) => seen.rows.length > 2 || seen.columns.length > 2;
