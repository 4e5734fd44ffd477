// The chosen face: before and after, the expression dial, reconstruction and expression map.

import { draw } from "./api.js";
import { Latest, pause } from "./latest.js";
import { say } from "./states.js";

const $ = (id) => document.getElementById(id);
const LIVE_SIDE = 384; // larger faces are turned at this size while the dial moves, and once more in full when it rests
const REST = 0.25; // seconds
const ENDS = { face: 0, poker: 1 }; // views that are places on the dial
const CALM = 0.5; // a face that is likelier neutral than not has little to remove
const KEY_STEP = 5; // of 100
const CATCH = 3; // a pointer this near to "as is" means it
const GLIDE = 500; // milliseconds
const EXPLAIN = {
  face: "The face as it was cut out of the photo, upright.",
  reconstruction: "What the model draws from what it keeps of the face: a small picture.",
  poker: "The face with its expression removed: your photo's own pixels, moved.",
  map: "Where taking the expression off changes the face, from dark (little) to light (most).",
  calm: "This face looks neutral already, so there is little to remove.",
  between: "The face with part of its expression removed.",
  more: "The face with more of its expression than it has.",
};

export class Lab {
  /** `trouble(error)` hears what fails, `turned(strength)` where the dial is. */
  constructor(trouble, turned) {
    this.trouble = trouble;
    this.turned = turned;
    this.view = "dial";
    this.pictures = {};
    this.dial = new Latest((strength, signal) => this.#turn(strength, signal), trouble);
    this.rest = new Latest((strength, signal) => this.#refine(strength, signal), trouble);
    $("dial").addEventListener("input", () => this.#dragged());
    $("dial").addEventListener("keydown", (event) => this.#keys(event));
    $("dial").addEventListener("pointerdown", () => (this.held = true));
    window.addEventListener("pointerup", () => (this.held = false));
    for (const mark of document.querySelectorAll("[data-to]")) {
      mark.addEventListener("click", () => this.#glide(Number(mark.dataset.to)));
    }
    for (const button of document.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => this.#look(button.dataset.view));
    }
    $("split").addEventListener("input", () => this.#part());
    this.#part();
    this.#tell();
  }

  get strength() {
    return Number($("dial").value) / 100;
  }

  /** Show a face of a photo; `whole` where the photo is the face. */
  async show(photo, { face, probabilities }, whole) {
    this.clear();
    this.calm = probabilities.neutral > CALM;
    this.#tell();
    this.stale = new AbortController();
    const { signal } = this.stale;
    $("viewer").setAttribute("aria-busy", true);
    try {
      this.cut = draw(photo, { view: "face", face, whole, signal });
      this.crop = await this.cut;
      const picture = await createImageBitmap(this.crop);
      this.live = await atMost(LIVE_SIDE, picture, this.crop);
      signal.throwIfAborted();
      this.pictures = { face: picture };
      paint($("before"), picture);
      this.#tile("face", picture);
      for (const view of ["poker", "reconstruction", "map"]) {
        const drawn = await draw(this.live, { view, whole: true, signal });
        this.pictures[view] = await createImageBitmap(drawn);
        signal.throwIfAborted();
        this.#tile(view, this.pictures[view]);
        if (view === "poker") await this.#show();
      }
      if (this.view !== "dial") await this.#show();
    } catch (error) {
      if (error.name !== "AbortError") this.trouble(error);
    } finally {
      if (!signal.aborted) $("viewer").setAttribute("aria-busy", false);
    }
  }

  /** Break off what is under way. */
  clear() {
    this.stale?.abort();
    this.dial.stop();
    this.rest.stop();
    this.pictures = {};
    this.crop = this.live = null;
    delete $("viewer").dataset.shown;
  }

  /** What stands beside the face as it is, in words. */
  get shown() {
    return this.view === "dial" ? place(this.strength) : tile(this.view).textContent.toLowerCase();
  }

  /** The same picture in the face's own size, as a PNG. */
  async save() {
    const { view, strength } = this;
    const crop = await this.cut;
    if (view === "dial" && strength === 0) return crop;
    return draw(crop, { view: view === "dial" ? "poker" : view, strength, whole: true });
  }

  #dragged() {
    if (this.held && Math.abs($("dial").value) <= CATCH) $("dial").value = 0;
    cancelAnimationFrame(this.gliding);
    this.#moved();
  }

  #keys(event) {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    $("dial").value = Number($("dial").value) + step * KEY_STEP;
    this.#dragged();
  }

  #look(view) {
    if (view in ENDS) {
      this.#glide(ENDS[view] * 100);
      return;
    }
    cancelAnimationFrame(this.gliding);
    this.view = view;
    this.#tell();
    this.#show();
  }

  /** Move the dial there as a hand would, or at once for people who want no motion. */
  #glide(to) {
    cancelAnimationFrame(this.gliding);
    const from = Number($("dial").value);
    const start = performance.now();
    const lasts = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : GLIDE;
    const step = (now) => {
      const share = lasts ? Math.min(Math.max((now - start) / lasts, 0), 1) : 1;
      const eased = share * share * (3 - 2 * share);
      $("dial").value = from + (to - from) * eased;
      this.#moved();
      if (share < 1) this.gliding = requestAnimationFrame(step);
      else say(place(this.strength));
    };
    this.gliding = requestAnimationFrame(step);
  }

  #moved() {
    this.view = "dial";
    this.#tell();
    this.#show();
    this.turned(this.strength);
  }

  /** Bring the right half of the viewer to what is asked for. */
  async #show() {
    this.rest.stop();
    if (this.view !== "dial") {
      this.dial.stop();
      const picture = this.pictures[this.view];
      if (picture) this.#after(picture, this.view);
    } else if (this.live) {
      await this.dial.ask(this.strength);
    }
  }

  async #turn(strength, signal) {
    const known = strength === 0 ? this.pictures.face : strength === 1 ? this.pictures.poker : null;
    const picture = known ?? (await this.#drawn(this.live, strength, signal));
    if (signal.aborted || this.view !== "dial") return;
    this.#after(picture, strength.toFixed(2));
    if (picture !== known) picture.close();
    if (this.crop !== this.live && strength !== 0 && !this.dial.overtaken) this.rest.ask(strength);
  }

  /** Where the dial rests, show the face in its own size. */
  async #refine(strength, signal) {
    await pause(REST, signal);
    const picture = await this.#drawn(this.crop, strength, signal);
    if (!signal.aborted) this.#after(picture, strength.toFixed(2));
    picture.close();
  }

  async #drawn(face, strength, signal) {
    const query = { view: "poker", strength, whole: true, accept: "image/jpeg", signal };
    return createImageBitmap(await draw(face, query));
  }

  #after(picture, shown) {
    paint($("after"), picture);
    $("viewer").dataset.shown = shown;
  }

  #tile(view, picture) {
    paint(tile(view).firstChild, picture, 160);
  }

  /** Say in words, marks and the drawn mouth where the dial is and what is shown. */
  #tell() {
    const { strength, view } = this;
    const words = place(strength);
    $("dial-value").textContent = words;
    $("dial").setAttribute("aria-valuetext", words);
    $("dial").style.setProperty("--from", `${50 + Math.min(strength, 0) * 50}%`);
    $("dial").style.setProperty("--to", `${50 + Math.max(strength, 0) * 50}%`);
    const smile = (1 - strength) * 13;
    $("mouth").setAttribute("d", `M38 ${78 - smile / 4} Q60 ${78 + smile} 82 ${78 - smile / 4}`);
    const end = Object.keys(ENDS).find((name) => view === "dial" && ENDS[name] === strength);
    const now = view === "dial" ? end : view;
    for (const button of document.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", button.dataset.view === now);
    }
    const calm = this.calm && view === "dial" && strength !== 0;
    $("explain").textContent = EXPLAIN[calm ? "calm" : (now ?? (strength < 0 ? "more" : "between"))];
    $("after-name").textContent = this.shown;
    $("after").setAttribute("aria-label", `The face, ${this.shown}`);
    $("save-face").firstChild.data = view === "dial" ? "Face " : `${tile(view).textContent} `;
  }

  #part() {
    const share = Number($("split").value);
    $("viewer").style.setProperty("--split", `${share}%`);
    $("split").setAttribute("aria-valuetext", `${share}% as is, ${100 - share}% changed`);
  }
}

function tile(view) {
  return document.querySelector(`[data-view="${view}"]`);
}

/** Where the dial is, in words. */
export function place(strength) {
  const share = Math.round(Math.abs(strength) * 100);
  if (strength === 0) return "as is";
  if (strength === 1) return "poker face";
  if (strength === -1) return "exaggerated";
  return strength > 0 ? `${share}% removed` : `${share}% exaggerated`;
}

function paint(canvas, picture, most = Infinity) {
  const scale = Math.min(1, most / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
}

/** The picture as a Blob with sides of at most so many pixels: `file` itself where it is small enough. */
async function atMost(side, picture, file) {
  if (Math.max(picture.width, picture.height) <= side) return file;
  const canvas = document.createElement("canvas");
  paint(canvas, picture, side);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
