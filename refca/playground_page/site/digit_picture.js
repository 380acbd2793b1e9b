/**
 * A digit as people have it, made into what MNIST's makers would have made of it: white ink in a box of 20x20 pixels
 * whose longer side is full, on a page of 28x28 whose middle is the centre of mass.
 *
 * `refca/digits/prepare.py` defines it. The functions here have its functions' names and compute the same bytes: every
 * comparison is one of whole numbers, and every number below is one that float64 holds exactly, or is rounded as there.
 */

import { groups, grown, median, medianFilter, nearest, otsu, overlaps, strokeWidth, widened } from "./pixels.js";

const [PAGE, BOX] = [28, 20];
const WORKING = 160; // the longer side of the picture on which ink is looked for
const COARSE = 32; // the longer side of the picture on which paper is looked for: its light changes slowly
const WHITE = 255_000; // the gray level of white: a thousand for each byte of luminance
const FAINT = WHITE / 25; // ink that differs from its paper by less is none
const MARK = 64; // the least byte of ink that belongs to a mark; fainter pixels are its soft edge
const ALIVE = 26; // the least byte of ink of a living cell
const STROKE = 2.1; // the least width of strokes, in pixels of the box: the lower quartile of MNIST's digits

/** @typedef {import("./pixels.js").Plane} Plane */
/** @typedef {{pixels: Uint8Array, done: string[]}} Digit 28x28 bytes of ink, and what was done to get them */

/**
 * A picture of a digit as MNIST has digits. Throws for a picture without ink.
 *
 * @param {{width: number, height: number, data: ArrayLike<number>}} picture RGBA bytes
 * @returns {Digit}
 */
export function digit(picture) {
  const gray = grayLevels(picture);
  if (isPrepared(gray)) {
    return { pixels: bytesOf(gray), done: ["left as it is: white on black, 28x28, in its place"] };
  }
  /** @type {string[]} */
  const done = [];
  let ink = inkOf(gray, done);
  if (largest(ink.data) < FAINT) throw new Error("picture shows no ink: all its pixels have nearly the same brightness");
  ink = thresholded(ink, done);
  ink = withoutOtherMarks(ink, done);
  ink = cropped(ink, done);
  ink = thickened(ink, done);
  const box = inBox(ink, done);
  return { pixels: centred(box, done), done };
}

/** Gray levels as bytes. @param {Plane} gray */
function bytesOf({ data }) {
  return Uint8Array.from(data, (level) => nearest(level / 1000));
}

/** A number with so many decimal places, rounded as `nearest` does. @param {number} value @param {number} places */
function shown(value, places) {
  return (nearest(value * 10 ** places) / 10 ** places).toFixed(places);
}

/** @param {Float64Array} data */
function largest(data) {
  return data.reduce((a, b) => Math.max(a, b), -Infinity);
}

/** @param {Float64Array} data */
function range(data) {
  return largest(data) - data.reduce((a, b) => Math.min(a, b), Infinity);
}

/**
 * The gray level of each pixel, from 0 to WHITE. Transparent pixels show white paper. A picture of one gray level has its
 * opacity for ink, if that varies: white ink on a transparent canvas.
 *
 * @param {{width: number, height: number, data: ArrayLike<number>}} picture
 * @returns {Plane}
 */
function grayLevels({ width, height, data }) {
  const gray = new Float64Array(width * height);
  for (let i = 0; i < gray.length; i++) {
    const alpha = data[4 * i + 3];
    const onPaper = (/** @type {number} */ byte) => nearest((byte * alpha + 255 * (255 - alpha)) / 255);
    gray[i] = 299 * onPaper(data[4 * i]) + 587 * onPaper(data[4 * i + 1]) + 114 * onPaper(data[4 * i + 2]);
  }
  if (range(gray) < FAINT) {
    const opacity = gray.map((_, i) => 1000 * data[4 * i + 3]);
    if (range(opacity) >= FAINT) return { width, height, data: opacity };
  }
  return { width, height, data: gray };
}

/** Whether a picture is already like MNIST's: 28x28, mostly black, its digit centred in 20x20. @param {Plane} gray */
function isPrepared(gray) {
  if (gray.width !== PAGE || gray.height !== PAGE) return false;
  const ink = { ...gray, data: Float64Array.from(bytesOf(gray)) };
  if (largest(ink.data) < 128 || median(ink.data) >= ALIVE) return false;
  const { top, bottom, left, right } = bounds(ink, ALIVE);
  const box = Math.max(bottom - top, right - left);
  const off = centreOfMass(ink).map((place) => Math.abs(place - PAGE / 2));
  return BOX - 2 <= box && box <= BOX + 1 && Math.max(...off) <= 1;
}

/**
 * How much each pixel differs from its paper, in the direction of the ink, on the working size. The paper is the median of
 * a neighbourhood of half the picture, mirrored at the edges, so that a shadow or a coloured light is none. The ink is on
 * the side on which the squares of the differences have the larger sum.
 *
 * @param {Plane} picture @param {string[]} done
 * @returns {Plane}
 */
function inkOf(picture, done) {
  const coarse = resampled(picture, within(picture, COARSE));
  const gray = resampled(picture, within(picture, WORKING));
  const window = Math.max(5, Math.floor(Math.max(coarse.height, coarse.width) / 2) | 1);
  const paper = resampled(medianFilter(coarse, window), gray).data;
  const darker = gray.data.map((level, i) => Math.max(0, paper[i] - level));
  const lighter = gray.data.map((level, i) => Math.max(0, level - paper[i]));
  const dark = squares(darker) >= squares(lighter);
  done.push(dark ? "inverted: dark ink on light paper" : "kept: light ink on dark paper");
  if (range(paper) > WHITE / 50) done.push("evened out the light of the paper");
  return { ...gray, data: dark ? darker : lighter };
}

/** @param {Float64Array} data */
function squares(data) {
  return data.reduce((sum, value) => sum + value * value, 0);
}

/** The size of a picture whose longer side is shrunk to `side`, if it is longer. @param {Plane} picture @param {number} side */
function within({ width, height }, side) {
  const longest = Math.max(width, height, side);
  const shrunk = (/** @type {number} */ length) => Math.max(1, nearest((length * side) / longest));
  return { width: shrunk(width), height: shrunk(height) };
}

/** A picture at another size, in whole numbers. @param {Plane} picture @param {{width: number, height: number}} size */
function resampled(picture, { width, height }) {
  const units = 4 * Math.max(picture.width, width) * Math.max(picture.height, height);
  const { data } = overlaps(picture, { width, height });
  return { width, height, data: data.map((sum) => nearest(sum / units)) };
}

/**
 * Ink as bytes. Its threshold is found a second time without the marks that are not the digit's: the lines of a form are
 * often blacker than the pencil, and would make it look faint.
 *
 * @param {Plane} ink @param {string[]} done
 * @returns {Plane}
 */
function thresholded(ink, done) {
  const { kept, others } = marksOf(asBytes(ink, otsu(ink.data), ink.data));
  const [digits, foreign] = [grown(ink, kept, 0), grown(ink, others, 2)];
  const values = ink.data.filter((_, i) => digits[i] || !foreign[i]);
  const cut = otsu(values);
  done.push(`threshold ${shown(cut / WHITE, 2)}`);
  return asBytes(ink, cut, values);
}

/** 0 for ink below 0.6 of a threshold, and 255 from the median of the values above it. @param {Plane} ink @param {number} cut @param {Float64Array} values */
function asBytes(ink, cut, values) {
  const [least, full] = [0.6 * cut, median(values.filter((value) => value > cut))];
  return { ...ink, data: ink.data.map((value) => nearest(255 * Math.min(1, Math.max(0, (value - least) / (full - least))))) };
}

/**
 * The marks that are the digit's, and the others, each a list of pixels. The digit's main mark has the most pixels; of
 * marks that touch the edge only pixels away from it count, so that it is no line of a form. Others belong to the digit if
 * they have a twentieth of its pixels or more, and, where they touch the edge, most of them away from it.
 *
 * @param {Plane} ink
 */
function marksOf(ink) {
  const { width, height } = ink;
  const margin = Math.max(1, nearest(Math.min(height, width) / 10));
  const marks = groups(ink, MARK).map((pixels) => {
    let [inner, touches] = [0, false];
    for (const index of pixels) {
      const [x, y] = [index % width, Math.floor(index / width)];
      if (x >= margin && x < width - margin && y >= margin && y < height - margin) inner++;
      if (x === 0 || y === 0 || x === width - 1 || y === height - 1) touches = true;
    }
    return { pixels, inner, touches, size: pixels.length, score: touches ? inner : pixels.length };
  });
  const main = marks.reduce((best, mark) => (mark.score > best.score ? mark : best));
  const isDigits = (/** @type {typeof main} */ mark) =>
    mark === main || (20 * mark.size >= main.size && (!mark.touches || 5 * mark.inner > 3 * mark.size));
  const pixels = (/** @type {boolean} */ wanted) =>
    marks.filter((mark) => isDigits(mark) === wanted).map((mark) => mark.pixels);
  return { kept: pixels(true), others: pixels(false) };
}

/** The ink of the digit: without specks, and without what enters at the edges, as lines of a form do. @param {Plane} ink @param {string[]} done */
function withoutOtherMarks(ink, done) {
  const { kept, others } = marksOf(ink);
  if (others.length) done.push(`removed ${others.length} other mark${others.length > 1 ? "s" : ""}`);
  const near = grown(ink, kept, 1);
  return { ...ink, data: ink.data.map((value, i) => (near[i] ? value : 0)) };
}

/** The smallest rectangle with all marks. @param {Plane} ink @param {string[]} done */
function cropped(ink, done) {
  const part = cut(ink, bounds(ink, MARK));
  done.push(`cropped to ${part.width}x${part.height} of ${ink.width}x${ink.height}`);
  return part;
}

/** @typedef {{top: number, bottom: number, left: number, right: number}} Bounds */

/** The rows and columns with a value of `least` or more: the first, and the one after the last. @param {Plane} plane @param {number} least */
function bounds({ width, height, data }, least) {
  const found = { top: height, bottom: 0, left: width, right: 0 };
  data.forEach((value, i) => {
    if (value < least) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    found.top = Math.min(found.top, y);
    found.bottom = Math.max(found.bottom, y + 1);
    found.left = Math.min(found.left, x);
    found.right = Math.max(found.right, x + 1);
  });
  return found;
}

/** A part of a picture. @param {Plane} plane @param {Bounds} bounds @returns {Plane} */
function cut({ width, data }, { top, bottom, left, right }) {
  const part = { width: right - left, height: bottom - top };
  const at = (/** @type {number} */ i) => (top + Math.floor(i / part.width)) * width + left + (i % part.width);
  return { ...part, data: Float64Array.from({ length: part.width * part.height }, (_, i) => data[at(i)]) };
}

/** The ink with strokes that will be at least STROKE wide: thin ones would fade when they shrink. @param {Plane} ink @param {string[]} done */
function thickened(ink, done) {
  const [length, width] = [Math.max(ink.height, ink.width), strokeWidth(ink, MARK)];
  if ((width * BOX) / length >= STROKE) return ink;
  // Strokes grow by twice the radius, and so does the digit: (width + 2 radius) BOX / (length + 2 radius) = STROKE.
  const radius = ((STROKE * length) / BOX - width) / (2 - (2 * STROKE) / BOX);
  done.push(`thickened strokes of ${shown((width * BOX) / length, 1)} pixels`);
  const thick = widened(ink, radius);
  return cut(thick, bounds(thick, MARK));
}

/** The ink scaled so that its longer side is 20 pixels and its darkest pixel 255. @param {Plane} ink @param {string[]} done */
function inBox(ink, done) {
  const scaled = (/** @type {number} */ side) => Math.max(1, nearest((side * BOX) / Math.max(ink.height, ink.width)));
  const box = overlaps(ink, { width: scaled(ink.width), height: scaled(ink.height) });
  done.push(`scaled to ${box.width}x${box.height} in a box of 20x20`);
  const most = largest(box.data);
  return { ...box, data: box.data.map((sum) => nearest((255 * sum) / most)) };
}

/** A box of ink on a page of 28x28 whose middle is the centre of mass, as near as whole pixels allow. @param {Plane} box @param {string[]} done */
function centred({ width, height, data }, done) {
  const page = new Uint8Array(PAGE * PAGE);
  const [down, right] = centreOfMass({ width, height, data }).map((place) => nearest(PAGE / 2 - place));
  const top = Math.min(Math.max(down, 0), PAGE - height);
  const left = Math.min(Math.max(right, 0), PAGE - width);
  data.forEach((ink, i) => (page[(top + Math.floor(i / width)) * PAGE + left + (i % width)] = ink));
  done.push("centred by mass on 28x28");
  return page;
}

/** How far down and to the right the centre of mass is, in pixels from the corner. @param {Plane} ink */
function centreOfMass({ width, data }) {
  let [total, down, right] = [0, 0, 0];
  data.forEach((ink, i) => {
    total += 2 * ink;
    down += ink * (2 * Math.floor(i / width) + 1);
    right += ink * (2 * (i % width) + 1);
  });
  return [down / total, right / total];
}
