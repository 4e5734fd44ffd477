// Soften the folds of a smile where its skin is stretched again: pfvit.inference.smile_folds, which has the reasons.

import { cubic } from "./pixels.js";

export const SIDE = 112;
const [POWER, LEAST, LEAST_TAKEN] = [4, 0.3, 0.01];
export const FINE = 0.7; // pixels of SIDE
const BROAD = 4;
const [FAINT, STRONG, MORE, NEAR] = [0.01, 0.03, 4, 0.7];
const [BESIDE, BEFORE, AFTER] = [3, 1, 1.5]; // places of the maps
const PARTED = 0.01;
const [BELOW_EYES, CHIN, CHEEKS] = [[0.45, 0.55], [0.84, 0.9], [0.27, 0.33]];
const LIPS = [0.06, 0.18];
export const NOSE = [0.12, 0.54, 0.16];
const CHANNELS = [0, 1, 2];

/** What is done about the skin: light to add to the three colours, from 0 to 1, and which share of grain to smooth. */
export const skinOf = () => new Float32Array((CHANNELS.length + 1) * SIDE * SIDE);

/**
 * What to do for folds to soften too: [4, SIDE, SIDE] (`skinOf`), or null for nothing.
 *
 * `small` is the crop at SIDE; flows (two planes each), light (three) and `height` above the lip line are [size, size],
 * in shares of the side; `furrows` is what softens furrows, of the same form as the answer.
 */
export function foldLight(small, { base, split, height, light }, size, furrows) {
  const [taken, places] = [takenShares(base, split, size), whereFoldsAre(height, size)];
  if (Math.max(...taken.map((value, n) => value * places[n])) < LEAST_TAKEN) return furrows;
  const [share, where] = [taken, places].map((plane) =>
    enlarged(plane, size).map((value) => Math.min(Math.max(value, 0), 1)),
  );
  const [across, down] = base.map((plane) => enlarged(plane, size));
  const out = furrows ?? skinOf();
  const shown = CHANNELS.map((channel) =>
    enlarged(light[channel], size).map((value, n) => {
      const [x, y] = [(n % SIDE) + across[n] * SIDE, Math.floor(n / SIDE) + down[n] * SIDE];
      return value + readAt(small.data, channel, x, y) / 255 + out[channel * SIDE * SIDE + n];
    }),
  );
  return withoutLines(out, shown, share, where, BROAD);
}

/**
 * Take a share of the lines in a changed crop, three planes of SIDE x SIDE, away, as far as there are such lines: `where`.
 * Of strong ones more, and grain too.
 */
export function withoutLines(out, shown, share, where, broad) {
  const lines = shown.map((plane) => {
    const [fine, blurry] = [FINE, broad].map((deviation) => blurred(plane, SIDE, deviation));
    return fine.map((value, n) => value - blurry[n]);
  });
  const contrast = lines[0].map((value, n) => -Math.abs(value + lines[1][n] + lines[2][n]) / 3);
  const strong = blurred(leastBeside(leastBeside(contrast, SIDE, 1, 1), SIDE, SIDE, 1), SIDE, NEAR);
  for (let n = 0; n < SIDE * SIDE; n++) {
    const part = Math.min(Math.max((-strong[n] - FAINT) / (STRONG - FAINT), 0), 1);
    const much = part * part * (3 - 2 * part);
    const taken = where[n] * (1 - (1 - share[n]) ** (1 + MORE * much));
    for (const channel of CHANNELS) out[channel * SIDE * SIDE + n] -= taken * lines[channel][n];
    const grain = CHANNELS.length * SIDE * SIDE + n;
    out[grain] = Math.max(out[grain], taken * much);
  }
  return out;
}

/** Which share of a fold's contrast is taken away. */
function takenShares([right, down], [splitRight, splitDown], size) {
  const area = right.map((_, n) => {
    const [xx, yx] = gradient(right, n, size);
    const [xy, yy] = gradient(down, n, size);
    return (1 + xx) * (1 + yy) - xy * yx;
  });
  const least = leastBeside(leastBeside(blurred(area, size, BEFORE), size, 1, BESIDE), size, size, BESIDE);
  return blurred(least, size, AFTER).map((value, n) => {
    const kept = Math.min(Math.max(value, LEAST), 1) ** POWER;
    const skin = Math.max(0, 1 - Math.max(Math.abs(splitRight[n]), Math.abs(splitDown[n])) / PARTED);
    return (1 - kept) * skin;
  });
}

/** How far to look for folds at each place, given its height above the lip line. */
function whereFoldsAre(height, size) {
  return height.map((above, n) => {
    const [x, y] = [Math.abs(((n % size) + 0.5) / size - 0.5), (Math.floor(n / size) + 0.5) / size];
    const lips = Math.exp(-((above / LIPS[0]) ** 4) - (x / LIPS[1]) ** 6);
    const nose = Math.exp(-((x / NOSE[0]) ** 4) - ((y - NOSE[1]) / NOSE[2]) ** 4);
    const inside = rising(y, BELOW_EYES) * (1 - rising(y, CHIN)) * (1 - rising(x, CHEEKS));
    return inside * (1 - nose) * (1 - lips);
  });
}

/** 0 below the first, 1 above the second, evenly between them. */
export function rising(value, [start, end]) {
  return Math.min(Math.max((value - start) / (end - start), 0), 1);
}

/** How a flow in shares of the side grows from place to place: to the right and down. */
function gradient(plane, n, size) {
  const [x, y] = [n % size, Math.floor(n / size)];
  const [left, right] = [Math.max(x - 1, 0), Math.min(x + 1, size - 1)];
  const [upper, lower] = [Math.max(y - 1, 0), Math.min(y + 1, size - 1)];
  return [
    ((plane[y * size + right] - plane[y * size + left]) / (right - left)) * size,
    ((plane[lower * size + x] - plane[upper * size + x]) / (lower - upper)) * size,
  ];
}

/** The least value among neighbours up to `reach` away along a row (step 1) or a column (step size). */
function leastBeside(plane, size, step, reach) {
  return plane.map((_, n) => {
    const place = step === 1 ? n % size : Math.floor(n / size);
    let least = Infinity;
    for (let k = Math.max(-reach, -place); k <= Math.min(reach, size - 1 - place); k++) {
      least = Math.min(least, plane[n + k * step]);
    }
    return least;
  });
}

/** A plane blurred by a Gaussian; its edge is repeated. */
export function blurred(plane, side, deviation) {
  const reach = Math.ceil(4 * deviation);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-0.5 * ((k - reach) / deviation) ** 2));
  const all = weights.reduce((sum, one) => sum + one, 0);
  const along = (from, step) =>
    from.map((_, n) => {
      const place = step === 1 ? n % side : Math.floor(n / side);
      let sum = 0;
      for (let k = -reach; k <= reach; k++) {
        const there = Math.min(Math.max(place + k, 0), side - 1);
        sum += weights[k + reach] * from[n + (there - place) * step];
      }
      return sum / all;
    });
  return along(along(plane, 1), side);
}

/** A plane of size x size at SIDE, as Pillow's BICUBIC does it. */
export function enlarged(plane, size) {
  const weights = Array.from({ length: SIDE }, (_, n) => {
    const place = ((n + 0.5) * size) / SIDE - 0.5;
    const first = Math.floor(place);
    const near = cubic(place - first).map((weight, k) => [first - 1 + k, weight]);
    const inside = near.filter(([at]) => at >= 0 && at < size);
    const all = inside.reduce((sum, [, weight]) => sum + weight, 0);
    return inside.map(([at, weight]) => [at, weight / all]);
  });
  const read = (at) => (n) => weights[n].reduce((sum, [k, weight]) => sum + weight * at(k), 0);
  const wide = new Float32Array(size * SIDE); // [size, SIDE]
  for (let y = 0; y < size; y++) for (let x = 0; x < SIDE; x++) wide[y * SIDE + x] = read((k) => plane[y * size + k])(x);
  return new Float32Array(SIDE * SIDE).map((_, n) => read((k) => wide[k * SIDE + (n % SIDE)])(Math.floor(n / SIDE)));
}

/** A colour of a picture of SIDE x SIDE at a place between its pixels, linearly. */
export function readAt(data, channel, x, y) {
  const [u, v] = [x, y].map((place) => Math.min(Math.max(place, 0), SIDE - 1.001));
  const [left, top] = [Math.floor(u), Math.floor(v)];
  const at = (column, row) => data[(row * SIDE + column) * 4 + channel];
  const above = at(left, top) * (1 - u + left) + at(left + 1, top) * (u - left);
  const below = at(left, top + 1) * (1 - u + left) + at(left + 1, top + 1) * (u - left);
  return above * (1 - v + top) + below * (v - top);
}
