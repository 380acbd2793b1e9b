/**
 * Safetensors: named arrays in one file. 8 bytes with the header's length, the header as JSON, then the numbers.
 *
 * Source: the format's description at its repository (huggingface/safetensors, README).
 */

import { InvalidInput } from "./errors.js";

const ARRAYS = {
  F32: Float32Array,
  F64: Float64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  U8: Uint8Array,
  I8: Int8Array,
  BOOL: Uint8Array,
};

/** @typedef {{shape: number[], data: any, dtype?: string}} AnyTensor */

/**
 * Read a file's arrays and its metadata. Throws InvalidInput for a file that is not whole.
 *
 * @param {ArrayBuffer | Uint8Array} file
 * @returns {{tensors: Record<string, AnyTensor>, metadata: Record<string, string>}}
 */
export function readSafetensors(file) {
  const bytes = file instanceof Uint8Array ? file : new Uint8Array(file);
  if (bytes.length < 8) throw new InvalidInput("a safetensors file has at least 8 bytes");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = Number(view.getBigUint64(0, true));
  if (headerLength > bytes.length - 8) throw new InvalidInput("the safetensors file ends within its header");
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerLength)));
  } catch {
    throw new InvalidInput("the header of the safetensors file is not JSON");
  }
  if (!isRecord(header)) throw new InvalidInput("the header of the safetensors file does not describe arrays");
  const { __metadata__: metadata = {}, ...entries } = header;
  if (!isRecord(metadata)) throw new InvalidInput("__metadata__ of the safetensors file is not a record");
  /** @type {Record<string, AnyTensor>} */
  const tensors = {};
  for (const [name, entry] of Object.entries(entries)) {
    if (!isRecord(entry) || !areCounts(entry.shape) || !areCounts(entry.data_offsets) || entry.data_offsets.length !== 2) {
      throw new InvalidInput(`${name} has no shape and place in the safetensors file`);
    }
    const { dtype, shape, data_offsets: [from, to] } = entry;
    const Type = ARRAYS[/** @type {keyof typeof ARRAYS} */ (dtype)];
    if (!Type) throw new InvalidInput(`${name} has dtype ${dtype}; allowed are ${Object.keys(ARRAYS).join(", ")}`);
    const size = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1) * Type.BYTES_PER_ELEMENT;
    const start = 8 + headerLength + from;
    if (to - from !== size || 8 + headerLength + to > bytes.length) {
      throw new InvalidInput(`${name} does not have the ${size} bytes of its shape and dtype`);
    }
    // a copy is aligned, which a view into the file need not be; node's Buffer has a slice that does not copy
    const copy = Uint8Array.prototype.slice.call(bytes, start, start + size);
    tensors[name] = { dtype, shape, data: new Type(copy.buffer, 0, size / Type.BYTES_PER_ELEMENT) };
  }
  return { tensors, metadata };
}

/** @param {any} x */
function isRecord(x) {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}

/** Whether something is a list of integers of at least 0. @param {any} x */
function areCounts(x) {
  return Array.isArray(x) && x.every((count) => Number.isSafeInteger(count) && count >= 0);
}

/**
 * The bytes of a file with these arrays. The header is padded so that numbers start at a multiple of 8.
 *
 * @param {Record<string, AnyTensor>} tensors
 * @param {Record<string, string>} metadata
 */
export function writeSafetensors(tensors, metadata = {}) {
  /** @type {Record<string, unknown>} */
  const header = { __metadata__: metadata };
  let end = 0;
  for (const [name, { dtype = "F32", shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  let text = new TextEncoder().encode(JSON.stringify(header));
  const headerLength = Math.ceil(text.length / 8) * 8;
  const file = new Uint8Array(8 + headerLength + end).fill(0x20, 8, 8 + headerLength); // JSON may end in spaces
  new DataView(file.buffer).setBigUint64(0, BigInt(headerLength), true);
  file.set(text, 8);
  let start = 8 + headerLength;
  for (const { data } of Object.values(tensors)) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
    start += data.byteLength;
  }
  return file;
}
