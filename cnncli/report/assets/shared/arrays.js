// The arrays of numbers in a page, from its compressed binary.

import { decodeBytes } from "./numbers.js";

/** Decompress bytes that zlib compressed. */
export async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const BYTES = { u1: 1, f2: 2, f4: 4 };
const HALVES = new Float32Array(1 << 16); // every half-precision number, filled on first use
let halvesFilled = false;

/** The number with these 16 bits in half precision. */
function halfPrecision(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function fillHalves() {
  if (halvesFilled) return;
  for (let bits = 0; bits < HALVES.length; bits += 1) HALVES[bits] = halfPrecision(bits);
  halvesFilled = true;
}

/**
 * The numbers of an array, from its bytes in planes: all first bytes, then all second ones.
 *
 * @param bytes of the array.
 * @param type "u1", "f2" or "f4".
 * @returns a Uint8Array, or a Float32Array.
 */
export function numbersOf(bytes, type) {
  if (type === "u1") return bytes.slice();
  const count = bytes.length / (type === "f2" ? 2 : 4);
  if (type === "f2") {
    fillHalves();
    const numbers = new Float32Array(count);
    for (let i = 0; i < count; i += 1) numbers[i] = HALVES[bytes[i] | (bytes[count + i] << 8)];
    return numbers;
  }
  const bits = new Uint32Array(count);
  for (let i = 0; i < count; i += 1) {
    bits[i] = bytes[i] | (bytes[count + i] << 8) | (bytes[2 * count + i] << 16) | (bytes[3 * count + i] << 24);
  }
  return new Float32Array(bits.buffer);
}

/** The arrays of a page by key; each is decoded when it is first asked for. */
export class PageArrays {
  #entries = new Map(); // key -> {type, offset, length, bytes}
  #decoded = new Map();

  /**
   * Add the arrays of a binary.
   *
   * @param index key -> type, offset in bytes and length in numbers.
   * @param bytes of the binary.
   */
  add(index, bytes) {
    for (const [key, entry] of Object.entries(index)) this.#entries.set(key, { ...entry, bytes });
  }

  keys() {
    return [...new Set([...this.#entries.keys(), ...this.#decoded.keys()])];
  }

  /** A Uint8Array or Float32Array; undefined where there is no such array. */
  get(key) {
    if (!this.#decoded.has(key) && this.#entries.has(key)) {
      const { type, offset, length, bytes } = this.#entries.get(key);
      this.#decoded.set(key, numbersOf(bytes.subarray(offset, offset + BYTES[type] * length), type));
    }
    return this.#decoded.get(key);
  }

  set(key, numbers) {
    this.#decoded.set(key, numbers);
  }
}

/** The arrays of an index in a compressed binary, in base64. */
export async function loadArrays(index, base64) {
  const arrays = new PageArrays();
  arrays.add(index, await inflate(decodeBytes(base64)));
  return arrays;
}
