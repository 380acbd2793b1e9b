/** The exported file, opened from the disk without a network. REFCA_FILE is its address. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { drawByMouse, launch, open, settle, STROKES, waitForAgreement } from "./support.mjs";

let browser;

before(async () => (browser = await launch()));
after(() => browser.close());

test("one file is the whole playground", async () => {
  const { page, context, close } = await open(browser, process.env.REFCA_FILE, { offline: true });
  await waitForAgreement(page, 2);
  await page.click("#clear");
  await drawByMouse(page, STROKES[0]);
  await settle(page, 0, 0.9);
  for (const name of await page.locator("#model option").allInnerTexts()) {
    await page.locator("#model").selectOption(name);
    await page.waitForFunction((wanted) => globalThis.refca.page.world.model.name === wanted, name);
  }
  await page.click("#tab-photographs");
  await page.waitForFunction(() => Number(document.querySelector("#photo-time").innerText) > 5);
  assert.equal(await page.locator("#problem").isVisible(), false);
  assert.equal(context.pages().length, 1);
  await close();
});
