/**
 * An assembler of WebAssembly for one function: just the instructions that `kernel.js` needs, each a list of bytes.
 *
 * Source: the WebAssembly core specification, 5.4 (instructions) and 5.5 (modules).
 */

const I32 = 0x7f;
const V128 = 0x7b;
const NO_RESULT = 0x40;
const SIMD = 0xfd;

/** An unsigned LEB128 integer. @param {number} n @returns {number[]} */
function unsigned(n) {
  return n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...unsigned(n >>> 7)];
}

/** A signed LEB128 integer. @param {number} n @returns {number[]} */
function signed(n) {
  const done = n >= -64 && n < 64;
  return done ? [n & 0x7f] : [(n & 0x7f) | 0x80, ...signed(n >> 7)];
}

/** @param {number[]} code */
const simd = (...code) => [SIMD, ...code];

/** @param {number} a @param {number} offset @returns {number[]} alignment 2**a is only a hint */
const address = (a, offset) => [a, ...unsigned(offset)];

export const op = {
  get: (/** @type {number} */ local) => [0x20, ...unsigned(local)],
  set: (/** @type {number} */ local, /** @type {number[]} */ value) => [...value, 0x21, ...unsigned(local)],
  constant: (/** @type {number} */ n) => [0x41, ...signed(n)],
  add: (/** @type {number[]} */ a, /** @type {number[]} */ b) => [...a, ...b, 0x6a],
  subtract: (/** @type {number[]} */ a, /** @type {number[]} */ b) => [...a, ...b, 0x6b],
  multiply: (/** @type {number[]} */ a, /** @type {number[]} */ b) => [...a, ...b, 0x6c],
  less: [0x49], // unsigned
  /** Run the body, and again while the condition is not zero. @param {number[]} body @param {number[]} condition */
  loop: (body, condition) => [0x03, NO_RESULT, ...body, ...condition, 0x0d, 0, 0x0b],
  /** Run the body if the condition is not zero. @param {number[]} condition @param {number[]} body */
  when: (condition, body) => [...condition, 0x04, NO_RESULT, ...body, 0x0b],
  loadInteger: (/** @type {number} */ offset) => [0x28, ...address(2, offset)],
  loadVector: (/** @type {number} */ offset) => simd(0x00, ...address(2, offset)),
  loadSplat: (/** @type {number} */ offset) => simd(0x09, ...address(2, offset)), // one number in four lanes
  storeVector: (/** @type {number} */ offset) => simd(0x0b, ...address(2, offset)),
  zeroVector: simd(0x0c, ...new Array(16).fill(0)),
  addVector: simd(...unsigned(0xe4)),
  mulVector: simd(...unsigned(0xe6)),
  maxVector: simd(...unsigned(0xeb)), // pmax(a, b): b if a < b, else a
};

/**
 * The bytes of a module that imports js.memory and exports one function of integers, without a result.
 *
 * @param {{name: string, parameters: number, integers: number, vectors: number, body: number[]}} definition
 *   the number of parameters, the number of further integer and vector locals, and the instructions
 */
export function assemble({ name, parameters, integers, vectors, body }) {
  const code = [2, ...unsigned(integers), I32, ...unsigned(vectors), V128, ...body, 0x0b];
  const sections = [
    section(1, [[0x60, ...list(new Array(parameters).fill([I32])), 0]]), // types
    section(2, [[...text("js"), ...text("memory"), 0x02, 0x00, 0]]), // imports: a memory of any size
    section(3, [[0]]), // functions: the first has type 0
    section(7, [[...text(name), 0x00, 0]]), // exports: function 0
    section(10, [[...unsigned(code.length), ...code]]), // code
  ];
  return new Uint8Array([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections.flat()]);
}

/** @param {number} id @param {number[][]} items */
function section(id, items) {
  const content = list(items);
  return [id, ...unsigned(content.length), ...content];
}

/** @param {number[][]} items */
function list(items) {
  return [...unsigned(items.length), ...items.flat()];
}

/** @param {string} name */
function text(name) {
  return list([...new TextEncoder().encode(name)].map((byte) => [byte]));
}
