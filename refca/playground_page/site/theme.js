/** Light and dark: the system's choice until the button is pressed. Canvases read their colours from the style sheet. */

const KEY = "refca-theme";

/** @typedef {import("./board.js").Theme & {dim: import("./palettes.js").Colour}} PageTheme */

/** @returns {PageTheme} */
export function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => {
    const [r, g, b] = style.getPropertyValue(name).trim().split(/\s+/).map(Number);
    return /** @type {import("./palettes.js").Colour} */ ([r, g, b]);
  };
  return {
    paper: colour("--paper-rgb"),
    ink: colour("--ink-rgb"),
    line: colour("--line-rgb"),
    accent: colour("--accent-rgb"),
    dim: colour("--dim-rgb"),
  };
}

/**
 * Let a button switch between light and dark, and call `changed` whenever the colours change.
 *
 * @param {HTMLElement} button
 * @param {() => void} changed
 */
export function setUpTheme(button, changed) {
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const saved = remembered();
  if (saved) root.dataset.theme = saved;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember(root.dataset.theme);
    changed();
  });
  prefersDark.addEventListener("change", changed);
}

/** Storage may be forbidden, as for files opened from the disk in some browsers: then the choice is not kept. */
function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** @param {string} value */
function remember(value) {
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // nothing to do: the theme holds until the page is closed
  }
}
