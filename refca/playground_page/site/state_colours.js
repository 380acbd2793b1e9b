/**
 * Hidden states as colours: their three directions of largest variance become red, green and blue.
 *
 * The directions are followed by power iteration from one picture to the next, so that colours change slowly.
 */

const DIRECTIONS = 3;
const ITERATIONS = 2; // a picture; the directions of the last one are the start

export class StateColours {
  /** @param {number} channels D */
  constructor(channels) {
    this.channels = channels;
    this.directions = Array.from({ length: DIRECTIONS }, (_, d) =>
      Float64Array.from({ length: channels }, (_, c) => Math.cos((d + 1) * (c + 0.5))),
    );
  }

  /**
   * Three numbers from 0 to 1 for each cell.
   *
   * @param {Float32Array} state (cells, D)
   */
  colours(state) {
    const D = this.channels;
    const cells = state.length / D;
    const mean = new Float64Array(D);
    for (let i = 0; i < state.length; i++) mean[i % D] += state[i] / cells;
    for (let i = 0; i < ITERATIONS; i++) this.improve(state, mean);
    const colours = new Float32Array(cells * DIRECTIONS);
    this.directions.forEach((direction, d) => {
      let squares = 0;
      for (let i = 0; i < cells; i++) {
        let sum = 0;
        for (let c = 0; c < D; c++) sum += (state[i * D + c] - mean[c]) * direction[c];
        colours[i * DIRECTIONS + d] = sum;
        squares += sum * sum;
      }
      const spread = 2 * Math.sqrt(squares / cells) || 1;
      for (let i = d; i < colours.length; i += DIRECTIONS) {
        colours[i] = Math.min(1, Math.max(0, 0.5 + (0.5 * colours[i]) / spread));
      }
    });
    return colours;
  }

  /** One power iteration of each direction, orthogonal to those before. @param {Float32Array} state @param {Float64Array} mean */
  improve(state, mean) {
    const D = this.channels;
    this.directions.forEach((direction, d) => {
      const next = new Float64Array(D);
      for (let start = 0; start < state.length; start += D) {
        let sum = 0;
        for (let c = 0; c < D; c++) sum += (state[start + c] - mean[c]) * direction[c];
        for (let c = 0; c < D; c++) next[c] += sum * (state[start + c] - mean[c]);
      }
      for (const earlier of this.directions.slice(0, d)) {
        const along = next.reduce((sum, x, c) => sum + x * earlier[c], 0);
        for (let c = 0; c < D; c++) next[c] -= along * earlier[c];
      }
      const length = Math.hypot(...next);
      if (!length) return; // states that are all alike have no direction
      for (let c = 0; c < D; c++) direction[c] = next[c] / length;
    });
  }
}
