/** Strokes: ink in the pixels of a line, soft at its edge as in scanned handwriting. */

/**
 * Draw or erase along a line from (x0, y0) to (x1, y1) in pixels, whose centres are at halves.
 *
 * @param {Uint8Array} image size x size bytes of ink, changed in place
 * @param {number} size
 * @param {{x0: number, y0: number, x1: number, y1: number}} line
 * @param {number} width of the brush in pixels
 * @param {boolean} erase
 */
export function stroke(image, size, line, width, erase) {
  forPixelsNear(size, line, width / 2 + 0.5, (index, distance) => {
    const ink = Math.round(255 * Math.min(1, Math.max(0, width / 2 + 0.5 - distance)));
    image[index] = erase ? Math.min(image[index], 255 - ink) : Math.max(image[index], ink);
  });
}

/**
 * Call `visit(index, distance)` for each pixel whose centre is closer to a line than `reach`.
 *
 * @param {number} size
 * @param {{x0: number, y0: number, x1: number, y1: number}} line
 * @param {number} reach
 * @param {(index: number, distance: number) => void} visit
 */
export function forPixelsNear(size, { x0, y0, x1, y1 }, reach, visit) {
  const inside = (/** @type {number} */ value) => Math.max(0, Math.min(size - 1, Math.floor(value)));
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length2 = dx * dx + dy * dy;
  for (let y = inside(Math.min(y0, y1) - reach); y <= inside(Math.max(y0, y1) + reach); y++) {
    for (let x = inside(Math.min(x0, x1) - reach); x <= inside(Math.max(x0, x1) + reach); x++) {
      const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
      const along = length2 ? Math.max(0, Math.min(1, (px * dx + py * dy) / length2)) : 0;
      const distance = Math.hypot(px - along * dx, py - along * dy);
      if (distance < reach) visit(y * size + x, distance);
    }
  }
}
