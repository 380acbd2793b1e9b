/** What the browser tests share: Chromium, a page that must not complain, and strokes by mouse and by touch. */

import assert from "node:assert/strict";

import { chromium } from "playwright-core";

export const PATH = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PATIENCE = 120_000; // milliseconds for anything to happen: a busy machine takes long for what takes seconds

/** Start the browser. */
export function launch() {
  return chromium.launch({ executablePath: PATH, args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] });
}

/**
 * Open an address in a fresh profile. `close` fails if the page logged an error, but for expected ones, or asked for
 * anything elsewhere.
 *
 * @param {import("playwright-core").Browser} browser @param {string} address
 * @param {import("playwright-core").BrowserContextOptions} options
 */
export async function open(browser, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  /** @type {string[]} */
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("request", (request) => {
    const url = request.url();
    const own = url.startsWith(new URL(address).origin) || /^(data|blob|file):/.test(url);
    if (!own) complaints.push(`asked for ${url}`);
  });
  await page.goto(address);
  await page.waitForFunction(() => globalThis.refca);
  const close = async (expected = /(?!)/) => {
    await context.close();
    assert.deepEqual(complaints.filter((text) => !expected.test(text)), []);
  };
  return { page, context, close };
}

/** The place on the screen of a point of the board, both from 0 to 1. @param {import("playwright-core").Page} page */
export async function boardPoints(page, points) {
  await page.locator("#board").scrollIntoViewIfNeeded();
  const box = await page.locator("#board").boundingBox();
  return points.map(([x, y]) => ({ x: box.x + x * box.width, y: box.y + y * box.height }));
}

/** Draw a line through points of the board with the mouse. */
export async function drawByMouse(page, points) {
  const [first, ...rest] = await boardPoints(page, points);
  await page.mouse.move(first.x, first.y);
  await page.mouse.down();
  for (const { x, y } of rest) await page.mouse.move(x, y, { steps: 2 });
  await page.mouse.up();
}

/** Draw a line through points of the board with a finger. */
export async function drawByTouch(page, context, points) {
  const session = await context.newCDPSession(page);
  const places = await boardPoints(page, points);
  const send = (type, touchPoints) => session.send("Input.dispatchTouchEvent", { type, touchPoints });
  await send("touchStart", [places[0]]);
  for (const place of places.slice(1)) await send("touchMove", [place]);
  await send("touchEnd", []);
}

/** Wait, while the page plays, until all cells say a label. */
export async function waitForAgreement(page, label) {
  await page.waitForFunction(
    (wanted) => globalThis.refca.agreement() && globalThis.refca.labels().includes(wanted),
    label,
    { timeout: PATIENCE },
  );
}

/** Make steps, without waiting, until this share of the living cells says a label. */
export async function settle(page, label, share = 1) {
  const reached = await page.evaluate(
    ([wanted, least]) => {
      const { refca } = globalThis;
      for (let i = 0; i < 60; i++) {
        refca.step(5);
        const live = refca.page.world.moment().live;
        if (live && refca.labels().filter((each) => each === wanted).length >= least * live) return null;
      }
      return refca.page.world.moment();
    },
    [label, share],
  );
  assert.equal(reached, null, `${share} of the cells should say ${label}, got ${JSON.stringify(reached)}`);
}

/** Points of digits as a hand draws them, of the board's width and height. */
export const STROKES = {
  0: arc(0.5, 0.5, 0.16, 0.27, -90, 275),
  1: [[0.5, 0.2], [0.5, 0.8]],
  3: [...arc(0.48, 0.35, 0.15, 0.13, -150, 90), ...arc(0.48, 0.63, 0.17, 0.15, -90, 150)],
  7: [[0.3, 0.25], [0.68, 0.25], [0.48, 0.8]],
};

/** Points on an ellipse. */
function arc(x, y, width, height, from, to) {
  return Array.from({ length: 13 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / 12) * Math.PI) / 180;
    return [x + width * Math.cos(angle), y + height * Math.sin(angle)];
  });
}
