/**
 * The one loop that takes the time: rows of numbers times a matrix of weights, in float32.
 *
 *     multiply(rows, table, segments, stride, depth, weight, panels, bias, output, outputStride, rectify)
 *
 * All arguments are integers; addresses and strides are bytes in one shared memory. Row r of the input starts at the
 * address table[r] and has `segments` pieces of `depth` numbers, `stride` bytes from one to the next: one piece is a
 * row of a matrix, three pieces are a 3x3 neighbourhood in a grid with a border. So a convolution copies nothing, and
 * the rows may be any cells, such as those that live and fire. Row r of the output starts at output + r*outputStride.
 * `rows` is a multiple of ROWS, and weights are packed in panels of COLUMNS columns (`packWeights`).
 *
 * There are two versions. WebAssembly has SIMD; it is assembled below, from JavaScript, so that there is no binary file
 * and no compiler. The plain one serves where WebAssembly is missing. Both add in the same order and round after each
 * operation, so they give the same bits, on every machine.
 */

import { assemble, op } from "./wasm.js";

export const ROWS = 4;
export const COLUMNS = 8;

/**
 * @typedef {(rows: number, table: number, segments: number, stride: number, depth: number, weight: number,
 *   panels: number, bias: number, output: number, outputStride: number, rectify: number) => void} Multiply
 */

/** Memory that kernels compute in, handed out piece by piece and never taken back. */
export class Workspace {
  /** @param {number} bytes @param {"simd" | "plain" | undefined} kind the kernel; default: the fastest there is */
  constructor(bytes, kind) {
    this.next = 16;
    this.kind = kind ?? (simdWorks() ? "simd" : "plain");
    if (this.kind === "simd") {
      const memory = new WebAssembly.Memory({ initial: Math.ceil((bytes + 16) / 65536) });
      const { exports } = new WebAssembly.Instance(compiled(), { js: { memory } });
      this.buffer = memory.buffer;
      this.multiply = /** @type {Multiply} */ (/** @type {unknown} */ (exports.multiply));
    } else {
      this.buffer = new ArrayBuffer(bytes + 16);
      this.multiply = plainMultiply(this.buffer);
    }
  }

  /** A piece of `length` float32 zeros. @param {number} length */
  floats(length) {
    return new Float32Array(this.buffer, this.take(length), length);
  }

  /** A piece of `length` int32 zeros. @param {number} length */
  integers(length) {
    return new Int32Array(this.buffer, this.take(length), length);
  }

  /** @param {number} length */
  take(length) {
    const start = this.next;
    this.next += Math.ceil(length / 4) * 16;
    return start;
  }
}

/** The numbers that `packWeights` writes for a matrix. @param {number} depth @param {number} columns */
export function packedLength(depth, columns) {
  return depth * roundUp(columns, COLUMNS);
}

/** @param {number} n @param {number} multiple */
export function roundUp(n, multiple) {
  return Math.ceil(n / multiple) * multiple;
}

/**
 * Write a (depth, columns) matrix into panels: for each group of COLUMNS columns, its rows one after the other.
 * Columns past the last are zero. `firstColumn` and `total` place it beside other matrices of the same depth.
 *
 * @param {Float32Array} packed @param {ArrayLike<number>} matrix @param {number} depth @param {number} columns
 * @param {number} firstColumn
 */
export function packWeights(packed, matrix, depth, columns, firstColumn = 0) {
  for (let column = 0; column < columns; column++) {
    const place = firstColumn + column;
    const panel = Math.floor(place / COLUMNS) * depth * COLUMNS + (place % COLUMNS);
    for (let k = 0; k < depth; k++) packed[panel + k * COLUMNS] = matrix[k * columns + column];
  }
}

/** @type {WebAssembly.Module | undefined} */
let module;

function compiled() {
  module ??= new WebAssembly.Module(/** @type {BufferSource} */ (assembleMultiply()));
  return module;
}

/** Whether this browser has WebAssembly with SIMD, and the page's security policy lets it run. */
export function simdWorks() {
  try {
    return Boolean(compiled());
  } catch {
    return false;
  }
}

/**
 * The plain version, in the memory `buffer`.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Multiply}
 */
export function plainMultiply(buffer) {
  const numbers = new Float32Array(buffer);
  const addresses = new Int32Array(buffer);
  const f = Math.fround;
  return (rows, table, segments, stride, depth, weight, panels, bias, output, outputStride, rectify) => {
    for (let panel = 0; panel < panels; panel++) {
      const biases = bias / 4 + panel * COLUMNS;
      const panelWeights = weight / 4 + panel * segments * depth * COLUMNS;
      for (let r = 0; r < rows; r++) {
        const row = addresses[table / 4 + r] / 4;
        const target = (output + r * outputStride) / 4 + panel * COLUMNS;
        let s0 = numbers[biases];
        let s1 = numbers[biases + 1];
        let s2 = numbers[biases + 2];
        let s3 = numbers[biases + 3];
        let s4 = numbers[biases + 4];
        let s5 = numbers[biases + 5];
        let s6 = numbers[biases + 6];
        let s7 = numbers[biases + 7];
        let w = panelWeights;
        for (let segment = 0; segment < segments; segment++) {
          const start = row + (segment * stride) / 4;
          for (let k = start; k < start + depth; k++, w += COLUMNS) {
            const x = numbers[k];
            s0 = f(s0 + f(x * numbers[w]));
            s1 = f(s1 + f(x * numbers[w + 1]));
            s2 = f(s2 + f(x * numbers[w + 2]));
            s3 = f(s3 + f(x * numbers[w + 3]));
            s4 = f(s4 + f(x * numbers[w + 4]));
            s5 = f(s5 + f(x * numbers[w + 5]));
            s6 = f(s6 + f(x * numbers[w + 6]));
            s7 = f(s7 + f(x * numbers[w + 7]));
          }
        }
        numbers[target] = s0;
        numbers[target + 1] = s1;
        numbers[target + 2] = s2;
        numbers[target + 3] = s3;
        numbers[target + 4] = s4;
        numbers[target + 5] = s5;
        numbers[target + 6] = s6;
        numbers[target + 7] = s7;
        if (rectify) for (let c = 0; c < COLUMNS; c++) if (!(numbers[target + c] > 0)) numbers[target + c] = 0;
      }
    }
  };
}

/** The bytes of a WebAssembly module with `multiply`: ROWS x 2 sums of four lanes each stay in registers. */
function assembleMultiply() {
  const [rows, table, segments, stride, depth, weight, panels, bias, output, outputStride, rectify] = names(0, 11);
  const [r, segment, end, w, target, tableAt] = names(11, 6);
  const pointers = names(17, ROWS); // where each row's current piece starts
  const cursors = names(21, ROWS); // where each row is read
  const [w0, w1, x] = names(25, 3);
  const sums = names(28, 2 * ROWS);
  const { get, set, constant, add, multiply, subtract, loop, when } = op;

  const eachRow = (/** @type {(i: number) => number[][]} */ code) => pointers.flatMap((_, i) => code(i)).flat();
  const innermost = [
    ...set(w0, [...get(w), ...op.loadVector(0)]),
    ...set(w1, [...get(w), ...op.loadVector(16)]),
    ...eachRow((i) => [
      set(x, [...get(cursors[i]), ...op.loadSplat(0)]),
      set(sums[2 * i], [...get(sums[2 * i]), ...get(x), ...get(w0), ...op.mulVector, ...op.addVector]),
      set(sums[2 * i + 1], [...get(sums[2 * i + 1]), ...get(x), ...get(w1), ...op.mulVector, ...op.addVector]),
      set(cursors[i], add(get(cursors[i]), constant(4))),
    ]),
    ...set(w, add(get(w), constant(4 * COLUMNS))),
  ];
  const pieces = [
    ...eachRow((i) => [set(cursors[i], get(pointers[i]))]),
    ...set(end, add(get(pointers[0]), get(depth))),
    ...loop(innermost, [...get(cursors[0]), ...get(end), ...op.less]),
    ...eachRow((i) => [set(pointers[i], add(get(pointers[i]), get(stride)))]),
    ...set(segment, subtract(get(segment), constant(1))),
  ];
  const rectified = sums.flatMap((sum) => set(sum, [...op.zeroVector, ...get(sum), ...op.maxVector]));
  const fourRows = [
    ...eachRow((i) => [
      set(pointers[i], [...get(tableAt), ...op.loadInteger(4 * i)]),
      set(sums[2 * i], [...get(bias), ...op.loadVector(0)]),
      set(sums[2 * i + 1], [...get(bias), ...op.loadVector(16)]),
    ]),
    ...set(w, get(weight)),
    ...set(segment, get(segments)),
    ...loop(pieces, get(segment)),
    ...when(get(rectify), rectified),
    ...eachRow((i) => [
      [...get(target), ...get(sums[2 * i]), ...op.storeVector(0)],
      [...get(target), ...get(sums[2 * i + 1]), ...op.storeVector(16)],
      set(target, add(get(target), get(outputStride))),
    ]),
    ...set(tableAt, add(get(tableAt), constant(4 * ROWS))),
    ...set(r, subtract(get(r), constant(ROWS))),
  ];
  const onePanel = [
    ...set(r, get(rows)),
    ...set(tableAt, get(table)),
    ...set(target, get(output)),
    ...loop(fourRows, get(r)),
    ...set(weight, get(w)), // where this panel's weights ended, the next panel's begin
    ...set(bias, add(get(bias), constant(4 * COLUMNS))),
    ...set(output, add(get(output), constant(4 * COLUMNS))),
    ...set(panels, subtract(get(panels), constant(1))),
  ];
  const inBytes = set(depth, multiply(get(depth), constant(4)));
  const body = when(get(rows), [...inBytes, ...loop(onePanel, get(panels))]);
  return assemble({ name: "multiply", parameters: 11, integers: 14, vectors: 3 + 2 * ROWS, body });
}

/** @param {number} first @param {number} count */
function names(first, count) {
  return Array.from({ length: count }, (_, i) => first + i);
}
