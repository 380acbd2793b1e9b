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
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/**
 * Call `take` with each file that is dropped or pasted while an element is shown; pictures are preferred.
 *
 * @param {HTMLElement} element
 * @param {(file: Blob) => void} take
 */
export function acceptPictures(element, take) {
  const use = (/** @type {DataTransfer | null} */ data) => {
    const files = [...(data?.files ?? [])];
    const file = files.find(({ type }) => type.startsWith("image/")) ?? files[0];
    if (file) take(file);
  };
  document.addEventListener("dragover", (event) => {
    if (element.hidden || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    element.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => element.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    element.classList.remove("dropping");
    if (element.hidden || !event.dataTransfer?.files.length) return;
    event.preventDefault();
    use(event.dataTransfer);
  });
  document.addEventListener("paste", (event) => {
    if (!element.hidden) use(event.clipboardData);
  });
}

/**
 * Open the camera: `frame` is its latest picture, `stop` closes it, and `whenEnded` says what to do if it stops by itself,
 * as when it is unplugged. Throws if it is not allowed.
 */
export async function startCamera() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  try {
    await video.play();
  } catch (error) {
    stop();
    throw error;
  }
  return {
    frame: () => (video.readyState >= 2 ? video : null),
    stop,
    whenEnded: (/** @type {() => void} */ call) =>
      stream.getTracks().forEach((track) => track.addEventListener("ended", call)),
  };
}
