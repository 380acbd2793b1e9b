/** Small help with the document. */

/** The element of this id. Throws an Error if the page has none. @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element "${id}"`);
  return element;
}

/** Call `use` with a slider's value now and whenever it moves. @param {string} id @param {(value: number) => void} use */
export function onRange(id, use) {
  const slider = /** @type {HTMLInputElement} */ (byId(id));
  const update = () => {
    fillTrack(slider);
    use(Number(slider.value));
  };
  slider.addEventListener("input", update);
  update();
}

/** Show a number on a slider, as near as its range and steps allow, without a call of `use`. @param {string} id @param {number} value */
export function showRange(id, value) {
  const slider = /** @type {HTMLInputElement} */ (byId(id));
  slider.value = String(value);
  fillTrack(slider);
}

/** Fill a slider's track up to its thumb. @param {HTMLInputElement} slider */
function fillTrack(slider) {
  const share = (Number(slider.value) - Number(slider.min)) / (Number(slider.max) - Number(slider.min) || 1);
  slider.style.setProperty("--value", String(share));
}

/** @param {string} id @param {string[][]} options value and text of each */
export function fillSelect(id, options) {
  const select = /** @type {HTMLSelectElement} */ (byId(id));
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  return select;
}

/** A share in percent, with a tenth where it has one. @param {number} share */
export function inPercent(share) {
  return `${Number((100 * share).toFixed(1))} %`;
}

/** A part in whole percent: 0 and 100 for none and all alone. @param {number} count @param {number} all */
export function wholePercent(count, all) {
  const percent = Math.round((100 * count) / all);
  return count && count < all ? Math.min(99, Math.max(1, percent)) : percent;
}

/** Show a button as pressed or not. @param {string} id @param {boolean} on @param {string} text */
export function pressed(id, on, text) {
  const button = byId(id);
  button.setAttribute("aria-pressed", String(on));
  button.textContent = text;
}

/**
 * Buttons of which one is chosen: by a press, or by arrow keys as in any radio group.
 *
 * @param {HTMLElement} element @param {string} selector @param {(button: HTMLElement) => void} choose
 */
export function radioGroup(element, selector, choose) {
  const buttons = /** @type {HTMLElement[]} */ ([...element.querySelectorAll(selector)]);
  buttons.forEach((button, i) => {
    button.addEventListener("click", () => choose(button));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = buttons[(i + step + buttons.length) % buttons.length];
      choose(next);
      next.focus();
    });
  });
}

/**
 * Do what may fail. A failure is undone and passed on; a success takes back what the page complained of before.
 *
 * @param {() => Promise<void>} work @param {() => void} undo
 */
export async function attempt(work, undo) {
  try {
    await work();
    complain("");
  } catch (error) {
    undo();
    throw error;
  }
}

/**
 * Number requests that take time: each call returns a function that says whether no other call came after it.
 *
 * @returns {() => () => boolean}
 */
export function requests() {
  let latest = 0;
  return () => {
    const mine = ++latest;
    return () => mine === latest;
  };
}

/** Whether the visitor's system is set to move as little as possible. */
export function prefersLittleMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Show a sentence on what went wrong; none hides it. @param {string} text */
export function complain(text) {
  byId("problem-text").textContent = text;
  byId("problem").hidden = !text;
}

/** Whether the space bar presses what has the focus. */
export function spacePresses() {
  return document.activeElement?.matches("button, summary, input[type=checkbox], input[type=radio]") ?? false;
}

/** Whether a key goes to a control that takes text or arrows. @param {KeyboardEvent} event */
export function typing({ target }) {
  if (!(target instanceof HTMLElement)) return false;
  return target.matches("input:not([type=checkbox]):not([type=radio]):not([type=range]), select, textarea");
}
