/**
 * Philox4x32-10: four random words as a function of a counter and a key.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3;
 * `refca/definition/philox.py`. Random123's published vectors are a test.
 */

const ROUNDS = 10;
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9; // added to the key after each round
const WEYL_1 = 0xbb67ae85;

/**
 * Write the four words of a counter and a key to `words`.
 *
 * @param {Uint32Array} words four words, the result
 * @param {number} c0 counter words: integers, taken modulo 2**32
 * @param {number} c1
 * @param {number} c2
 * @param {number} c3
 * @param {number} k0 key words, the lower one first
 * @param {number} k1
 */
export function philox(words, c0, c1, c2, c3, k0, k1) {
  c0 |= 0; // 32-bit integers, signed or not: only the bits count
  c1 |= 0;
  c2 |= 0;
  c3 |= 0;
  k0 |= 0;
  k1 |= 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = highWord(c0, MULTIPLIER_0);
    const high1 = highWord(c2, MULTIPLIER_1);
    const low0 = Math.imul(c0, MULTIPLIER_0);
    const low1 = Math.imul(c2, MULTIPLIER_1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

/**
 * The upper 32 bits of the product of two 32-bit words, from four products of 16-bit halves.
 *
 * @param {number} a
 * @param {number} b
 */
function highWord(a, b) {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  // no sum exceeds 2**32 - 1, so its 32 bits are exact although JavaScript reads them as signed
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const lower = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (lower >>> 16)) | 0;
}
