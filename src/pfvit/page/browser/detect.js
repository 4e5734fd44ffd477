// Find faces: upright, in other directions, and closer where that pays (pfvit.detection.detector, its normal look).

import { fit } from "./crop.js";
import { blurBox, canvasOf, inGoodLight, rgb } from "./pixels.js";

const [FIRST, SMALLEST, CLOSER, SMALL, LARGE] = [480, 256, 2.5, 36, 220];
const [LEAST, FAINT, SURE, SURE_SMALL, STEEP, LIKELY] = [0.25, 0.05, 0.91, 0.85, (4 * Math.PI) / 180, 0.7];
const [FACE, FACE_UPRIGHT, FOUND, DOUBTFUL] = [0.82, 0.78, 0.85, 0.5];
const [AROUND, AGAIN, UPRIGHT, TOGETHER, SAME, FEW] = [1.8, 160, 224, 6, 0.55, 0.1];
const EIGHTH = Math.PI / 4;
const [STRAIGHT, DIAGONAL] = [[0, 2, 6, 4], [1, 7, 3, 5]]; // in eighths of a turn
const STRIDES = [8, 16, 32];
const SAME_ROW = 0.45;
const [PIECE, OVERLAP, NOISY, GRAIN] = [1280, 256, 960, 1.2];

/** The faces in a picture, left to right: {box, score, points}. `network` takes {bytes, shape} to {score, shape}. */
export async function detect(picture, network) {
  const search = new Search(picture, network);
  await search.run();
  return search.faces.map(asFace).sort((one, other) => one.box[0] - other.box[0] || one.box[1] - other.box[1]);
}

class Search {
  constructor(picture, network) {
    this.network = network;
    this.width = picture.width;
    this.height = picture.height;
    this.canvas = canvasOf(picture.width, picture.height);
    const { data, width, height } = inGoodLight(picture);
    this.canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
    this.faces = [];
    this.looks = new Set();
    this.scales = scalesOf(picture.width, picture.height);
  }

  get found() {
    return this.faces.some(({ score }) => score >= FOUND);
  }

  async run() {
    for (const [number, scale] of this.scales.entries()) {
      const before = this.scales[number - 1];
      if (number === 0) {
        await this.look(scale, 0);
        if (!this.found) await this.look(scale / 2, 0); // a face that fills the picture
        if (!this.found && Math.max(this.width, this.height) <= NOISY) await this.lookPastNoise(scale);
        if (!this.found) await this.inAnyOf([...STRAIGHT.slice(1), ...DIAGONAL], scale * (scale < 0.75 ? 1 : 0.7));
      } else if (!this.found) {
        if (scale > 1 || number > 1) return;
        await this.inAnyOf(STRAIGHT, scale);
      } else if (Math.min(...this.faces.map(({ size }) => size)) * before >= SMALL) {
        return;
      }
      await this.follow(scale, number === 0 ? Infinity : LARGE);
    }
  }

  /** Look at a small picture without its noise, which hides faces. */
  async lookPastNoise(scale) {
    const { canvas: noisy, width, height } = this;
    const image = noisy.getContext("2d").getImageData(0, 0, width, height);
    for (const channel of [0, 1, 2]) {
      const plane = Float32Array.from({ length: width * height }, (_, n) => image.data[n * 4 + channel]);
      blurBox(plane, width, GRAIN);
      plane.forEach((value, n) => (image.data[n * 4 + channel] = value));
    }
    this.canvas = canvasOf(width, height);
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    for (const one of [scale, scale / 2]) {
      this.looks.delete(`${one} 0`);
      if (!this.found) await this.look(one, 0);
    }
    this.canvas = noisy;
  }

  async inAnyOf(turns, scale) {
    for (const turn of turns) {
      await this.look(scale, turn);
      if (this.found) return;
    }
  }

  /** Look in the directions in which faces were found, and in those that this finds. */
  async follow(scale, largest) {
    for (;;) {
      const counts = new Map();
      for (const face of this.faces) {
        const turn = ((Math.round(rollOf(face) / EIGHTH) % 8) + 8) % 8;
        counts.set(turn, (counts.get(turn) ?? 0) + 1);
      }
      const turns = [...counts.keys()].filter((turn) => counts.get(turn) >= FEW * this.faces.length);
      const fresh = turns.filter((turn) => !this.looks.has(`${scale} ${turn}`));
      if (!fresh.length) return;
      for (const turn of fresh) await this.look(scale, turn, largest);
    }
  }

  async look(scale, turn, largest = Infinity) {
    const name = `${scale} ${turn}`;
    if (this.looks.has(name)) return;
    this.looks.add(name);
    const seen = [];
    for (const view of this.views(scale, turn * EIGHTH)) {
      const rows = await this.ask(view, LEAST);
      seen.push(...distinct(rows).map((row) => sighting(row, view)).filter((one) => one.seen <= largest));
    }
    await this.settle(seen, scale);
  }

  /** Take the faces among what a look at a scale has found. */
  async settle(seen, scale) {
    seen.sort((one, other) => other.score - one.score);
    const small = this.faces.filter((face) => face.seen < SMALL);
    const known = (one) =>
      one.score >= LIKELY && one.seen >= SMALL &&
      small.some((face) => same(one, face) && one.size / face.size > 0.7 && one.size / face.size < 1.4);
    const sure = seen.filter((one) => known(one) || isSure(one));
    let unsure = seen.filter((one) => !sure.includes(one));
    if (scale < this.scales.at(-1)) { // a closer look settles most small ones for less
      const few = unsure.filter((one) => one.seen < SMALL).slice(0, TOGETHER);
      unsure = [...unsure.filter((one) => one.seen >= SMALL), ...few];
    }
    this.take(sure);
    unsure = unsure.filter((one) => !this.faces.some((face) => same(one, face)));
    const more = [];
    while (unsure.length) {
      const faces = [];
      for (const one of unsure.splice(0, TOGETHER)) {
        const face = await this.again(one);
        if (face && ![...this.faces, ...more, ...faces].some((other) => same(face, other))) faces.push(face);
      }
      if (!faces.length) break;
      more.push(...faces);
      unsure = unsure.filter((one) => !faces.some((face) => same(one, face)));
    }
    this.take(more);
  }

  take(faces) {
    const both = [...this.faces, ...faces];
    both.sort((one, other) => (one.seen < SMALL) - (other.seen < SMALL) || other.score - one.score);
    this.faces = [];
    for (const one of both) if (!this.faces.some((face) => same(one, face))) this.faces.push(one);
  }

  /** The find as it is seen by itself and upright, or null if it is no face. */
  async again(find) {
    const scores = new Array(8).fill(0);
    let best = find;
    const note = async (eighth) => {
      const one = await this.middle(this.around(find.centre, AROUND * find.size, AGAIN, eighth * EIGHTH));
      if (!one) return;
      if (one.score > Math.max(...scores)) best = one;
      scores[eighth] = one.score;
    };
    for (const eighth of [0, 2, 4, 6]) await note(eighth);
    const top = Math.max(...scores);
    if (top < DOUBTFUL) return null;
    const quarter = scores.indexOf(top);
    for (const eighth of [(quarter + 7) % 8, quarter + 1]) await note(eighth);
    const one = await this.middle(this.around(best.centre, AROUND * best.size, UPRIGHT, peak(scores)));
    if (!one) return null;
    const score = (Math.max(find.score, ...scores) + one.score) / 2;
    const upright = find.roll === 0 && Math.abs(remainder(one.roll)) < EIGHTH;
    return score >= (upright ? FACE_UPRIGHT : FACE) ? { ...one, score } : null;
  }

  /** The surest face in the middle of a square view. */
  async middle(view) {
    const side = view.pixels.width;
    const near = (await this.ask(view, FAINT)).find(([, x, y, width, height]) => {
      const size = (Math.sqrt(width * height) * AROUND) / side;
      return Math.hypot(x + width / 2 - side / 2, y + height / 2 - side / 2) < side / AROUND / 2 && size > 0.5 && size < 2;
    });
    return near ? sighting(near, view) : null;
  }

  /** The whole picture at a scale, turned, in pieces if large. */
  *views(scale, roll) {
    const [wide, high] = [Math.max(1, Math.round(this.width * scale)), Math.max(1, Math.round(this.height * scale))];
    const [cosine, sine] = [Math.cos(roll), Math.sin(roll)];
    const [across, down] = [Math.abs(wide * cosine) + Math.abs(high * sine), Math.abs(wide * sine) + Math.abs(high * cosine)];
    const [width, height] = [Math.ceil(across - 1e-6), Math.ceil(down - 1e-6)];
    const centre = [this.width / 2, this.height / 2];
    for (const top of starts(height)) {
      for (const left of starts(width)) {
        const middle = [width / 2 - left, height / 2 - top];
        const size = [Math.min(PIECE, width), Math.min(PIECE, height)];
        yield { pixels: this.draw(size, middle, centre, roll, scale), roll, middle, centre, scale: 1 / scale };
      }
    }
  }

  /** A square of the picture at a side in pixels, at a roll; what lies outside is gray. */
  around(centre, reach, side, roll) {
    const middle = [side / 2, side / 2];
    const pixels = this.draw([side, side], middle, centre, roll, side / reach);
    return { pixels, roll, middle, centre, scale: reach / side };
  }

  draw([width, height], middle, centre, roll, scale) {
    const pen = canvasOf(width, height).getContext("2d", { willReadFrequently: true });
    pen.fillStyle = "rgb(127 127 127)";
    pen.fillRect(0, 0, width, height);
    pen.imageSmoothingQuality = "high";
    pen.translate(...middle);
    pen.rotate(-roll);
    pen.scale(scale, scale);
    pen.translate(-centre[0], -centre[1]);
    pen.drawImage(this.canvas, 0, 0);
    return pen.getImageData(0, 0, width, height);
  }

  /** What is a face in a view by at least this score: [score, left, top, width, height, five points], surest first. */
  async ask({ pixels }, least) {
    const image = rgb(pixels, STRIDES.at(-1));
    const { score, shape } = await this.network(image);
    const [, high, wide] = image.shape;
    const rows = [];
    let place = 0;
    for (const stride of STRIDES) {
      for (let y = 0; y < high; y += stride) {
        for (let x = 0; x < wide; x += stride, place++) {
          if (score[place] < least) continue;
          const at = shape.subarray(place * 14, place * 14 + 14);
          const [width, height] = [Math.exp(at[2]) * stride, Math.exp(at[3]) * stride];
          const points = Array.from(at.subarray(4), (value, n) => value * stride + (n % 2 ? y : x));
          rows.push([score[place], x + at[0] * stride - width / 2, y + at[1] * stride - height / 2, width, height, ...points]);
        }
      }
    }
    return rows.sort((one, other) => other[0] - one[0]);
  }
}

/** A face as a view shows it, in pixels of the picture. */
function sighting([score, left, top, wide, high, ...points], view) {
  const [cosine, sine] = [Math.cos(view.roll) * view.scale, Math.sin(view.roll) * view.scale];
  const there = (x, y) => {
    const [u, v] = [x - view.middle[0], y - view.middle[1]];
    return [view.centre[0] + cosine * u - sine * v, view.centre[1] + sine * u + cosine * v];
  };
  const [width, height, seen] = [wide * view.scale, high * view.scale, Math.sqrt(wide * high)];
  const five = [0, 2, 4, 6, 8].map((n) => there(points[n], points[n + 1]));
  const centre = there(left + wide / 2, top + high / 2);
  const [turned, risen] = [Math.cos(view.roll), Math.sin(view.roll)];
  const half = [Math.hypot(width * turned, height * risen) / 2, Math.hypot(width * risen, height * turned) / 2];
  return { score, centre, half, size: Math.sqrt(width * height), roll: view.roll, points: five, seen };
}

function asFace({ centre: [x, y], half: [across, down], score, points }) {
  return { box: [x - across, y - down, 2 * across, 2 * down], score: Math.min(score, 1), points };
}

function isSure(one) {
  if (one.score < (one.seen >= SMALL ? SURE : SURE_SMALL)) return false;
  return Math.abs(remainder(rollOf(one) - one.roll)) < STEEP;
}

function rollOf({ points }) {
  const [real, imaginary] = fit(points);
  return Math.atan2(imaginary, real);
}

/** Whether two are one face: their upright boxes share much of the smaller one. */
function same(one, other) {
  const shared = [0, 1].map((axis) => {
    const [a, b, off] = [one.half[axis], other.half[axis], Math.abs(one.centre[axis] - other.centre[axis])];
    return Math.max(0, Math.min(a + b - off, 2 * Math.min(a, b)));
  });
  const areas = [one, other].map(({ half }) => half[0] * half[1]);
  return shared[0] * shared[1] >= SAME * 4 * Math.min(...areas);
}

/** The surest of those rows that are one face. */
function distinct(rows) {
  const chosen = [];
  for (const row of rows) {
    const area = row[3] * row[4];
    const doubled = chosen.some((other) => {
      const across = Math.min(row[1] + row[3], other[1] + other[3]) - Math.max(row[1], other[1]);
      const down = Math.min(row[2] + row[4], other[2] + other[4]) - Math.max(row[2], other[2]);
      const shared = Math.max(across, 0) * Math.max(down, 0);
      return shared > SAME_ROW * (area + other[3] * other[4] - shared);
    });
    if (!doubled) chosen.push(row);
  }
  return chosen;
}

/** The roll at which a face is surest: the top of the parabola through the best direction and its neighbours. */
function peak(scores) {
  const odds = scores.map((score) => Math.min(Math.max(score, 0.01), 0.995)).map((share) => Math.log(share / (1 - share)));
  const best = odds.indexOf(Math.max(...odds));
  const [before, top, after] = [odds[(best + 7) % 8], odds[best], odds[(best + 1) % 8]];
  const bend = before - 2 * top + after;
  return (best + (bend < 0 ? (0.5 * (before - after)) / bend : 0)) * EIGHTH;
}

function remainder(angle) {
  return angle - 2 * Math.PI * Math.round(angle / (2 * Math.PI));
}

function scalesOf(width, height) {
  const longer = Math.max(width, height);
  const panorama = Math.min(1, (FIRST * 0.75) / Math.sqrt(width * height));
  const first = Math.max(Math.min(FIRST, Math.max(longer, SMALLEST)) / longer, panorama);
  const last = Math.max(first, Math.min(2, Math.max(1, (FIRST * CLOSER) / longer)));
  const scales = [first];
  while (scales.at(-1) * 1.3 < last) scales.push(Math.min(last, scales.at(-1) * CLOSER));
  return scales;
}

function starts(length) {
  const count = Math.max(1, Math.ceil((length - OVERLAP) / (PIECE - OVERLAP)));
  return Array.from({ length: count }, (_, n) => (count > 1 ? Math.round((n * (length - PIECE)) / (count - 1)) : 0));
}
