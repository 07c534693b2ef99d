// What did a request touch? The difference of maps while it ran.
//
// A cell that is hotter than it could be had it only cooled since the beginning was routed to. That also
// finds experts which are hot all the time: they do not become hotter, but fail to cool. Others' requests
// run in the same batch; what they touched cannot be told apart, which the page says.
import {cooled} from './figures.js';

export const USED = 1, CAME = 2, LEFT = 4;

export class Touch {
  constructor(layers, experts, cells, t) {
    this.layers = layers;
    this.experts = experts;
    this.first = cells.slice();
    this.last = cells.slice();
    this.begun = t;
    this.marks = new Uint8Array(cells.length);
  }

  observe(cells, t) {
    if (cells.length !== this.first.length) return;
    const limit = new Uint8Array(64); // by heat at the beginning
    for (let heat = 0; heat < 64; heat++) limit[heat] = heat ? cooled(heat, t - this.begun) : 0;
    for (let i = 0; i < cells.length; i++) {
      const cell = cells[i], tier = cell >> 6, was = this.last[i] >> 6;
      if ((cell & 63) > limit[this.first[i] & 63]) this.marks[i] |= USED;
      if (tier === 2 && was !== 2) this.marks[i] |= CAME;
      if (tier !== 2 && was === 2) this.marks[i] |= LEFT;
      this.last[i] = cell;
    }
  }

  summary() {
    const sum = {pages: this.marks.length, used: 0, came: 0, left: 0};
    for (const mark of this.marks) {
      sum.used += mark & USED ? 1 : 0;
      sum.came += mark & CAME ? 1 : 0;
      sum.left += mark & LEFT ? 1 : 0;
    }
    return sum;
  }
}
