/**
 * Norms of a ReLU layer's sums: mean 0 and variance 1 over a sample's cells, the batch's, or a cell's channels.
 *
 * Source: the paper, 3.5; `normalise` of `refca/definition/step.py`. No learned scale or shift.
 */

const EPSILON = 1e-5; // added to a variance before its root is taken

/** @typedef {{mean: Float64Array, scale: Float64Array}} Statistics */

/**
 * Space for the statistics of one layer: one mean and one scale a channel, or with a norm over channels one a row.
 *
 * @param {import("./cell.js").Cell} cell
 * @param {number} rows
 * @returns {Statistics}
 */
export function makeStatistics(cell, rows) {
  const count = { none: 0, instance: cell.hidden_width, batch: cell.hidden_width, channel: rows }[cell.norm];
  return { mean: new Float64Array(count), scale: new Float64Array(count) };
}

/**
 * Normalise and rectify sums in place; keep the statistics.
 *
 * @param {import("./cell.js").Cell} cell
 * @param {Statistics} statistics
 * @param {Float32Array} sums rows of `columns` numbers, of which the first P count
 * @param {number} rows
 * @param {number} columns
 */
export function normalise(cell, statistics, sums, rows, columns) {
  if (cell.norm === "channel") normaliseRows(statistics, sums, rows, columns, cell.hidden_width);
  else normaliseColumns(statistics, sums, rows, columns, cell.hidden_width);
}

/**
 * @param {Statistics} statistics @param {Float32Array} sums @param {number} rows @param {number} columns
 * @param {number} width
 */
function normaliseColumns({ mean, scale }, sums, rows, columns, width) {
  mean.fill(0);
  for (let r = 0, start = 0; r < rows; r++, start += columns) {
    for (let p = 0; p < width; p++) mean[p] += sums[start + p];
  }
  for (let p = 0; p < width; p++) mean[p] /= rows;
  scale.fill(0);
  for (let r = 0, start = 0; r < rows; r++, start += columns) {
    for (let p = 0; p < width; p++) {
      const centred = sums[start + p] - mean[p];
      scale[p] += centred * centred;
    }
  }
  for (let p = 0; p < width; p++) scale[p] = 1 / Math.sqrt(scale[p] / rows + EPSILON);
  for (let r = 0, start = 0; r < rows; r++, start += columns) {
    for (let p = 0; p < width; p++) {
      const value = (sums[start + p] - mean[p]) * scale[p];
      sums[start + p] = value > 0 ? value : 0;
    }
  }
}

/**
 * @param {Statistics} statistics @param {Float32Array} sums @param {number} rows @param {number} columns
 * @param {number} width
 */
function normaliseRows({ mean, scale }, sums, rows, columns, width) {
  for (let r = 0, start = 0; r < rows; r++, start += columns) {
    let sum = 0;
    for (let p = 0; p < width; p++) sum += sums[start + p];
    const centre = sum / width;
    let squares = 0;
    for (let p = 0; p < width; p++) squares += (sums[start + p] - centre) ** 2;
    const factor = 1 / Math.sqrt(squares / width + EPSILON);
    mean[r] = centre;
    scale[r] = factor;
    for (let p = 0; p < width; p++) sums[start + p] = Math.max((sums[start + p] - centre) * factor, 0);
  }
}
