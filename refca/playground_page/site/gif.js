/** An animated GIF from frames of palette indices. Source: CompuServe, "Graphics Interchange Format 89a", 1990. */

/**
 * @param {{width: number, height: number, palette: [number, number, number][], frames: Uint8Array[],
 *   delay: number}} film frames of width*height indices; delay in hundredths of a second
 */
export function encodeGif({ width, height, palette, frames, delay }) {
  const bits = Math.max(2, Math.ceil(Math.log2(palette.length)));
  const colours = new Uint8Array(3 * 2 ** bits);
  colours.set(palette.flat());
  const word = (/** @type {number} */ n) => [n & 255, n >> 8];
  /** @type {(Uint8Array | number[])[]} */
  const parts = [
    ascii("GIF89a"),
    [...word(width), ...word(height), 0x80 | (bits - 1), 0, 0],
    colours,
    [0x21, 0xff, 11, ...ascii("NETSCAPE2.0"), 3, 1, 0, 0, 0], // repeat for ever
  ];
  for (const frame of frames) {
    parts.push([0x21, 0xf9, 4, 0, ...word(delay), 0, 0]);
    parts.push([0x2c, 0, 0, 0, 0, ...word(width), ...word(height), 0, bits]);
    const data = compress(frame, bits);
    for (let start = 0; start < data.length; start += 255) {
      const block = data.subarray(start, start + 255);
      parts.push([block.length], block);
    }
    parts.push([0]);
  }
  parts.push([0x3b]);
  const file = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    file.set(part, end);
    end += part.length;
  }
  return file;
}

/** @param {string} text */
function ascii(text) {
  return [...text].map((letter) => letter.charCodeAt(0));
}

/** LZW with codes of growing width, lowest bits first. @param {Uint8Array} indices @param {number} bits */
function compress(indices, bits) {
  const clear = 1 << bits;
  /** @type {number[]} */
  const bytes = [];
  let [buffer, held, width, next] = [0, 0, bits + 1, clear + 2];
  /** @type {Map<number, number>} code of a known string, by (code of its start) * 256 + last index */
  let table = new Map();
  const write = (/** @type {number} */ code) => {
    buffer |= code << held;
    for (held += width; held >= 8; held -= 8) {
      bytes.push(buffer & 255);
      buffer >>>= 8;
    }
  };
  write(clear);
  let current = indices[0];
  for (let i = 1; i < indices.length; i++) {
    const longer = table.get(current * 256 + indices[i]);
    if (longer !== undefined) {
      current = longer;
      continue;
    }
    write(current);
    if (next === 4096) {
      write(clear);
      table = new Map();
      [width, next] = [bits + 1, clear + 2];
    } else {
      if (next === 1 << width) width++;
      table.set(current * 256 + indices[i], next++);
    }
    current = indices[i];
  }
  write(current);
  if (next === 1 << width && width < 12) width++;
  write(clear + 1);
  if (held) bytes.push(buffer & 255);
  return Uint8Array.from(bytes);
}
