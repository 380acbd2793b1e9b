/** Time: calls `step` so many times a second, `draw` once a frame, and measures the rate. */

/** Steps a second that the slider offers; 60 is the article's "1x". Infinity: as fast as it goes. */
export const SPEEDS = [1, 2, 6, 10, 20, 30, 60, 120, 240, Infinity];
const BUDGET = 12; // milliseconds of a frame that steps may take
const RATE_WINDOW = 0.5; // seconds

export class Clock {
  /** @param {{step: () => void, draw: () => void}} actions */
  constructor({ step, draw }) {
    this.step = step;
    this.draw = draw;
    this.speed = 20;
    this.playing = false;
    this.rate = 0;
    this.due = 0;
    this.last = 0;
    this.frame = 0;
    this.counted = 0;
    this.countedSince = 0;
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    this.last = performance.now();
    this.due = 1; // the first step comes at once
    this.counted = -1; // the steps of the first frame that has any end no interval
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  pause() {
    this.playing = false;
    this.rate = 0;
    cancelAnimationFrame(this.frame);
  }

  /** @param {number} now */
  tick(now) {
    if (!this.playing) return;
    const passed = Math.max(0, now - this.last) / 1000; // a frame may have begun before the press
    const most = Math.max(2, this.speed / 4); // less than 2 would drop what a step leaves over
    this.due = this.speed === Infinity ? Infinity : Math.min(this.due + passed * this.speed, most);
    this.last = now;
    const end = performance.now() + BUDGET;
    const before = this.counted;
    while (this.due >= 1 && this.playing) {
      this.step();
      this.due--;
      this.counted++;
      if (performance.now() > end) break;
    }
    if (before < 0 && this.counted >= 0) {
      this.counted = 0;
      this.countedSince = performance.now();
    }
    const elapsed = (performance.now() - this.countedSince) / 1000;
    if (elapsed > RATE_WINDOW && this.counted > Math.max(before, 0)) {
      this.rate = this.counted / elapsed;
      this.counted = 0;
      this.countedSince = performance.now();
    }
    this.draw();
    if (this.playing) this.frame = requestAnimationFrame((next) => this.tick(next));
  }
}

/** A speed in words: "1/10x, 6 steps/s". @param {number} speed */
export function speedName(speed) {
  if (speed === Infinity) return "as fast as it goes";
  const relative = speed >= 60 ? `${speed / 60}x` : `1/${60 / speed}x`;
  return `${relative}, ${speed} step${speed === 1 ? "" : "s"}/s`;
}
