// What the page asks for, answered in the browser itself by onnxruntime-web: nothing leaves it. The static edition of
// the page (scripts/static_page) has this in place of the api.js that asks a server.

import { Problem } from "../latest.js";
import * as ort from "../ort/ort.wasm.min.mjs";
import {
  applied, believed, changeOf, isMuch, isSmallAndGray, isWide, strengthMap, together, withLeft,
} from "./change.js";
import { cut, frame } from "./crop.js";
import { detect } from "./detect.js";
import { canvasOf, contrastOf, decode, encode, inGoodLight, resize, rgb, secondLook } from "./pixels.js";

export const SERVED = false;

const FILES = { recogniser: "pfvit-int8", photo: "pfvit-photo", drawing: "pfvit-photo-drawing", detector: "libfacedetection" };
const LABELS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"];
const SIDE = 112; // of what the photo model sees and draws
const SEEN = 48; // of what the recogniser sees
const LEAST_RELIABLE = 0.75; // as in pfvit.inference.unsure
const MOST_PIXELS = 50e6;
const HEAT = [[20, 12, 60, 0], [120, 28, 109, 120], [229, 92, 48, 190], [252, 255, 164, 230]]; // as in pfvit.rendering
const FAINT = 0.1;

ort.env.wasm.wasmPaths = new URL("../ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // threads need headers that a plain file server does not send

const sessions = new Map();
let waiting = Promise.resolve();

/** A network by its name, opened when it is first needed. */
function open(name) {
  if (!sessions.has(name)) {
    const address = new URL(`../weights/${FILES[name]}.onnx`, import.meta.url).href;
    sessions.set(name, ort.InferenceSession.create(address, { executionProviders: ["wasm"] }));
  }
  return sessions.get(name);
}

/** Run a network on {bytes, shape} or on tensors by name; one run at a time. */
function run(name, given, outputs) {
  const answer = waiting.then(async () => {
    const session = await open(name);
    const feeds = given.bytes ? { image: new ort.Tensor("uint8", given.bytes, given.shape) } : given;
    const told = await session.run(feeds, outputs);
    return Object.fromEntries(Object.entries(told).map(([key, { data, dims }]) => [key, Object.assign(data, { dims })]));
  });
  waiting = answer.catch(() => {});
  return answer;
}

/** Pictures that were opened, and what is known of them, by their Blob. */
const known = new WeakMap();

async function picture(photo) {
  if (!known.has(photo)) {
    let pixels;
    try {
      pixels = await decode(photo);
    } catch {
      throw new Problem({ title: "This is no photo that your browser can read", status: 422, type: "not-an-image" });
    }
    if (pixels.width * pixels.height > MOST_PIXELS) {
      throw new Problem({ title: "The image has too many pixels", detail: "at most 50 million", status: 413 });
    }
    known.set(photo, { pixels, faces: new Map() });
  }
  return known.get(photo);
}

/** The faces in a photo (a Blob): `{model, images}` as the service answers. */
export async function read(photo, { whole = false, signal } = {}) {
  const { pixels, faces } = await found(photo, whole, signal);
  const images = [{ source: "image", width: pixels.width, height: pixels.height, faces: [], problem: null }];
  for (const [face, one] of faces.entries()) {
    signal?.throwIfAborted();
    const { probabilities, reliability } = await answer(one.crop);
    images[0].faces.push({ source: "image", face, ...one.told, ...named(probabilities, reliability) });
  }
  return { model: "pfvit", images };
}

async function found(photo, whole, signal) {
  const { pixels, faces } = await picture(photo);
  if (!faces.has(whole)) {
    const { width, height } = pixels;
    const network = (image) => (signal?.throwIfAborted(), run("detector", image, ["score", "shape"]));
    const boxes = whole ? [] : await detect(pixels, network);
    const some = boxes.map(({ box, score, points }) => {
      const landmarks = points.map((point) => point.map((value) => round(value, 1)));
      const square = frame(points);
      return { told: { box: inside(box, width, height), score: round(score, 4), landmarks }, square, crop: cut(pixels, square) };
    });
    if (whole) some.push({ told: { box: [0, 0, width, height], score: 1, landmarks: null }, square: null, crop: pixels });
    faces.set(whole, some);
  }
  return { pixels, faces: faces.get(whole) };
}

/** What the recogniser says of a crop; it looks again if that is unsure, as `Network.answers` does. */
async function answer(crop) {
  const first = await look(crop);
  if (first.reliability >= LEAST_RELIABLE) return first;
  const second = await look(secondLook(resize(crop, SEEN, SEEN)));
  const both = (a, b) => {
    const roots = a.map((share, n) => Math.sqrt(share * b[n]));
    const all = roots.reduce((sum, root) => sum + root, 0);
    return roots.map((root) => root / all);
  };
  const right = [first, second].map(({ reliability }) => [reliability, 1 - reliability]);
  const reliability = Math.min(first.reliability, both(...right)[0]);
  return { probabilities: both(first.probabilities, second.probabilities), reliability };
}

async function look(crop) {
  const { probabilities, reliability } = await run("recogniser", rgb(inGoodLight(crop)), ["probabilities", "reliability"]);
  return { probabilities: Array.from(probabilities), reliability: reliability[0] };
}

function named(shares, reliability) {
  const best = shares.indexOf(Math.max(...shares));
  const entropy = -shares.reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0);
  return {
    emotion: LABELS[best],
    unsure: reliability < LEAST_RELIABLE,
    entropy: round(entropy / Math.log(shares.length), 4),
    probabilities: Object.fromEntries(LABELS.map((name, n) => [name, round(shares[n], 6)])),
  };
}

/** A picture of one face, or of the photo with it, as a Blob. */
export async function draw(photo, { view, strength = 1, face = 0, whole = false, accept = "image/png", signal }) {
  if (view === "photo" && strength === 0) return encode((await picture(photo)).pixels, accept);
  const { pixels, faces } = await found(photo, whole, signal);
  const chosen = face === "all" ? faces : [faces[face]];
  if (view === "photo") {
    let out = pixels;
    for (const one of chosen) out = applied(out, await change(one), strength, one.square);
    return encode(out, accept);
  }
  const [{ crop }] = chosen;
  if (view === "face") return encode(crop, accept);
  if (view === "poker") return encode(applied(crop, await change(chosen[0]), strength), accept);
  if (view === "map") return encode(heated(crop, await change(chosen[0])), accept);
  return encode(await reconstruction(crop), accept);
}

/** What the page shows of the model. */
export async function model() {
  return { name: "pfvit", version: "in this browser" };
}

export function unlock() {}

const changes = new WeakMap();

/** The change that takes a face's expression off, predicted once. */
function change({ crop }) {
  if (!changes.has(crop)) changes.set(crop, predicted(crop));
  return changes.get(crop);
}

async function predicted(crop) {
  const contrast = contrastOf(crop);
  const lit = inGoodLight(crop, contrast);
  const small = resize(lit, SIDE, SIDE);
  let maps = await bothWays(small);
  const { probabilities } = await answer(crop);
  const shares = Object.fromEntries(LABELS.map((name, n) => [name, probabilities[n]]));
  if (isSmallAndGray(crop)) {
    maps = withLeft(maps, await bothWays(resize(applied(lit, maps, 1), SIDE, SIDE)), shares.neutral);
  } else if (isWide(maps)) {
    const left = await bothWays(calmer(small, maps));
    maps = withLeft(maps, left, shares.neutral);
    if (isMuch(left)) maps = believed(maps, await bothWays(calmer(small, maps)));
  }
  return { ...changeOf(crop, small, maps, shares), gain: contrast?.gain ?? 1 };
}

/** A picture as such maps change it; nothing of them changes. */
function calmer(small, maps) {
  const none = Object.fromEntries(LABELS.map((name) => [name, 0]));
  return applied(small, changeOf(small, small, { ...maps, maps: maps.maps.slice() }, none), 1);
}

/** The photo model's maps of a picture of its size, averaged with those of its mirror image. */
async function bothWays(small) {
  const turned = { ...small, data: small.data.slice() };
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [from, to] = [(y * SIDE + x) * 4, (y * SIDE + SIDE - 1 - x) * 4];
      for (let c = 0; c < 4; c++) turned.data[to + c] = small.data[from + c];
    }
  }
  const [plain, mirrored] = [await run("photo", rgb(small), ["maps"]), await run("photo", rgb(turned), ["maps"])];
  return together(plain.maps, mirrored.maps, plain.maps.dims[2]);
}

async function reconstruction(crop) {
  const { emotion, residue } = await run("photo", rgb(resize(crop, SIDE, SIDE)), ["emotion", "residue"]);
  const tokens = new ort.Tensor("float32", emotion.map((value, n) => value + residue[n]), emotion.dims);
  const { face } = await run("drawing", { tokens }, ["face"]);
  const data = new Uint8ClampedArray(SIDE * SIDE * 4).fill(255);
  for (let n = 0; n < SIDE * SIDE; n++) {
    for (let c = 0; c < 3; c++) data[n * 4 + c] = Math.round(face[n * 3 + c] * 255);
  }
  return { data, width: SIDE, height: SIDE };
}

/** The face in gray with its expression map glowing over it. */
function heated(crop, change) {
  const levels = strengthMap(change);
  const most = Math.max(FAINT, ...levels);
  const glow = new ImageData(change.size, change.size);
  levels.forEach((level, n) => {
    const place = (level / most) * (HEAT.length - 1);
    const low = Math.min(Math.floor(place), HEAT.length - 2);
    for (let c = 0; c < 4; c++) {
      glow.data[n * 4 + c] = Math.round(HEAT[low][c] * (1 - place + low) + HEAT[low + 1][c] * (place - low));
    }
  });
  const small = canvasOf(change.size, change.size);
  small.getContext("2d").putImageData(glow, 0, 0);
  const pen = canvasOf(crop.width, crop.height).getContext("2d");
  const gray = new ImageData(crop.data.slice(), crop.width, crop.height);
  for (let n = 0; n < gray.data.length; n += 4) {
    gray.data.fill(0.299 * gray.data[n] + 0.587 * gray.data[n + 1] + 0.114 * gray.data[n + 2], n, n + 3);
  }
  pen.putImageData(gray, 0, 0);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, 0, 0, crop.width, crop.height);
  return pen.getImageData(0, 0, crop.width, crop.height);
}

function inside([x, y, width, height], wide, high) {
  const [left, top] = [Math.min(Math.max(Math.round(x), 0), wide - 1), Math.min(Math.max(Math.round(y), 0), high - 1)];
  const [right, bottom] = [Math.min(Math.round(x + width), wide), Math.min(Math.round(y + height), high)];
  return [left, top, Math.max(right - left, 1), Math.max(bottom - top, 1)];
}

function round(value, digits) {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
