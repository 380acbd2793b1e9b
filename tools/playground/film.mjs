/**
 * Take the pictures of `docs/playground.gif`: a digit is drawn, wounded and mutated. Needs `npm ci` in tests/browser.
 *
 *     python -m refca.playground --no-browser --port 8123 &
 *     node tools/playground/film.mjs http://127.0.0.1:8123/ FRAMES && python tools/playground/film.py FRAMES docs/playground.gif
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { boardPoints, launch, open } from "../../tests/browser/support.mjs";

const [address, folder] = process.argv.slice(2);
const SEVEN = [[0.3, 0.26], [0.4, 0.25], [0.5, 0.25], [0.6, 0.25], [0.7, 0.26], [0.66, 0.36], [0.6, 0.48], [0.54, 0.6], [0.5, 0.7], [0.47, 0.8]];

mkdirSync(folder, { recursive: true });
const browser = await launch();
const { page, close } = await open(browser, address, { viewport: { width: 560, height: 1400 }, colorScheme: "light", reducedMotion: "reduce" });
const clip = await page.evaluate(() => {
  const [frame, samples] = [".board-frame", "#samples"].map((name) => document.querySelector(name).getBoundingClientRect());
  return { x: samples.left - 8, y: frame.top - 8, width: samples.width + 16, height: samples.bottom - frame.top + 16 };
});
let number = 0;

async function frames(count, steps) {
  for (let i = 0; i < count; i++) {
    await page.evaluate((n) => globalThis.refca.step(n), steps);
    await page.screenshot({ path: join(folder, `${String(number++).padStart(3, "0")}.png`), clip });
  }
}

await page.click("#clear");
await frames(2, 0);
const points = await boardPoints(page, SEVEN);
await page.mouse.move(points[0].x, points[0].y);
await page.mouse.down();
for (const { x, y } of points.slice(1)) {
  await page.mouse.move(x, y, { steps: 2 });
  await frames(2, 1);
}
await page.mouse.up();
await frames(22, 3);
await page.getByRole("button", { name: "Load a 6" }).click();
await frames(26, 4);
await page.getByRole("button", { name: "Wound half" }).click();
await frames(26, 3);
await page.getByRole("button", { name: "Load a 2" }).click();
await frames(26, 3);
await close();
await browser.close();
