/** Pictures from files, the clipboard, a drop or the camera. They stay on this device. */

/**
 * The pixels of a picture file, upright, at most `side` pixels a side.
 *
 * @param {Blob} file
 * @param {number} side
 * @returns {Promise<ImageData>}
 */
export async function readPicture(file, side = 1024) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This file is not a picture that the browser can read");
  }
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale))];
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/**
 * Call `take` with each picture that is dropped on an element or pasted while it is shown.
 *
 * @param {HTMLElement} element
 * @param {(file: Blob) => void} take
 */
export function acceptPictures(element, take) {
  const first = (/** @type {DataTransfer | null} */ data) =>
    [...(data?.files ?? [])].find((file) => file.type.startsWith("image/"));
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("dropping");
  });
  element.addEventListener("dragleave", () => element.classList.remove("dropping"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("dropping");
    const file = first(event.dataTransfer);
    if (file) take(file);
  });
  document.addEventListener("paste", (event) => {
    const file = first(event.clipboardData);
    if (file && !element.hidden) take(file);
  });
}

/** Open the camera: `frame` is its latest picture, `stop` closes it. Throws if it is not allowed. */
export async function startCamera() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  return {
    frame: () => (video.readyState >= 2 ? video : null),
    stop: () => stream.getTracks().forEach((track) => track.stop()),
  };
}
