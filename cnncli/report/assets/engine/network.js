// A trained network, computed layer by layer in single precision; sums in double precision.

import { OPERATIONS } from "./operations.js";
import { positionsOfShape, sizeOfShape } from "./shape.js";

/** The probabilities of the classes. */
export function softmax(logits) {
  const largest = logits.reduce((one, other) => Math.max(one, other), -Infinity);
  const exponentials = Float64Array.from(logits, (each) => Math.exp(each - largest));
  const total = exponentials.reduce((sum, each) => sum + each, 0);
  return exponentials.map((each) => each / total);
}

/** The index of the largest value, the first of equal ones. */
export function largestOf(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * A network with its weights. Tensors and values are not to be written: edits make another network.
 *
 * `model` is what `report.model_data` describes; `weights` are all its tensors, one after another.
 */
export class Network {
  constructor(model, weights) {
    this.model = model;
    this.layers = new Map(model.layers.map((layer) => [layer.name, layer]));
    this.last = model.layers.at(-1).name;
    this.tensors = model.tensors.map(({ shape, offset }) => weights.subarray(offset, offset + sizeOfShape(shape)));
    this.indices = new Map(model.tensors.map(({ name }, index) => [name, index]));
    this.factors = new Map(); // layer -> output channel -> factor, of edits
    this.linearized = new Set(); // layers without their activation, of edits
  }

  /** The values of a tensor, such as `conv1.conv.weight`. */
  tensor(name) {
    return this.tensors[this.indexOf(name)];
  }

  indexOf(name) {
    const index = this.indices.get(name);
    if (index === undefined) throw new Error(`no tensor ${name}`);
    return index;
  }

  layer(name) {
    const layer = this.layers.get(name);
    if (!layer) throw new Error(`no layer ${name}`);
    return layer;
  }

  /** The shape of the output of a layer, or of `input`. */
  shapeOf(name) {
    return name === "input" ? this.model.input : this.layer(name).shape;
  }

  /** The operations of a layer, in order. */
  operationsOf(layer) {
    if (!this.linearized.has(layer.name)) return layer.operations;
    return layer.is_activation ? [] : layer.operations.filter(({ role }) => role !== "activation");
  }

  /** The tensors of an operation by role, such as `weight`. */
  tensorsOf(op) {
    return Object.fromEntries(Object.entries(op.tensors).map(([role, index]) => [role, this.tensors[index]]));
  }

  /** The kernel of an output channel in the tensor called `name`, (C / groups, kh, kw), or (F,) of a linear layer. */
  kernel(name, channel) {
    const weight = this.tensor(name);
    return Float32Array.from(this.kernelIndices(name, channel), (index) => weight[index]);
  }

  kernelIndices(name, channel) {
    const index = this.indexOf(name);
    const { shape, layer } = this.model.tensors[index];
    const op = this.layer(layer).operations.find(({ tensors }) => tensors.weight === index);
    const kernel = op && OPERATIONS[op.name].kernel;
    if (!kernel) throw new Error(`${name} has no kernels`);
    return kernel(op, shape, channel);
  }

  /** Pixels from 0 to 255 (C, H, W) as the network's input, rounded where torch rounds. */
  normalize(pixels) {
    const { mean, std } = this.model.normalization;
    const size = positionsOfShape(this.model.input);
    const input = new Float32Array(pixels.length);
    for (let channel = 0, i = 0; channel < mean.length; channel++) {
      const factor = Math.fround(1 / Math.fround(Math.fround(std[channel]) * 255));
      const offset = Math.fround(-Math.fround(mean[channel]) / Math.fround(std[channel]));
      for (const end = i + size; i < end; i++) input[i] = pixels[i] * factor + offset;
    }
    return input;
  }

  /** Logits, and the values of every layer by name, for pixels from 0 to 255 (C, H, W). */
  run(pixels) {
    return this.runInput(this.normalize(pixels));
  }

  /** The same for a normalized input. */
  runInput(input) {
    const values = new Map();
    for (const layer of this.model.layers) {
      const steps = this.intermediates(layer.name, values, input);
      values.set(layer.name, this.scaled(layer, steps.at(-1) ?? this.inputsOf(layer, values, input)[0].values.slice()));
    }
    return { logits: values.get(this.last), values };
  }

  /** The output after each operation of a layer, whose inputs are in `values`. */
  intermediates(name, values, input) {
    const layer = this.layer(name);
    let inputs = this.inputsOf(layer, values, input);
    return this.operationsOf(layer).map((op) => {
      const output = OPERATIONS[op.name].forward(op, inputs, this.tensorsOf(op));
      inputs = [{ shape: op.shape, values: output }];
      return output;
    });
  }

  inputsOf(layer, values, input) {
    return layer.inputs.map((name) => ({
      shape: this.shapeOf(name),
      values: name === "input" ? input : values.get(name),
    }));
  }

  /** Values of a layer, or gradients, times the factors of the channels that were edited; changed in place or copied. */
  scaled(layer, values) {
    const factors = this.factors.get(layer.name);
    if (!factors) return values;
    const scaled = values.slice();
    const size = positionsOfShape(layer.shape);
    for (const [channel, factor] of factors)
      for (let i = channel * size; i < (channel + 1) * size; i++) scaled[i] *= factor;
    return scaled;
  }

  /**
   * The gradient of a weighted sum of the values of a layer with respect to the normalized input, (C, H, W).
   *
   * `input` is normalized, `weightsOf(values of the layer)` gives the weights; the layer is the last one by default.
   */
  gradient(input, weightsOf, name = this.last) {
    const values = new Map();
    const tape = []; // of each layer up to the one in question: its inputs, and the output of each of its operations
    for (const layer of this.model.layers) {
      const outputs = this.intermediates(layer.name, values, input);
      const inputs = this.inputsOf(layer, values, input);
      values.set(layer.name, this.scaled(layer, outputs.at(-1) ?? inputs[0].values));
      tape.push({ layer, inputs, outputs });
      if (layer.name === name) break;
    }
    const gradients = new Map([[name, Float64Array.from(weightsOf(values.get(name)))]]);
    for (const { layer, inputs, outputs } of tape.reverse()) {
      const gradient = gradients.get(layer.name);
      if (!gradient) continue; // nothing that matters reads it
      const each = this.layerGradients(layer, inputs, outputs, this.scaled(layer, gradient));
      each.forEach((part, i) => {
        const sum = gradients.get(layer.inputs[i]);
        if (sum) for (let j = 0; j < part.length; j++) sum[j] += part[j];
        else gradients.set(layer.inputs[i], part.slice());
      });
      gradients.delete(layer.name);
    }
    return gradients.get("input") ?? new Float64Array(sizeOfShape(this.model.input));
  }

  /** The gradients with respect to the inputs of a layer, from that with respect to its output. */
  layerGradients(layer, inputs, outputs, gradient) {
    const operations = this.operationsOf(layer);
    let gradients = [gradient];
    for (let i = operations.length - 1; i >= 0; i--) {
      const op = operations[i];
      const before = i ? [{ shape: operations[i - 1].shape, values: outputs[i - 1] }] : inputs;
      gradients = OPERATIONS[op.name].backward(op, before, this.tensorsOf(op), outputs[i], gradients[0]);
    }
    return gradients;
  }

  /** The same network with other weights. */
  withWeights(weights) {
    return this.copied(new Network(this.model, weights).tensors);
  }

  copied(tensors) {
    const copy = Object.assign(Object.create(Network.prototype), this);
    copy.tensors = tensors;
    copy.factors = new Map(Array.from(this.factors, ([layer, factors]) => [layer, new Map(factors)]));
    copy.linearized = new Set(this.linearized);
    return copy;
  }

  /**
   * The network with changes made one after another; tensors that none of them touches are shared.
   *
   * - `{kind: "scale", layer, channel, factor}`: an output channel times a factor, after the activation of the layer;
   * - `{kind: "weight", tensor, index, value}`: one number of a tensor;
   * - `{kind: "kernel", tensor, channel, values}`: the kernel of an output channel;
   * - `{kind: "identity", layer}`: a layer without its activation.
   */
  withEdits(edits) {
    const network = this.copied([...this.tensors]);
    const copied = new Set();
    const writable = (name) => {
      const index = this.indexOf(name);
      if (!copied.has(index)) network.tensors[index] = network.tensors[index].slice();
      copied.add(index);
      return network.tensors[index];
    };
    for (const edit of edits) EDITS[edit.kind](network, edit, writable);
    return network;
  }
}

const EDITS = {
  scale(network, { layer, channel, factor }) {
    const { name } = network.layer(layer);
    if (!network.factors.has(name)) network.factors.set(name, new Map());
    const factors = network.factors.get(name);
    factors.set(channel, (factors.get(channel) ?? 1) * factor);
  },
  weight(_network, { tensor, index, value }, writable) {
    writable(tensor)[index] = value;
  },
  kernel(network, { tensor, channel, values }, writable) {
    const weight = writable(tensor);
    const indices = network.kernelIndices(tensor, channel);
    if (values.length !== indices.length) throw new Error(`${tensor}: ${values.length} values for ${indices.length}`);
    indices.forEach((index, i) => {
      weight[index] = values[i];
    });
  },
  identity(network, { layer }) {
    network.linearized.add(network.layer(layer).name);
  },
};
