/** The photographs page, used as a person would, with untrained weights. REFCA_URL is the page's address. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { launch, open } from "./support.mjs";

const URL = process.env.REFCA_URL;
let browser;

before(async () => (browser = await launch()));
after(() => browser.close());

async function photographs(options) {
  const opened = await open(browser, URL, options);
  await opened.page.click("#tab-photographs");
  await opened.page.waitForFunction(() => Number(document.querySelector("#photo-time").innerText) > 3);
  return opened;
}

const pixels = (page) => page.evaluate(() => document.querySelector("#photo-board").toDataURL());
/** A PNG that is red at the left, `red` pixels wide, and transparent at the right. */
async function redPng(page, width, height, red) {
  const data = await page.evaluate(
    ([width, height, red]) => {
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const context = canvas.getContext("2d");
      context.fillStyle = "rgb(255 0 0)";
      context.fillRect(0, 0, red, height);
      return canvas.toDataURL().split(",")[1];
    },
    [width, height, red],
  );
  return Buffer.from(data, "base64");
}

const seen = (page) => page.evaluate(() => Array.from(globalThis.refca.photographs().image));

test("cells label a sample photograph, and go on when it is swapped", async () => {
  const { page, close } = await photographs();
  assert.match(await page.locator("#photo-legend").innerText(), /background \d+ %\s*animal \d+ %\s*outline \d+ %/);
  const first = await seen(page);
  assert.ok(Math.min(...first) >= -1 && Math.max(...first) <= 1 && Math.max(...first) > 0.2);
  const time = Number(await page.locator("#photo-time").innerText());
  await page.locator("#photo-samples button").nth(1).click();
  await page.waitForFunction((before) => Number(document.querySelector("#photo-time").innerText) > before + 3, time);
  assert.notDeepEqual(await seen(page), first);
  await close();
});

test("the picture moves under the cells by three of them", async () => {
  const { page, close } = await photographs();
  await page.click("#photo-play");
  const before = await seen(page);
  await page.getByRole("button", { name: "Shift right" }).click();
  const after = await seen(page);
  const at = (image, x, y) => image[3 * (48 * y + x)];
  for (const [x, y] of [[10, 10], [30, 20], [44, 47]]) assert.equal(at(after, x + 3, y), at(before, x, y));
  await page.click("#photo-mirror");
  const mirrored = await seen(page);
  assert.ok(Math.abs(at(mirrored, 47 - 20, 15) - at(after, 20, 15)) < 0.02);
  await close();
});

test("labels, states, gates and the picture can be looked at", async () => {
  const { page, close } = await photographs();
  await page.click("#photo-play");
  const pictures = new Set();
  for (const view of ["labels", "state", "gate", "seen"]) {
    await page.click(`[data-view=${view}]`);
    pictures.add(await pixels(page));
  }
  assert.equal(pictures.size, 4);
  await close();
});

test("a picture of one's own is used, and a file that is none is refused", async () => {
  const { page, close } = await photographs();
  const svg = Buffer.from(
    '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><rect width="90" height="60" fill="red"/></svg>',
  );
  const png = await redPng(page, 90, 60, 90);
  const file = (buffer, mimeType) => ({ name: "picture", mimeType, buffer });
  await page.locator("#photo-file").setInputFiles(file(png, "image/png"));
  await page.waitForFunction(() => globalThis.refca.photographs().image.every((value, i) => value === (i % 3 ? -1 : 1)));
  await page.locator("#photo-file").setInputFiles(file(svg.subarray(0, 20), "image/png"));
  await page.waitForFunction(() => /not a picture/.test(document.querySelector("#photo-note").innerText));
  await close();
});

test("a picture with transparent parts lies on white, not on the picture before it", async () => {
  const { page, close } = await photographs();
  const buffer = await redPng(page, 60, 60, 30);
  await page.locator("#photo-file").setInputFiles({ name: "half.png", mimeType: "image/png", buffer });
  await page.waitForFunction(() => /on this page only/.test(document.querySelector("#photo-note").innerText));
  const image = await seen(page);
  const at = (x, y) => image.slice(3 * (48 * y + x), 3 * (48 * y + x) + 3);
  for (const y of [0, 20, 47]) {
    assert.deepEqual(at(12, y), [1, -1, -1]);
    assert.deepEqual(at(36, y), [1, 1, 1]);
  }
  await close();
});

test("a sample, or a picture of one's own, takes the camera's place", async () => {
  const { page, close } = await photographs({ permissions: ["camera"] });
  await page.click("#photo-camera");
  await page.getByRole("button", { name: "Stop camera" }).waitFor();
  await page.locator("#photo-samples button").nth(1).click();
  await page.getByRole("button", { name: "Camera", exact: true }).waitFor();
  await close();
});

test("the camera's pictures are seen by the cells until it is stopped", async () => {
  const { page, close } = await photographs({ permissions: ["camera"] });
  const before = await seen(page);
  await page.click("#photo-camera");
  await page.waitForFunction((image) => globalThis.refca.photographs().image.some((value, i) => value !== image[i]), before);
  await page.click("#photo-camera");
  assert.equal(await page.locator("#photo-camera").innerText(), "Camera");
  await close();
});

test("a camera that is allowed too late, or twice, is turned off", async () => {
  const { page, close } = await photographs();
  await page.evaluate(() => {
    const canvas = document.createElement("canvas");
    setInterval(() => canvas.getContext("2d").fillRect(Math.random(), 0, 9, 9), 50);
    globalThis.streams = [];
    globalThis.allow = [];
    navigator.mediaDevices.getUserMedia = () =>
      new Promise((resolve) => {
        const stream = canvas.captureStream(10);
        globalThis.streams.push(stream);
        globalThis.allow.push(() => resolve(stream));
      });
  });
  const live = () =>
    page.evaluate(() => globalThis.streams.map((stream) => stream.getTracks().some(({ readyState }) => readyState === "live")));
  await page.click("#photo-camera");
  await page.click("#photo-camera");
  await page.evaluate(() => globalThis.allow.forEach((allow) => allow()));
  await page.getByRole("button", { name: "Stop camera" }).waitFor();
  assert.deepEqual(await live(), [false, true]);
  await page.click("#photo-camera");
  assert.deepEqual(await live(), [false, false]);
  await page.click("#photo-camera");
  await page.click("#tab-digits");
  await page.evaluate(() => globalThis.allow[2]());
  await page.waitForFunction(() => globalThis.streams[2].getTracks().every(({ readyState }) => readyState === "ended"));
  assert.equal(await page.evaluate(() => globalThis.refca.photographs().clock.playing), false);
  await close();
});

test("white is white for cells of any size", async () => {
  const { page, close } = await photographs();
  await page.click("#photo-play");
  for (const size of [48, 64, 96, 128, 256, 384, 512, 768]) {
    const [least, most] = await page.evaluate((size) => {
      const page = globalThis.refca.photographs();
      page.world = { ...page.world, size, setImage: () => undefined, markEvent: () => undefined };
      page.draw = () => undefined;
      page.fitPicture();
      const white = new OffscreenCanvas(90, 60);
      white.getContext("2d").fillStyle = "white";
      white.getContext("2d").fillRect(0, 0, 90, 60);
      page.show(white, 90, 60);
      return page.image.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [9, -9]);
    }, size);
    assert.deepEqual([least, most], [1, 1], `for ${size} pixels`);
  }
  await close();
});

test("a reset forgets what cells did, and another size what was looked at", async () => {
  const { page, close } = await photographs();
  await page.click("#photo-play");
  await page.locator("#photo-board").hover();
  await page.waitForSelector("#photo-explained:not([hidden])");
  await page.click("#photo-restart");
  assert.ok(await page.evaluate(() => globalThis.refca.photographs().world.automaton.gates.every((gate) => gate === 0)));
  assert.ok(await page.locator("#photo-explained-intro").isVisible());
  assert.ok(await page.locator("#photo-explained").isHidden());
  await page.click("#photo-step");
  await page.waitForSelector("#photo-explained:not([hidden])");
  await page.locator("#photo-size").selectOption("64");
  await page.waitForSelector("#photo-explained", { state: "hidden" });
  await close();
});

test("a model keeps its fire rate, and a visitor's stays when cells get more", async () => {
  const { page, close } = await photographs();
  const rate = () => page.evaluate(() => globalThis.refca.photographs().world.fireRate);
  await page.evaluate(() => {
    const page = globalThis.refca.photographs();
    const { model, size } = page.world;
    page.world.use({ ...model, cell: { ...model.cell, fire_rate: 0.0425 } }, size);
    page.describeModel();
  });
  assert.equal(await rate(), 0.0425);
  await page.locator("#photo-fire-rate").fill("0.7");
  await page.evaluate(() => {
    const page = globalThis.refca.photographs();
    page.world.use(page.world.model, 64);
    page.describeModel();
  });
  assert.equal(await rate(), 0.7);
  await close();
});

test("cells are looked into with the keyboard alone", async () => {
  const { page, close } = await photographs();
  await page.click("#photo-play");
  await page.focus("#photo-board");
  await page.keyboard.press("Enter");
  const inspected = () => page.evaluate(() => globalThis.refca.photographs().inspected);
  assert.equal(await inspected(), 24 * 48 + 24);
  await page.keyboard.press("Shift+ArrowRight");
  await page.keyboard.press("Shift+ArrowUp");
  assert.equal(await inspected(), 23 * 48 + 25);
  await page.waitForSelector("#photo-explained:not([hidden])");
  await close();
});

test("a cell under the pointer is explained", async () => {
  const { page, close } = await photographs();
  await page.click("#photo-play");
  await page.locator("#photo-board").hover();
  const text = await page.locator("#photo-explained").innerText();
  assert.match(text, /315 numbers[\s\S]*48 \+ 48 \+ 48 hidden values[\s\S]*32 changes[\s\S]*gate[\s\S]*(background|animal|outline)/);
  await close();
});

test("more cells in a row see more", async () => {
  const { page, close } = await photographs();
  await page.locator("#photo-size").selectOption("96");
  await page.waitForFunction(() => globalThis.refca.photographs().image.length === 3 * 96 * 96);
  await page.waitForFunction(() => Number(document.querySelector("#photo-time").innerText) > 3);
  await close();
});

test("the page fits screens of all sizes", async () => {
  const { page, close } = await photographs();
  for (const width of [320, 390, 820, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide at ${width}`);
  }
  await close();
});

test("nothing in the way of a screen reader", async () => {
  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  const { page, close } = await photographs();
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
  await close();
});
