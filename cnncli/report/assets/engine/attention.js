// Self-attention over positions. Letters: C channels, L positions, D channels of a head; values (C, L).

import { positionsOfShape } from "./shape.js";

/** A linear layer at each position: the product of weights (O, C) with values (C, L), and a bias (O,), if there is one. */
function project(weight, bias, values, positions) {
  const channels = values.length / positions;
  const outputs = weight.length / channels;
  const result = new Float64Array(outputs * positions);
  for (let output = 0; output < outputs; output++) {
    const row = result.subarray(output * positions, (output + 1) * positions);
    if (bias) row.fill(bias[output]);
    for (let channel = 0; channel < channels; channel++) {
      const factor = weight[output * channels + channel];
      for (let i = 0, at = channel * positions; i < positions; i++, at++) row[i] += factor * values[at];
    }
  }
  return result;
}

/** The gradient of `project` with respect to the values, from that with respect to its result (O, L). */
function projectBack(weight, gradient, positions) {
  const outputs = gradient.length / positions;
  const channels = weight.length / outputs;
  const result = new Float64Array(channels * positions);
  for (let output = 0; output < outputs; output++) {
    for (let channel = 0; channel < channels; channel++) {
      const factor = weight[output * channels + channel];
      const [from, to] = [output * positions, channel * positions];
      for (let i = 0; i < positions; i++) result[to + i] += factor * gradient[from + i];
    }
  }
  return result;
}

/** The rows of channels `first` to `first + count` of values (C, L). */
const rowsOf = (values, first, count, positions) => values.subarray(first * positions, (first + count) * positions);

/** Queries, keys and values of each head, (D, L) each, of those of all heads (3 C, L). */
function headsOf(op, all, positions) {
  const channels = op.shape[0];
  const size = channels / op.num_heads;
  return Array.from({ length: op.num_heads }, (_, head) =>
    [0, 1, 2].map((part) => rowsOf(all, part * channels + head * size, size, positions)),
  );
}

/** The attention of a position to each position, which adds up to 1. */
function attentionOf(queries, keys, position, positions) {
  const scores = new Float64Array(positions);
  for (let at = 0; at < queries.length; at += positions) {
    for (let i = 0; i < positions; i++) scores[i] += queries[at + position] * keys[at + i];
  }
  const scale = Math.sqrt(queries.length / positions);
  const largest = scores.reduce((one, other) => Math.max(one, other), -Infinity);
  let total = 0;
  for (let i = 0; i < positions; i++) {
    scores[i] = Math.exp((scores[i] - largest) / scale);
    total += scores[i];
  }
  return scores.map((each) => each / total);
}

const SELF_ATTENTION = {
  forward(op, [{ values }], { qkv_weight, qkv_bias, out_weight, out_bias }) {
    const positions = positionsOfShape(op.shape);
    const results = new Float64Array(values.length); // of all heads, (C, L)
    const heads = headsOf(op, project(qkv_weight, qkv_bias, values, positions), positions);
    heads.forEach(([queries, keys, contents], head) => {
      const result = results.subarray(head * contents.length, (head + 1) * contents.length);
      for (let position = 0; position < positions; position++) {
        const attention = attentionOf(queries, keys, position, positions);
        for (let at = 0; at < contents.length; at += positions) {
          let sum = 0;
          for (let i = 0; i < positions; i++) sum += attention[i] * contents[at + i];
          result[at + position] = sum;
        }
      }
    });
    return new Float32Array(project(out_weight, out_bias, results, positions));
  },
  backward(op, [{ values }], { qkv_weight, qkv_bias, out_weight }, _output, gradient) {
    const positions = positionsOfShape(op.shape);
    const heads = headsOf(op, project(qkv_weight, qkv_bias, values, positions), positions);
    const slopes = new Float64Array(3 * values.length);
    const slopesOfHeads = headsOf(op, slopes, positions);
    const onResults = projectBack(out_weight, gradient, positions);
    heads.forEach(([queries, keys, contents], head) => {
      const onResult = onResults.subarray(head * contents.length, (head + 1) * contents.length);
      const [onQueries, onKeys, onContents] = slopesOfHeads[head];
      const scale = Math.sqrt(contents.length / positions);
      for (let position = 0; position < positions; position++) {
        const attention = attentionOf(queries, keys, position, positions);
        const onAttention = new Float64Array(positions);
        for (let at = 0; at < contents.length; at += positions) {
          const slope = onResult[at + position];
          for (let i = 0; i < positions; i++) {
            onAttention[i] += slope * contents[at + i];
            onContents[at + i] += slope * attention[i];
          }
        }
        const mean = onAttention.reduce((sum, each, i) => sum + each * attention[i], 0);
        for (let i = 0; i < positions; i++) {
          const slope = (attention[i] * (onAttention[i] - mean)) / scale;
          for (let at = 0; at < queries.length; at += positions) {
            onQueries[at + position] += slope * keys[at + i];
            onKeys[at + i] += slope * queries[at + position];
          }
        }
      }
    });
    return [projectBack(qkv_weight, slopes, positions)];
  },
};

export const ATTENTION = { self_attention: SELF_ATTENTION };
