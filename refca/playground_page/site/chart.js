/** Shares over time: one column a step, one band a label. */

import { agreed } from "./digits_world.js";
import { css } from "./palettes.js";

/** Fit a canvas's pixels to its place on the screen, and clear it. @param {HTMLCanvasElement} canvas */
export function blank(canvas) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.clearRect(0, 0, width, height);
  return { context, ratio, width, height };
}

/**
 * Paint the last steps. The strip below is dark while all cells agree; a line marks each disturbance.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {import("./digits_world.js").Moment[]} history
 * @param {import("./palettes.js").Colour[]} colours
 * @param {import("./board.js").Theme} theme
 */
export function paintChart(canvas, history, colours, theme) {
  const { context, ratio, width, height } = blank(canvas);
  const column = Math.max(1, Math.round(2 * ratio));
  const strip = Math.round(5 * ratio);
  const area = height - 2 * strip;
  const shown = history.slice(-Math.floor(width / column));
  shown.forEach((moment, i) => {
    const x = i * column;
    let y = area;
    moment.counts.forEach((count, label) => {
      const band = moment.live ? (count / moment.live) * area : 0;
      if (!band) return;
      context.fillStyle = css(colours[label]);
      context.fillRect(x, y - band, column, band + 0.5);
      y -= band;
    });
    if (agreed(moment)) {
      context.fillStyle = css(theme.ink);
      context.fillRect(x, height - strip, column, strip);
    }
    if (moment.event) {
      context.fillStyle = css(theme.accent);
      context.fillRect(x, 0, ratio, height);
    }
  });
}
