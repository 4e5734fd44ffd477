// The photo with its faces: a button over each, and a strip of them for fingers.

const NAME = 140; // pixels that a name over a face takes; with less for each, only the chosen face shows its own
const THUMB = 56; // pixels, of a face in the strip
const AROUND = 1.25; // how much of the photo a thumb shows, in boxes

const QUALITY = 0.95; // of a photo that is made a JPEG
const MOST = 16e6; // its pixels: phones have no larger canvas

const $ = (id) => document.getElementById(id);

/** "happiness 97%", with a question mark where the answer is too close to call, as on the command line. */
export function nameOf(face) {
  return `${face.emotion}${face.unsure ? "?" : ""} ${percent(face.probabilities[face.emotion])}`;
}

/** A share in whole percent; what is not quite all of it does not pass for it. */
export function percent(share) {
  return share < 1 && share >= 0.995 ? ">99%" : `${Math.round(share * 100)}%`;
}

/** A picture that the page shows, as a Blob. */
export function asJpeg(picture) {
  const { naturalWidth: wide, naturalHeight: high } = picture;
  const scale = Math.min(1, Math.sqrt(MOST / (wide * high)));
  const canvas = Object.assign(document.createElement("canvas"), { width: wide * scale, height: high * scale });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

export class Photo {
  /** `choose(index)` hears which face was chosen. */
  constructor(choose) {
    this.choose = choose;
    this.chosen = 0;
    $("boxes").addEventListener("keydown", (event) => this.#keys(event));
  }

  /** Show a picture of this size; an element to draw thumbs from comes with its faces. */
  shape(width, height) {
    $("frame").style.setProperty("--ratio", width / height);
    $("frame").style.setProperty("--wide", `${Math.max(width, 320)}px`);
  }

  clear() {
    $("boxes").replaceChildren();
    $("strip").replaceChildren();
    $("strip").hidden = true;
  }

  /** Put a button over every face of one image of a reading; `picture` is what they were read in. */
  faces({ width, height, faces }, picture, chosen = 0, strip = true) {
    const had = $("boxes").contains(document.activeElement);
    $("boxes").classList.toggle("crowd", faces.length * NAME > $("frame").clientWidth);
    $("boxes").replaceChildren(...faces.map((face, index) => this.#button(face, index, faces.length, width, height)));
    $("strip").hidden = !strip || faces.length < 2;
    if (!$("strip").hidden) {
      $("strip").replaceChildren(...faces.map((face, index) => this.#thumb(face, index, picture, width)));
    }
    this.mark(chosen);
    if (had) $("boxes").children[chosen]?.focus();
  }

  /** Show one face as the chosen one. */
  mark(chosen) {
    this.chosen = chosen;
    for (const group of [$("boxes"), $("strip")]) {
      [...group.children].forEach((button, index) => {
        button.setAttribute("aria-pressed", index === chosen);
        if (group.id === "boxes") button.tabIndex = index === chosen ? 0 : -1;
      });
    }
    const thumb = $("strip").children[chosen];
    if (thumb) $("strip").scrollLeft = thumb.offsetLeft - $("strip").clientWidth / 2 + thumb.offsetWidth / 2;
  }

  #button(face, index, count, width, height) {
    const [left, top, wide, high] = face.box;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "box";
    button.setAttribute("aria-label", `Face ${index + 1} of ${count}: ${nameOf(face)}`);
    const places = { left: left / width, top: top / height, width: wide / width, height: high / height };
    for (const [side, share] of Object.entries(places)) button.style[side] = `${share * 100}%`;
    button.classList.toggle("low", top / height < 0.08);
    button.classList.toggle("right", (left + wide / 2) / width > 0.5);
    const tag = document.createElement("span");
    tag.textContent = nameOf(face);
    button.append(tag);
    button.addEventListener("click", () => this.choose(index));
    return button;
  }

  #thumb(face, index, picture, width) {
    const [left, top, wide, high] = face.box;
    const scale = (picture.naturalWidth || picture.videoWidth || picture.width) / width;
    const side = Math.max(wide, high) * AROUND;
    const x = left + wide / 2 - side / 2;
    const y = top + high / 2 - side / 2;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = THUMB * 2;
    const pen = canvas.getContext("2d");
    pen.drawImage(picture, x * scale, y * scale, side * scale, side * scale, 0, 0, canvas.width, canvas.height);
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = -1; // the boxes are what keys reach
    button.append(canvas);
    button.addEventListener("click", () => this.choose(index));
    return button;
  }

  #keys(event) {
    const count = $("boxes").children.length;
    const to = {
      ArrowRight: this.chosen + 1,
      ArrowDown: this.chosen + 1,
      ArrowLeft: this.chosen - 1,
      ArrowUp: this.chosen - 1,
      Home: 0,
      End: count - 1,
    }[event.key];
    if (to === undefined || !count || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const index = (to + count) % count;
    this.choose(index);
    $("boxes").children[index].focus();
  }
}
