/**
 * A picture of a digit, made as MNIST's makers made theirs: ink on nothing, the digit scaled into 20x20 pixels, its
 * centre of mass in the middle of 28x28. Before that, what a photograph needs: even light, no grid lines, no specks;
 * and thin strokes drawn wider, which would fade when they shrink.
 *
 * Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", on how it was made.
 */

const WORKING_SIDE = 160; // pixels of the longer side while the digit is found
const FIELD = 28;
const BOX = 20; // the digit's longer side in the field
const THINNEST = 2.2; // pixels of a stroke in the field
const SPECK = 0.04; // pieces with less ink than this share of the largest are dirt

/** @typedef {{width: number, height: number, data: Float32Array}} Gray */

/**
 * The 28x28 bytes of ink in a picture, or null if it has none.
 *
 * @param {{width: number, height: number, data: ArrayLike<number>}} picture RGBA bytes
 * @returns {Uint8Array | null}
 */
export function digitFromPicture(picture) {
  const gray = shrink(luminance(picture), WORKING_SIDE);
  const ink = inkOf(gray);
  const mask = digitMask(ink);
  if (!mask) return null;
  const box = boxOf(mask, ink.width);
  const scale = BOX / Math.max(box.right - box.left, box.bottom - box.top);
  const thin = strokeWidth(mask, ink.width) * scale;
  /** @type {Gray} */
  let strokes = { ...ink, data: ink.data.map((value, i) => (mask[i] ? value : 0)) };
  if (thin < THINNEST) strokes = widen(strokes, (THINNEST - thin) / 2 / scale);
  return centred(resample(strokes, boxOf(strokes.data.map((v) => (v > 0.2 ? 1 : 0)), ink.width)));
}

/** From 0 to 1; what is transparent is white. @param {{width: number, height: number, data: ArrayLike<number>}} picture */
function luminance({ width, height, data }) {
  const gray = new Float32Array(width * height);
  for (let i = 0; i < gray.length; i++) {
    const alpha = data[4 * i + 3] / 255;
    const value = (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255;
    gray[i] = alpha * value + 1 - alpha;
  }
  return { width, height, data: gray };
}

/** Means over areas, so that the longer side is at most `side`. @param {Gray} gray @param {number} side */
function shrink(gray, side) {
  const scale = Math.min(1, side / Math.max(gray.width, gray.height));
  const size = { width: Math.max(1, Math.round(gray.width * scale)), height: Math.max(1, Math.round(gray.height * scale)) };
  return scale === 1 ? gray : areaMeans(gray, { left: 0, top: 0, right: gray.width, bottom: gray.height }, size);
}

/**
 * A part of a picture at another size: each pixel the mean of the area that it covers.
 *
 * @param {Gray} gray @param {{left: number, top: number, right: number, bottom: number}} box
 * @param {{width: number, height: number}} size
 * @returns {Gray}
 */
function areaMeans({ width, height, data }, box, size) {
  const result = new Float32Array(size.width * size.height);
  const [dx, dy] = [(box.right - box.left) / size.width, (box.bottom - box.top) / size.height];
  for (let y = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++) {
      const [x0, y0] = [box.left + x * dx, box.top + y * dy];
      let [sum, area] = [0, 0];
      for (let v = Math.floor(y0); v < y0 + dy && v < height; v++) {
        for (let u = Math.floor(x0); u < x0 + dx && u < width; u++) {
          const covered =
            (Math.min(u + 1, x0 + dx) - Math.max(u, x0)) * (Math.min(v + 1, y0 + dy) - Math.max(v, y0));
          sum += covered * data[v * width + u];
          area += covered;
        }
      }
      result[y * size.width + x] = area ? sum / area : 0;
    }
  }
  return { ...size, data: result };
}

/**
 * Ink from 0 to 1: the distance from the paper's tone, which may differ from place to place. Ink is the rarer side of
 * the median, dark or light.
 *
 * @param {Gray} gray
 * @returns {Gray}
 */
function inkOf({ width, height, data }) {
  const sorted = Float32Array.from(data).sort();
  const at = (/** @type {number} */ share) => sorted[Math.floor(share * (sorted.length - 1))];
  const dark = at(0.5) - at(0.01) >= at(0.99) - at(0.5);
  const rough = data.map((value) => Math.max(0, dark ? at(0.5) - value : value - at(0.5)));
  const isInk = threshold(rough);
  const paper = meansAround({ width, height, data }, rough.map((value) => (value < isInk ? 1 : 0)), Math.max(width, height) / 5);
  const ink = data.map((value, i) => Math.max(0, dark ? paper[i] - value : value - paper[i]));
  const most = Float32Array.from(ink).sort()[Math.floor(0.985 * (ink.length - 1))] || 1;
  return { width, height, data: ink.map((value) => Math.min(1, value / most)) };
}

/**
 * The mean of the counted pixels in a square around each pixel; where none is counted, of all pixels.
 *
 * @param {Gray} gray @param {Float32Array} counted 1 or 0 @param {number} reach
 */
function meansAround({ width, height, data }, counted, reach) {
  const sums = integral(data.map((value, i) => value * counted[i]), width, height);
  const counts = integral(counted, width, height);
  const whole = data.reduce((a, b) => a + b, 0) / data.length;
  return data.map((_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    const corners = /** @type {const} */ ([
      Math.max(0, Math.floor(x - reach)),
      Math.max(0, Math.floor(y - reach)),
      Math.min(width, Math.ceil(x + reach)),
      Math.min(height, Math.ceil(y + reach)),
    ]);
    const count = boxSum(counts, width, corners);
    return count ? boxSum(sums, width, corners) / count : whole;
  });
}

/** @param {Float32Array} data @param {number} width @param {number} height */
function integral(data, width, height) {
  const sums = new Float64Array((width + 1) * (height + 1));
  for (let y = 0; y < height; y++) {
    for (let x = 0, line = 0; x < width; x++) {
      line += data[y * width + x];
      sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + line;
    }
  }
  return sums;
}

/** @param {Float64Array} sums @param {number} width @param {readonly [number, number, number, number]} corners */
function boxSum(sums, width, [left, top, right, bottom]) {
  const at = (/** @type {number} */ x, /** @type {number} */ y) => sums[y * (width + 1) + x];
  return at(right, bottom) - at(left, bottom) - at(right, top) + at(left, top);
}

/** The value that separates two groups best (N. Otsu, 1979). @param {Float32Array} values */
function threshold(values) {
  const most = values.reduce((a, b) => Math.max(a, b), 0) || 1;
  const counts = new Array(64).fill(0);
  for (const value of values) counts[Math.min(63, Math.floor((64 * value) / most))]++;
  const total = counts.reduce((sum, count, i) => sum + count * i, 0);
  let [best, bestAt, below, belowSum] = [-1, 0, 0, 0];
  counts.forEach((count, i) => {
    below += count;
    belowSum += count * i;
    const above = values.length - below;
    if (!below || !above) return;
    const between = below * above * (belowSum / below - (total - belowSum) / above) ** 2;
    if (between > best) [best, bestAt] = [between, i + 1];
  });
  return (bestAt / 64) * most;
}

/**
 * The pixels of the digit, 1 or 0: the pieces of ink without specks, and without what comes in from the edge. Null if
 * nothing is left.
 *
 * @param {Gray} ink
 */
function digitMask(ink) {
  const { width, height, data } = ink;
  const limit = threshold(data) * 0.8;
  const pieces = piecesOf(data.map((value) => (value > limit ? 1 : 0)), width, height);
  const inner = pieces.filter((piece) => !isBorder(piece, width, height));
  const kept = inner.length ? inner : pieces;
  const largest = Math.max(0, ...kept.map((piece) => piece.length));
  if (largest < 4) return null;
  const mask = new Uint8Array(data.length);
  for (const piece of kept) if (piece.length >= SPECK * largest) for (const index of piece) mask[index] = 1;
  return mask;
}

/** Whether a piece is a grid line or a shadow: it touches the edge, and most of it is near. @param {number[]} piece @param {number} width @param {number} height */
function isBorder(piece, width, height) {
  const distances = piece.map((index) => {
    const [x, y] = [index % width, Math.floor(index / width)];
    return Math.min(x / width, y / height, (width - 1 - x) / width, (height - 1 - y) / height);
  });
  const mean = distances.reduce((a, b) => a + b, 0) / distances.length;
  return Math.min(...distances) <= 0.01 && mean < 0.1;
}

/** Groups of neighbouring pixels, corners included. @param {Float32Array} mask @param {number} width @param {number} height */
function piecesOf(mask, width, height) {
  const open = Uint8Array.from(mask);
  const pieces = [];
  for (let start = 0; start < open.length; start++) {
    if (!open[start]) continue;
    open[start] = 0;
    const piece = [start];
    for (let i = 0; i < piece.length; i++) {
      const [x, y] = [piece[i] % width, Math.floor(piece[i] / width)];
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          if (!open[v * width + u]) continue;
          open[v * width + u] = 0;
          piece.push(v * width + u);
        }
      }
    }
    pieces.push(piece);
  }
  return pieces;
}

/** @param {ArrayLike<number>} mask @param {number} width */
function boxOf(mask, width) {
  const box = { left: Infinity, top: Infinity, right: 0, bottom: 0 };
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    box.left = Math.min(box.left, x);
    box.top = Math.min(box.top, y);
    box.right = Math.max(box.right, x + 1);
    box.bottom = Math.max(box.bottom, y + 1);
  }
  return box;
}

/** The mean width of strokes in pixels: twice their area over their outline. @param {Uint8Array} mask @param {number} width */
function strokeWidth(mask, width) {
  let [area, outline] = [0, 0];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    area++;
    for (const step of [1, -1, width, -width]) if (!mask[i + step]) outline++;
  }
  return (2 * area) / (outline * 0.85); // an outline along pixels is longer than the line itself
}

/** Each pixel becomes the most ink within `radius`, with a soft edge. @param {Gray} ink @param {number} radius @returns {Gray} */
function widen({ width, height, data }, radius) {
  const reach = Math.ceil(radius);
  const result = new Float32Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let most = 0;
      for (let v = Math.max(0, y - reach); v <= Math.min(height - 1, y + reach); v++) {
        for (let u = Math.max(0, x - reach); u <= Math.min(width - 1, x + reach); u++) {
          const near = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(u - x, v - y)));
          most = Math.max(most, near * data[v * width + u]);
        }
      }
      result[y * width + x] = Math.max(most, data[y * width + x]);
    }
  }
  return { width, height, data: result };
}

/** The part in a box, its longer side BOX pixels. @param {Gray} ink @param {{left: number, top: number, right: number, bottom: number}} box */
function resample(ink, box) {
  const [w, h] = [box.right - box.left, box.bottom - box.top];
  const scale = BOX / Math.max(w, h);
  const size = { width: Math.max(1, Math.round(w * scale)), height: Math.max(1, Math.round(h * scale)) };
  return areaMeans(ink, box, size);
}

/** The digit in the field, its centre of mass in the middle, its darkest ink 255. @param {Gray} digit */
function centred({ width, height, data }) {
  let [mass, mx, my, most] = [0, 0, 0, 0];
  data.forEach((ink, i) => {
    mass += ink;
    mx += ink * ((i % width) + 0.5);
    my += ink * (Math.floor(i / width) + 0.5);
    most = Math.max(most, ink);
  });
  const shift = (/** @type {number} */ centre, /** @type {number} */ extent) =>
    Math.max(0, Math.min(FIELD - extent, Math.round(FIELD / 2 - centre)));
  const [left, top] = [shift(mx / mass, width), shift(my / mass, height)];
  const field = new Uint8Array(FIELD * FIELD);
  data.forEach((ink, i) => {
    field[(top + Math.floor(i / width)) * FIELD + left + (i % width)] = Math.round((255 * ink) / most);
  });
  return field;
}
