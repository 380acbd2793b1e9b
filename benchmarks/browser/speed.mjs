/**
 * Milliseconds a step in headless Chromium: refca's engine beside TensorFlow.js, on the same weights and images.
 *
 *     npm ci --prefix benchmarks/browser && node benchmarks/browser/speed.mjs [ROUNDS]
 *
 * TensorFlow.js computes as the article's demo does: the whole grid, masked afterwards. Before timing, one step of each
 * contestant with every cell firing and without noise must end in the same states. Contestants take turns in one page;
 * the median of ROUNDS turns is printed, with the ratio to the engine's.
 */

import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const TOP = fileURLToPath(new URL("../..", import.meta.url));
const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };
const MODULES = "benchmarks/browser/node_modules/@tensorflow";
const PAGE = `<!doctype html>
<script src="/${MODULES}/tfjs/dist/tf.min.js"></script>
<script src="/${MODULES}/tfjs-backend-wasm/dist/tf-backend-wasm.min.js"></script>
<script type="module" src="/benchmarks/browser/contestants.js"></script>`;

const server = createServer((request, response) => {
  const path = normalize(new URL(request.url ?? "/", "http://localhost").pathname);
  const file = join(TOP, path);
  if (path === "/") return response.setHeader("Content-Type", "text/html").end(PAGE);
  if (!existsSync(file)) return response.writeHead(404).end();
  response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
  createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const rounds = Number(process.argv[2] ?? 7);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage();
page.on("pageerror", (error) => console.error(error.message));
await page.goto(`http://127.0.0.1:${server.address().port}/`);
await page.waitForFunction(() => globalThis.measure, null, { timeout: 60_000 });
const weights = [...readFileSync(join(TOP, "refca/weights/digits-l2-noise.safetensors"))];
const results = await page.evaluate(([bytes, count]) => globalThis.measure(new Uint8Array(bytes), count), [weights, rounds]);
console.log(`Chromium ${browser.version()}, ${rounds} rounds, median milliseconds a step`);
for (const { problem, contestant, milliseconds, ratio } of results) {
  const times = ratio === null ? "" : `  ${ratio.toFixed(1)} times the engine's`;
  console.log(`${problem.padEnd(58)} ${contestant.padEnd(16)} ${milliseconds.toFixed(3).padStart(9)}${times}`);
}
await browser.close();
server.close();
