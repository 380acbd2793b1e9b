/** The site, opened from the disk without a network. REFCA_SITE is the address of its folder, with a slash. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { launch } from "./support.mjs";

const SITE = process.env.REFCA_SITE;
const PAGES = [
  "index.html",
  "overview.html",
  "spec/index.html",
  "spec/chapters/step.html",
  "spec/decisions.html",
  "spec/check_your_own.html",
  "docs/own-data.html",
  "lessons/1_one_cell.html",
  "results/segmentation/index.html",
  "reference/contract.html",
  "spec/refca_spec/laws/test_mutate.py.html",
  "playground.html",
];
const DESKTOP = { viewport: { width: 1280, height: 900 }, colorScheme: "light" };
const PHONE = { viewport: { width: 390, height: 844 }, colorScheme: "dark" };

let browser;

before(async () => (browser = await launch()));
after(() => browser.close());

/** A page in a fresh profile, without a network; `complaints` lists requests elsewhere and errors. */
async function offline(options) {
  const context = await browser.newContext({ ...options, offline: true });
  const page = await context.newPage();
  const complaints = [];
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) complaints.push(`asked for ${request.url()}`);
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  return { page, context, complaints };
}

for (const [name, options, pages] of [
  ["desktop", DESKTOP, PAGES],
  ["phone", PHONE, PAGES.filter((_, i) => i % 2 === 1)], // half of them, to save time
]) {
  test(`pages on a ${name} have no serious finding of axe, fit the window, and ask nobody`, async () => {
    const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    const { page, context, complaints } = await offline(options);
    const found = [];
    for (const address of pages) {
      await page.goto(SITE + address);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run({ exclude: ["iframe"] }, { resultTypes: ["violations"] }));
      const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      for (const { id, nodes } of serious) found.push([address, id, nodes.length, nodes[0].html, nodes[0].failureSummary]);
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (beyond > 0) found.push([address, `is ${beyond} pixels wider than the window`]);
    }
    assert.deepEqual(found, []);
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test("the search finds a chapter, opened from the disk", async () => {
  const { page, context, complaints } = await offline(DESKTOP);
  await page.goto(SITE + "index.html");
  await page.click(".md-search__input");
  await page.keyboard.type("reset gate");
  await page.locator(".md-search-result__link", { hasText: "step" }).first().waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the playground runs within its page", async () => {
  const { page, context, complaints } = await offline(DESKTOP);
  await page.goto(SITE + "playground.html");
  const frame = page.frames()[1];
  await frame.waitForFunction(() => globalThis.refca?.labels().includes(2));
  assert.deepEqual(complaints, []);
  await context.close();
});
