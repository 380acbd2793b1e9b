/** What the preparation of a digit does with whole-numbered pixels: means, medians, marks and strokes. */

/** @typedef {{width: number, height: number, data: Float64Array}} Plane */

/** The nearest whole number; of two equally near the larger. @param {number} value */
export function nearest(value) {
  return Math.floor(value + 0.5);
}

/** The mean of the two values in the middle. @param {Float64Array} values */
export function median(values) {
  const sorted = Float64Array.from(values).sort();
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** The median of a square around each pixel; beyond its edges the picture is mirrored. @param {Plane} plane @param {number} window @returns {Plane} */
export function medianFilter({ width, height, data }, window) {
  const reach = window >> 1;
  const around = new Float64Array(window * window);
  const mirrored = (/** @type {number} */ place, /** @type {number} */ length) => {
    const within = ((place % (2 * length)) + 2 * length) % (2 * length);
    return within < length ? within : 2 * length - 1 - within;
  };
  return {
    width,
    height,
    data: data.map((_, i) => {
      const [x, y] = [i % width, Math.floor(i / width)];
      for (let v = 0, k = 0; v < window; v++) {
        const row = mirrored(y + v - reach, height) * width;
        for (let u = 0; u < window; u++, k++) around[k] = data[row + mirrored(x + u - reach, width)];
      }
      return around.sort()[around.length >> 1];
    }),
  };
}

/**
 * Sums of the pixels that each pixel of another size sees, weighted in whole numbers: their mean times 2 max(n, m) for n
 * pixels that become m, along rows and along columns.
 *
 * A new pixel is the mean over its width, or over an old pixel's width if that is larger: means of areas when a picture
 * shrinks, linear interpolation when it grows. The edge pixels go on beyond the picture.
 *
 * @param {Plane} plane @param {{width: number, height: number}} size
 * @returns {Plane}
 */
export function overlaps({ width, height, data }, size) {
  const rows = alongColumns(data, height, width, size.height);
  const turned = alongColumns(transposed(rows, size.height, width), width, size.height, size.width);
  return { ...size, data: transposed(turned, size.width, size.height) };
}

/** @param {Float64Array} data @param {number} n rows @param {number} columns @param {number} m rows to be */
function alongColumns(data, n, columns, m) {
  const reach = Math.max(n, m); // lengths are in units of an old pixel divided by 2m
  const sums = new Float64Array(m * columns);
  for (let i = 0; i < m; i++) {
    const [from, to] = [n * (2 * i + 1) - reach, n * (2 * i + 1) + reach];
    const first = Math.max(0, Math.floor(from / (2 * m)));
    for (let j = first; j < n && (j === first || 2 * m * j < to); j++) {
      const start = j === 0 ? -reach : 2 * m * j;
      const end = j === n - 1 ? 2 * m * n + reach : 2 * m * (j + 1);
      const shared = Math.min(to, end) - Math.max(from, start);
      for (let x = 0; x < columns; x++) sums[i * columns + x] += shared * data[j * columns + x];
    }
  }
  return sums;
}

/** @param {Float64Array} data @param {number} rows @param {number} columns */
function transposed(data, rows, columns) {
  return data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)]);
}

/**
 * The threshold that divides values from 0 up into two classes with the least variance within them (N. Otsu, 1979). Of
 * equally good thresholds, as between the only two values of a picture, it is the middle one.
 *
 * @param {Float64Array} values
 */
export function otsu(values) {
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const counts = new Array(256).fill(0);
  for (const value of values) counts[Math.min(255, Math.floor((256 * value) / most))]++;
  const total = counts.reduce((sum, count, i) => sum + count * i, 0);
  let [best, first, last, below, sum] = [-1, 0, 0, 0, 0];
  for (let i = 0; i < 255; i++) {
    below += counts[i];
    sum += counts[i] * i;
    const above = values.length - below;
    const apart = sum / Math.max(below, 1) - (total - sum) / Math.max(above, 1);
    const between = below * above * apart * apart;
    if (between > best) [best, first] = [between, i];
    if (between === best) last = i;
  }
  return ((first + last + 2) / 512) * most;
}

/** Groups of neighbouring pixels of `least` or more, corners included, in the order of their first pixels. @param {Plane} plane @param {number} least */
export function groups({ width, height, data }, least) {
  const open = Uint8Array.from(data, (value) => (value >= least ? 1 : 0));
  /** @type {number[][]} */
  const found = [];
  for (let start = 0; start < open.length; start++) {
    if (!open[start]) continue;
    open[start] = 0;
    const group = [start];
    for (let i = 0; i < group.length; i++) {
      const [x, y] = [group[i] % width, Math.floor(group[i] / width)];
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          if (!open[v * width + u]) continue;
          open[v * width + u] = 0;
          group.push(v * width + u);
        }
      }
    }
    found.push(group);
  }
  return found;
}

/** 1 for the pixels of groups and all around them, corners included. @param {Plane} plane @param {number[][]} groups @param {number} reach */
export function grown({ width, height }, groups, reach) {
  const mask = new Uint8Array(width * height);
  for (const index of groups.flat()) {
    const [x, y] = [index % width, Math.floor(index / width)];
    for (let v = Math.max(0, y - reach); v <= Math.min(height - 1, y + reach); v++) {
      mask.fill(1, v * width + Math.max(0, x - reach), v * width + Math.min(width, x + reach + 1));
    }
  }
  return mask;
}

/**
 * The mean width of strokes in pixels: twice their area by their outline. An outline along pixels is 4/pi times as long as
 * the line itself, on average over directions.
 *
 * @param {Plane} ink @param {number} least
 */
export function strokeWidth({ width, height, data }, least) {
  const isMark = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] >= least;
  let [area, outline] = [0, 0];
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    if (!isMark(x, y)) continue;
    area++;
    for (const [u, v] of [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]]) if (!isMark(u, v)) outline++;
  }
  return (2 * area) / (outline * (Math.PI / 4));
}

/** The most ink within a radius of each pixel, with a soft edge, on a picture that is larger by as much. @param {Plane} ink @param {number} radius @returns {Plane} */
export function widened(ink, radius) {
  const reach = Math.ceil(radius);
  const [width, height] = [ink.width + 2 * reach, ink.height + 2 * reach];
  const most = new Float64Array(width * height);
  for (let dy = 0; dy <= 2 * reach; dy++) {
    for (let dx = 0; dx <= 2 * reach; dx++) {
      const near = Math.min(1, radius + 1 - Math.sqrt((dy - reach) ** 2 + (dx - reach) ** 2));
      if (near <= 0) continue;
      for (let i = 0; i < ink.data.length; i++) {
        const at = (Math.floor(i / ink.width) + dy) * width + (i % ink.width) + dx;
        most[at] = Math.max(most[at], near * ink.data[i]);
      }
    }
  }
  return { width, height, data: most.map(nearest) };
}
