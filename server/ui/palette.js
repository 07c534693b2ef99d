// Colours of the map: the tier is the hue, heat is how far the colour stands off the page.
//
// Blue and orange are told apart with every common colour blindness, and grey by its lack of both; the
// readout and the tables say everything in words as well. Dark pages get brighter with heat, light ones
// darker. A cell that was used at all is lifted off the cold ones, since one use is news.

export const TIERS = ['storage', 'host', 'device'];

// [cold, hot] of each tier.
export const RAMPS = {
  dark: [[[35, 42, 51], [176, 186, 198]],
         [[21, 61, 104], [122, 196, 255]],
         [[105, 60, 14], [255, 205, 112]]],
  light: [[[232, 235, 239], [84, 94, 106]],
          [[186, 215, 245], [8, 72, 140]],
          [[255, 218, 165], [168, 66, 0]]],
};
// What a cell flashes towards when it has just been routed to, and what untouched ones fade to.
export const FLASH = {dark: [255, 255, 255], light: [20, 16, 36]};
export const PAGE = {dark: [22, 27, 33], light: [255, 255, 255]};
const LIFT = 0.2;
export const HEAT_MAX = 63;

// How far along its ramp a cell of this heat is, 0..1.
export function warmth(heat) {
  return heat ? LIFT + (1 - LIFT) * heat / HEAT_MAX : 0;
}

export function mix(a, b, t) {
  return a.map((x, i) => Math.round(x + (b[i] - x) * t));
}

export function css(rgb) {
  return `rgb(${rgb[0]}, ${rgb[1]}, ${rgb[2]})`;
}

export function cellColour(theme, tier, heat) {
  return mix(RAMPS[theme][tier][0], RAMPS[theme][tier][1], warmth(heat));
}

// One 32-bit pixel (as ImageData lies in memory on a little-endian machine) for each byte of a map.
export function cellPixels(theme) {
  const pixels = new Uint32Array(256);
  for (let cell = 0; cell < 256; cell++) {
    const tier = Math.min(cell >> 6, 2);
    pixels[cell] = pack(cellColour(theme, tier, cell & HEAT_MAX));
  }
  return pixels;
}

export function pack([r, g, b]) {
  return (0xff000000 | b << 16 | g << 8 | r) >>> 0;
}

// A pixel on its way to another: `amount` of 256.
export function blend(pixel, to, amount) {
  const keep = 256 - amount;
  const rb = ((pixel & 0xff00ff) * keep + (to & 0xff00ff) * amount) / 256;
  const g = ((pixel & 0xff00) * keep + (to & 0xff00) * amount) / 256;
  return (0xff000000 | rb & 0xff00ff | g & 0xff00) >>> 0;
}
