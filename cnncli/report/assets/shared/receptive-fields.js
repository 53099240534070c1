// Receptive fields of single units, looked up in what `report.network` computed.

/** Whether a position is in runs [first, last, first, last, ...]. */
function inRuns(runs, position) {
  for (let i = 0; i < runs.length; i += 2) if (runs[i] <= position && position <= runs[i + 1]) return true;
  return false;
}

export class ReceptiveFields {
  constructor(network) {
    this.network = network;
    this.layers = new Map(network.layers.map((layer) => [layer.name, layer]));
    this.shapes = new Map([["input", network.input], ...network.layers.map((layer) => [layer.name, layer.shape])]);
    this.ancestors = new Map([["input", new Set()]]); // layer -> all layers it depends on, and the input
    for (const layer of network.layers) {
      const ancestors = new Set(layer.inputs);
      for (const name of layer.inputs) for (const each of this.ancestors.get(name)) ancestors.add(each);
      this.ancestors.set(layer.name, ancestors);
    }
  }

  hasPositions(layer) {
    return this.shapes.get(layer).length === 3;
  }

  /** Rows and columns of the receptive fields of `layer` on `source`; undefined where they are not known. */
  axes(layer, source) {
    return this.network.receptive_fields[layer][source]?.map((number) => this.network.axes[number]);
  }

  /**
   * The receptive field of a unit of `layer` on `source`, the input or an earlier layer.
   *
   * Returns runs of rows and of columns and, as `padded`, first and last of each with padding where there is a closed
   * form; null where the unit depends on nothing there, or where that is not known.
   */
  receptiveField(layer, unit, source) {
    if (!this.ancestors.get(layer).has(source)) return null;
    if (!this.hasPositions(source)) return { rows: [0, 0], columns: [0, 0], padded: null };
    const axes = this.axes(layer, source);
    if (!axes) return null;
    const [rows, columns] = axes.map((axis, i) => axis.runs[axis.runs.length === 1 ? 0 : unit[i]]);
    if (!rows.length || !columns.length) return null;
    const padded = axes.map((axis, i) => withPadding(axis, unit[i]));
    return { rows, columns, padded: padded.every(Boolean) ? padded : null };
  }

  /** Runs of rows and columns of the units of `layer` whose receptive field has a unit of `source`; null if none. */
  dependentUnits(layer, source, unit) {
    const axes = this.axes(layer, source);
    if (!axes) return null;
    const [rows, columns] = axes.map((axis, i) => {
      const runs = [];
      axis.runs.forEach((receptiveField, dependent) => {
        if (!inRuns(receptiveField, unit[i])) return;
        if (runs.at(-1) === dependent - 1) runs[runs.length - 1] = dependent;
        else runs.push(dependent, dependent);
      });
      return runs;
    });
    return rows.length && columns.length ? { rows, columns, padded: null } : null;
  }
}

/** First and last position in the receptive field of a unit along an axis, padding counted; null if not known. */
export function withPadding(axis, unit) {
  if (!axis.closed_form) return null;
  const { patterns, step } = axis.closed_form;
  const pattern = patterns[unit % patterns.length];
  const offset = Math.floor(unit / patterns.length) * step;
  return pattern && [pattern[0] + offset, pattern[1] + offset];
}

/** The smallest rectangle around runs of rows and columns. */
export const bounds = ({ rows, columns }) => [rows, columns].map((runs) => [runs[0], runs.at(-1)]);

/** The share of a rectangle that lies outside an image. */
export function shareOutside([rows, columns], [height, width]) {
  const inside = ([first, last], size) => Math.max(0, Math.min(size - 1, last) - Math.max(0, first) + 1);
  const area = (rows[1] - rows[0] + 1) * (columns[1] - columns[0] + 1);
  return 1 - (inside(rows, height) * inside(columns, width)) / area;
}

/** Whether a receptive field has gaps, as that of a dilated convolution does. */
export const hasGaps = ({ rows, columns }) => rows.length > 2 || columns.length > 2;
