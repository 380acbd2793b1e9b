/** The colours of labels, those of `refca/drawing/palette.py`. Source of one palette: the article's notebook. */

/** @typedef {[number, number, number]} Colour red, green, blue, 0 to 255 */

/** @type {Record<string, Colour[]>} */
export const PALETTES = {
  colorblind: [
    [57, 124, 255],
    [206, 44, 6],
    [11, 210, 114],
    [114, 5, 167],
    [134, 202, 2],
    [113, 48, 29],
    [229, 156, 251],
    [114, 129, 106],
    [213, 37, 164],
    [63, 20, 245],
  ],
  article: [
    [128, 0, 0],
    [230, 25, 75],
    [70, 240, 240],
    [210, 245, 60],
    [250, 190, 190],
    [170, 110, 40],
    [170, 255, 195],
    [165, 163, 159],
    [0, 128, 128],
    [128, 128, 0],
  ],
};

/** Background, object and boundary of photographs, told apart by everyone, over light and dark; as in refca. */
/** @type {Colour[]} */
export const SEGMENTATION = [
  [127, 0, 253],
  [255, 75, 0],
  [52, 210, 230],
];

/**
 * A palette with its hues turned by so many degrees; lightness stays about as it was.
 *
 * @param {string} name
 * @param {number} degrees
 * @returns {Colour[]}
 */
export function turned(name, degrees) {
  return PALETTES[name].map((colour) => turnHue(colour, degrees));
}

/**
 * The rotation of CSS and SVG filters (`hue-rotate`): about the gray axis, keeping luminance.
 *
 * @param {Colour} colour
 * @param {number} degrees
 * @returns {Colour}
 */
function turnHue([r, g, b], degrees) {
  const c = Math.cos((degrees * Math.PI) / 180);
  const s = Math.sin((degrees * Math.PI) / 180);
  const rows = [
    [0.213 + c * 0.787 - s * 0.213, 0.715 - c * 0.715 - s * 0.715, 0.072 - c * 0.072 + s * 0.928],
    [0.213 - c * 0.213 + s * 0.143, 0.715 + c * 0.285 + s * 0.14, 0.072 - c * 0.072 - s * 0.283],
    [0.213 - c * 0.213 - s * 0.787, 0.715 - c * 0.715 + s * 0.715, 0.072 + c * 0.928 + s * 0.072],
  ];
  const values = rows.map(([x, y, z]) => Math.round(Math.min(255, Math.max(0, x * r + y * g + z * b))));
  return [values[0], values[1], values[2]];
}

/** @param {Colour} colour */
export function css([r, g, b]) {
  return `rgb(${r} ${g} ${b})`;
}

/** Black or white, whichever is easier to read on this colour. @param {Colour} colour */
export function readableOn([r, g, b]) {
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
}

/**
 * A number as a colour between blue (-limit), the neutral colour (0) and orange (+limit).
 *
 * @param {number} value
 * @param {number} limit
 * @param {Colour} neutral
 * @returns {Colour}
 */
export function signed(value, limit, neutral) {
  const share = Math.max(-1, Math.min(1, value / limit));
  const [r, g, b] = share < 0 ? [30, 100, 200] : [240, 120, 20];
  const weight = Math.sqrt(Math.abs(share)); // small numbers are visible too
  const mix = (/** @type {number} */ from, /** @type {number} */ to) => Math.round(from + (to - from) * weight);
  return [mix(neutral[0], r), mix(neutral[1], g), mix(neutral[2], b)];
}
