/**
 * Drawings as short text: bytes in which runs of zeros are cut short, in base64 that a link can hold.
 *
 * A byte from 1 to 255 stands for itself; 0 is followed by the number of further zeros.
 */

/** @param {Uint8Array} bytes */
export function pack(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; ) {
    text += String.fromCharCode(bytes[i]);
    if (bytes[i++] !== 0) continue;
    let more = 0;
    while (more < 255 && i + more < bytes.length && bytes[i + more] === 0) more++;
    text += String.fromCharCode(more);
    i += more;
  }
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/**
 * The `length` bytes that were packed, or null for text that `pack` does not write.
 *
 * @param {string} packed
 * @param {number} length
 */
export function unpack(packed, length) {
  let text;
  try {
    text = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  const bytes = new Uint8Array(length);
  let end = 0;
  for (let i = 0; i < text.length; i++) {
    const byte = text.charCodeAt(i);
    if (byte) bytes[end++] = byte;
    else end += 1 + text.charCodeAt(++i);
  }
  return end === length ? bytes : null;
}
