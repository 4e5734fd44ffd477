// Apply a change of expression to a photo: move its pixels, add light, smooth folds (pfvit.inference.face_edit).

import { easeBrows, frownAndRaise, furrowLight, furrowed } from "./brows.js";
import { FINE, NOSE, SIDE as SKIN_SIDE, foldLight, rising as rise } from "./folds.js";
import { lipLight } from "./lips.js";
import { blurBox, colourAt, cubic, inGoodLight, resize } from "./pixels.js";

const FADE = 0.12;
const EDGE = 0.6; // pixels: how wide the cut along the lip line is
const KNOTS = 112;
const SMALL_SIDE = 48;
const LEAST_FLOW = 0.02;
const LEAST_SMOOTHED = 0.01;
const PARTED = 0.005;
const [EYES, CHIN] = [[0.42, 0.5], [0.8, 0.88]];
const [DISAGREE, AGREE, STILL, MOVING] = [0.8, 0.92, 0.0005, 0.001];
/** Wide mouths are looked at again as they have closed, and once more where much is left: pfvit.inference.generator. */
const [WIDE, MUCH_LEFT, CLOSED, NOT_CLOSED] = [0.07, 0.002, 0.0015, 0.0025];
const [EYE_DISTANCE, FULL_MOVE, FULL_LIGHT] = [0.359, 0.1, 0.25];
/** The colour of skin: pixels a side, how far light takes it, how much of its own stays, bounds; what is dark, and pale. */
const [PLACES, SHARE, OWN, LEAST, MOST, DARK, PALE] = [14, 0.7, 0.5, 0.4, 2, 90, 150];
/** Gray crops up to this side get more light than the model asks for: pfvit.inference.generator has the reasons. */
const [SMALL_GRAY, MORE_LIGHT, MOST_LIGHT, STRONG_LIGHT] = [64, 1.8, 3, 0.15];
/** Channels of the photo model's maps: where they begin. */
const [BASE, SPLIT, HEIGHT, LIGHT, CHANNELS] = [0, 2, 4, 6, 9];

/** The photo model's maps of a crop and of its mirror image as one, and how far they can be trusted. */
export function together(plain, mirrored, size) {
  const other = mirrorImage(mirrored, size);
  const maps = plain.map((value, n) => (value + other[n]) / 2);
  const flows = HEIGHT * size * size;
  let [both, one, two, mean] = [0, 0, 0, 0];
  for (let n = 0; n < flows; n++) {
    both += plain[n] * other[n];
    one += plain[n] ** 2;
    two += other[n] ** 2;
    mean += maps[n] ** 2;
  }
  const energy = Math.sqrt(one) * Math.sqrt(two);
  const agreement = energy < MOVING ** 2 * flows ? 1 : Math.max(0, both / energy);
  const moving = rising(Math.sqrt(mean / flows), STILL, MOVING); // what is less is noise: a calm face stays as it is
  for (let n = 0; n < maps.length; n++) {
    if (n < flows || n >= LIGHT * size * size) maps[n] *= moving;
  }
  return { maps, size, agreement, trust: rising(agreement, DISAGREE, AGREE) };
}

/** Whether lips part so far that they are looked at again. */
export function isWide({ maps, size }) {
  return maps.subarray(SPLIT * size * size, HEIGHT * size * size).some((value) => Math.abs(value) > WIDE);
}

/** The root mean square of what is left to move. */
function sizeOf({ maps, size, agreement }) {
  const flows = maps.subarray(0, HEIGHT * size * size);
  return Math.sqrt((flows.reduce((sum, value) => sum + value * value, 0) / flows.length) * (2 / (1 + agreement)));
}

export function isMuch(left) {
  return sizeOf(left) > MUCH_LEFT;
}

/** Maps that are trusted less where so much is left after two looks. */
export function believed(found, left) {
  return { ...found, trust: found.trust * (1 - rising(sizeOf(left), CLOSED, NOT_CLOSED)) };
}

/** Maps with those added of what is left of the expression afterwards, as far as the face was not neutral. */
export function withLeft(found, left, neutral) {
  const { maps, size } = found;
  const [line, light] = [HEIGHT * size * size, LIGHT * size * size];
  const sum = maps.map((value, n) => (n < line || n >= light ? value + (1 - neutral) * left.maps[n] : value));
  return { ...found, maps: sum };
}

/**
 * The change of a crop that such maps describe; `small` is the crop as the model saw it, and `shares` the probability
 * of each name.
 */
export function changeOf(crop, small, { maps, size, trust }, shares) {
  const brows = frownAndRaise(shares);
  if (!isSmallAndGray(crop)) {
    keepStill(maps, size, shares.happiness + shares.neutral);
    colourLight(maps, size, small);
  }
  easeBrows(maps, size, brows);
  if (isSmallAndGray(crop)) lightMore(maps, size * size, shares.neutral);
  // The model counts flows in halves of the side, and light from -1 to 1.
  const plane = (channel) => maps.subarray(channel * size * size, (channel + 1) * size * size).map((v) => v * 0.5 * trust);
  const [base, split] = [BASE, SPLIT].map((first) => [plane(first), plane(first + 1)]);
  const light = [0, 1, 2].map((channel) => plane(LIGHT + channel));
  const height = maps.slice(HEIGHT * size * size, (HEIGHT + 1) * size * size);
  const parts = { base, split, height, light };
  const furrows = furrowLight(small, parts, size, trust * furrowed(shares));
  return { maps, size, trust, skin: lipLight(small, parts, size, foldLight(small, parts, size, furrows)) };
}

/** Move eyes, nose and chin less in a smile of such a probability: pfvit.inference.smile_parts. */
export function keepStill(maps, size, smile) {
  for (let n = 0; n < size * size; n++) {
    const [x, y] = [((n % size) + 0.5) / size - 0.5, (Math.floor(n / size) + 0.5) / size];
    const nose = Math.exp(-((x / NOSE[0]) ** 4) - ((y - NOSE[1]) / NOSE[2]) ** 4);
    const kept = (1 - 0.4 * (1 - rise(y, EYES))) * (1 - 0.5 * nose) * (1 - 0.5 * rise(y, CHIN));
    for (const axis of [0, 1]) maps[axis * size * size + n] *= 1 - smile * (1 - kept);
  }
}

/** Give light the colour of the skin around it: pfvit.inference.skin_colour, which has the reasons. */
export function colourLight(maps, size, small) {
  const { data } = inGoodLight(resize(small, PLACES, PLACES));
  const skin = { size: PLACES, maps: new Float32Array(4 * PLACES * PLACES) };
  for (let n = 0; n < PLACES * PLACES; n++) {
    const mean = (data[n * 4] + data[n * 4 + 1] + data[n * 4 + 2]) / 3 + 1;
    for (let c = 0; c < 3; c++) {
      skin.maps[c * PLACES * PLACES + n] = Math.min(Math.max((data[n * 4 + c] + 1) / mean, LEAST), MOST);
    }
    skin.maps[3 * PLACES * PLACES + n] = Math.min(Math.max((PALE - mean) / (PALE - DARK), 0), 1);
  }
  const [plane, colour] = [size * size, new Float32Array(4)];
  for (let n = 0; n < plane; n++) {
    readMaps(skin, ((n % size) + 0.5) / size, (Math.floor(n / size) + 0.5) / size, colour);
    const light = [0, 1, 2].map((c) => maps[(LIGHT + c) * plane + n]);
    const mean = (light[0] + light[1] + light[2]) / 3;
    light.forEach((value, c) => {
      const coloured = mean * (1 - OWN + SHARE * (colour[c] - 1)) + OWN * value;
      maps[(LIGHT + c) * plane + n] += Math.min(Math.max(colour[3], 0), 1) * (coloured - value);
    });
  }
}

export function isSmallAndGray({ data, width, height }) {
  if (Math.max(width, height) > SMALL_GRAY) return false;
  for (let n = 0; n < data.length; n += 4) {
    if (data[n] !== data[n + 1] || data[n] !== data[n + 2]) return false;
  }
  return true;
}

/** Multiply faint light, of faces that are hardly neutral by more, and make light gray. */
function lightMore(maps, plane, neutral) {
  const most = MOST_LIGHT + (MORE_LIGHT - MOST_LIGHT) * neutral;
  for (let n = LIGHT * plane; n < (LIGHT + 1) * plane; n++) {
    const light = (maps[n] + maps[n + plane] + maps[n + 2 * plane]) / 3; // from -1 to 1, so half of it is of 1
    const more = light * (1 + (most - 1) * Math.exp(-Math.abs(light) / 2 / STRONG_LIGHT));
    for (let channel = 0; channel < 3; channel++) maps[n + channel * plane] = more;
  }
}

/** 0 below `start`, 1 above `end`, smoothly between them. */
function rising(value, start, end) {
  const share = Math.min(Math.max((value - start) / (end - start), 0), 1);
  return share * share * (3 - 2 * share);
}

function mirrorImage(maps, size) {
  const out = new Float32Array(maps.length);
  for (let c = 0; c < CHANNELS; c++) {
    const sign = c === BASE || c === SPLIT ? -1 : 1;
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        out[(c * size + y) * size + x] = sign * maps[(c * size + y) * size + size - 1 - x];
      }
    }
  }
  return out;
}

/** A copy of the picture with a share of a change applied: to the face in `square`, or to all of it without one. */
export function applied(picture, change, strength, square = null) {
  const { width, height } = picture;
  const out = { data: picture.data.slice(), width, height };
  const share = strength * change.trust;
  if (share === 0) return out;
  const face = square ? placed(square) : { a: width, b: 0, c: 0, d: height, x: 0, y: 0 };
  const { a, b, c, d, x: left, y: top } = face; // the face's right is (a, c), its down is (b, d), in pixels
  const [side, tall, det] = [Math.hypot(a, c), Math.hypot(b, d), a * d - b * c];
  const margin = (1.5 * Math.max(side < SMALL_SIDE ? 1 : 2, Math.round(side / KNOTS))) / side;
  const corners = [[0, 0], [1, 0], [0, 1], [1, 1]].map(([u, v]) => [left + a * u + b * v, top + c * u + d * v]);
  const [xs, ys] = [0, 1].map((axis) => corners.map((corner) => corner[axis]));
  const [first, last] = [Math.max(0, Math.floor(Math.min(...xs))), Math.min(width, Math.ceil(Math.max(...xs)))];
  const [upper, lower] = [Math.max(0, Math.floor(Math.min(...ys))), Math.min(height, Math.ceil(Math.max(...ys)))];
  const [map, added, above, below] = [new Float32Array(CHANNELS), new Float32Array(4), [0, 0, 0], [0, 0, 0]];
  const skin = change.skin && { maps: change.skin, size: SKIN_SIDE };
  const smooth = new Float32Array(skin ? (last - first) * (lower - upper) : 0);
  for (let y = upper; y < lower; y++) {
    for (let x = first; x < last; x++) {
      const [right, down] = [x + 0.5 - left, y + 0.5 - top];
      const [u, v] = [(d * right - b * down) / det, (a * down - c * right) / det];
      if (u < 0 || v < 0 || u > 1 || v > 1) continue;
      const here = square ? fading(u, margin) * fading(v, margin) : 1;
      if (here === 0) continue;
      const much = share * here;
      readMaps(change, u, v, map);
      if (skin) readMaps(skin, u, v, added);
      if (strength < 0) exaggerated(map, added, change.trust);
      const [bx, by] = [(a * map[0] + b * map[1]) * 0.5 * much, (c * map[0] + d * map[1]) * 0.5 * much];
      const [sx, sy] = [(a * map[2] + b * map[3]) * 0.5 * much, (c * map[2] + d * map[3]) * 0.5 * much];
      if (Math.max(Math.abs(bx + sx), Math.abs(by + sy), Math.abs(sx), Math.abs(sy)) > LEAST_FLOW) {
        colourAt(picture, x + 0.5 + bx + sx, y + 0.5 + by + sy, above);
        if (Math.max(Math.abs(sx), Math.abs(sy)) > LEAST_FLOW) {
          colourAt(picture, x + 0.5 + bx - sx, y + 0.5 + by - sy, below);
          const part = 1 / (1 + Math.exp(-Math.min(Math.max((map[HEIGHT] * tall) / EDGE, -20), 20)));
          for (let n = 0; n < 3; n++) above[n] = below[n] + part * (above[n] - below[n]);
        }
      } else {
        for (let n = 0; n < 3; n++) above[n] = picture.data[(y * width + x) * 4 + n];
      }
      for (let n = 0; n < 3; n++) {
        const light = map[LIGHT + n] * 127.5 * much + added[n] * 255 * strength * here;
        out.data[(y * width + x) * 4 + n] = above[n] + Math.round(light / (change.gain ?? 1));
      }
      if (skin) smooth[(y - upper) * (last - first) + x - first] = added[3] * strength * here;
    }
  }
  smoothOut(out, smooth, { first, upper, wide: last - first }, (FINE * side) / SKIN_SIDE);
  return out;
}

/** For the opposite of a change: lips part no further and stay as bright, or teeth would show twice. */
function exaggerated(map, added, trust) {
  const parted = (Math.max(Math.abs(map[SPLIT]), Math.abs(map[SPLIT + 1])) * 0.5 * trust) / PARTED;
  const shut = Math.max(0, 1 - parted);
  map.fill(0, SPLIT, HEIGHT);
  for (let n = 0; n < 3; n++) {
    map[LIGHT + n] *= shut;
    added[n] *= shut;
  }
  added[3] = 0;
}

/** Take a share, `wide` to a row from (first, upper) on, of the finest detail away: what a blur, in pixels, takes. */
function smoothOut({ data, width, height }, share, { first, upper, wide }, deviation) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let n = 0; n < share.length; n++) {
    if (share[n] <= LEAST_SMOOTHED) continue;
    const [x, y] = [first + (n % wide), upper + Math.floor(n / wide)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
  }
  if (right < 0) return;
  const around = Math.ceil(4 * deviation);
  const [west, north] = [Math.max(0, left - around), Math.max(0, top - around)];
  const columns = Math.min(width, right + around + 1) - west;
  const plane = new Float32Array(columns * (Math.min(height, bottom + around + 1) - north));
  for (let channel = 0; channel < 3; channel++) {
    for (let n = 0; n < plane.length; n++) {
      plane[n] = data[((north + Math.floor(n / columns)) * width + west + (n % columns)) * 4 + channel];
    }
    blurBox(plane, columns, deviation);
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const [at, much] = [(y * width + x) * 4 + channel, share[(y - upper) * wide + x - first]];
        if (much > LEAST_SMOOTHED) {
          data[at] += Math.min(much, 1) * (plane[(y - north) * columns + x - west] - data[at]);
        }
      }
    }
  }
}

/** Where a change is, from 0 to 1, at the maps' size. */
export function strengthMap({ maps, size, trust }) {
  const plane = size * size;
  return Float32Array.from({ length: plane }, (_, n) => {
    const sign = maps[HEIGHT * plane + n] > 0 ? 1 : -1;
    const [x, y] = [0, 1].map((axis) => maps[axis * plane + n] + sign * maps[(SPLIT + axis) * plane + n]);
    const light = Math.max(...[0, 1, 2].map((channel) => Math.abs(maps[(LIGHT + channel) * plane + n]))) / 2;
    return Math.min(1, trust * Math.max(Math.hypot(x, y) / 2 / (EYE_DISTANCE * FULL_MOVE), light / FULL_LIGHT));
  });
}

function placed({ x, y, side, roll }) {
  const [cosine, sine] = [Math.cos(roll) * side, Math.sin(roll) * side];
  return { a: cosine, b: -sine, c: sine, d: cosine, x: x - (cosine - sine) / 2, y: y - (cosine + sine) / 2 };
}

function fading(place, margin) {
  const share = Math.min(Math.max((Math.min(place, 1 - place) - margin) / FADE, 0), 1);
  return share * share * (3 - 2 * share);
}

/** Read all maps at a place of the face, between their own places. */
function readMaps({ maps, size }, u, v, out) {
  const [x, y] = [u * size - 0.5, v * size - 0.5];
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [across, down] = [cubic(x - left), cubic(y - top)];
  out.fill(0);
  for (let j = 0; j < 4; j++) {
    const row = Math.min(Math.max(top - 1 + j, 0), size - 1) * size;
    for (let i = 0; i < 4; i++) {
      const at = row + Math.min(Math.max(left - 1 + i, 0), size - 1);
      const weight = across[i] * down[j];
      for (let c = 0; c < out.length; c++) out[c] += weight * maps[c * size * size + at];
    }
  }
}
