// The page: what comes in (file, drop, paste, sample, camera), what is shown, what is saved.

import { SERVED, draw, model, read, unlock } from "./api.js";
import { Camera, ask, whyNot } from "./camera.js";
import { Visits, listen } from "./inputs.js";
import { Lab, place } from "./lab.js";
import { Latest, Problem } from "./latest.js";
import { Photo, asJpeg } from "./photo.js";
import { note, quiet, say, state, trouble } from "./states.js";
import { Words, spoken } from "./words.js";

const $ = (id) => document.getElementById(id);
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/** What to do next, where the server says it for programs. */
const HINTS = {
  "not-an-image": "Choose a JPEG, PNG, WebP or GIF. Other photos, such as an iPhone’s HEIC, can be saved as JPEG first.",
  "damaged-image": "The file did not arrive whole. Save it anew, or choose another one.",
};

const words = new Words();
const photo = new Photo(choose);
const lab = new Lab(tell, () => showInPhoto());
const camera = new Camera();
const inPhoto = new Latest(drawInPhoto, tell);
const visits = new Visits(load, start);

let now = null; // {blob, name, url, whole, reading, image, face}: the photo that is open
let stale = new AbortController();

function onCamera() {
  return document.body.dataset.state === "camera";
}

/** Open a photo. */
function open(blob, name, whole = false) {
  visits.add({ blob, name, whole }, onCamera() || now?.blob === blob);
  return load(blob, name, whole);
}

/** Show a photo, read it, choose its largest face. */
async function load(blob, name, whole) {
  leave();
  const { signal } = stale;
  const url = URL.createObjectURL(blob);
  now = { blob, name, url, whole };
  state("loading");
  note(name);
  say("Looking for faces");
  if (!document.activeElement?.checkVisibility() || document.activeElement === document.body) $("what").focus();
  scrollTo({ top: 0 });
  const shown = show(url).catch(() => null); // a TIFF, say: the server reads what this browser may not
  try {
    const started = performance.now();
    const reading = await read(blob, { whole, signal }).catch(async (error) => {
      if (!error.type?.endsWith("not-an-image") || !(await shown)) throw error;
      signal.throwIfAborted();
      blob = now.blob = await asJpeg($("picture")); // an AVIF, say: this browser reads what the server does not
      return read(blob, { whole, signal });
    });
    const took = performance.now() - started;
    const image = reading.images[0];
    for (const item of [image, ...image.faces]) item.source = name;
    Object.assign(now, { reading, image });
    if (!(await shown)) {
      now.url = URL.createObjectURL(await draw(blob, { view: "photo", strength: 0, whole: true, signal }));
      await show(now.url);
    }
    signal.throwIfAborted();
    found(image, took);
  } catch (error) {
    if (error.name === "AbortError") return;
    state("empty");
    tell(error);
  }
}

function found({ width, height, faces }, took) {
  photo.shape(width, height);
  const count = faces.length === 1 ? "1 face" : `${faces.length || "no"} faces`;
  note(now.name, `${width} × ${height} · ${count} · ${Math.round(took)} ms`);
  if (!faces.length) {
    state("faceless");
    $("picture").alt = `${now.name}: no face found`;
    trouble("No face found", "Faces from about 20 pixels, seen from the front, are found best.", { whole: true });
    return;
  }
  state("read");
  $("everyone-label").hidden = faces.length < 2;
  $("picture").alt = `${now.name}: ${count}`;
  photo.faces(now.image, $("picture"));
  choose(largest(faces));
}

/** Show one face's reading and open it in the lab. */
function choose(index) {
  if (onCamera()) {
    photo.mark(index);
    return;
  }
  const { faces } = now.image;
  now.face = index;
  photo.mark(index);
  words.show(faces[index], faces.length);
  say(spoken(faces[index], faces.length));
  lab.show(now.blob, faces[index], now.whole);
  showInPhoto();
}

function largest(faces) {
  const areas = faces.map(({ box }) => box[2] * box[3]);
  return areas.indexOf(Math.max(...areas));
}

async function show(url) {
  $("picture").src = url;
  await $("picture").decode();
  photo.shape($("picture").naturalWidth, $("picture").naturalHeight);
  return true;
}

/** The photo with the changed face, where that is switched on; else as it came. */
function showInPhoto() {
  if (now?.face === undefined) return;
  if ($("in-photo").checked) {
    inPhoto.ask({ ...now, face: chosenInPhoto(now.image, now.face), strength: lab.strength });
  } else {
    inPhoto.stop();
    setPicture(now.url);
    delete $("frame").dataset.shown;
  }
}

function chosenInPhoto({ faces }, face) {
  return $("everyone").checked && faces.length > 1 ? "all" : face;
}

async function drawInPhoto({ blob, face, whole, strength }, signal) {
  const changed = await draw(blob, { view: "photo", face, whole, strength, accept: "image/jpeg", signal });
  const url = URL.createObjectURL(changed);
  const loaded = new Image();
  loaded.src = url;
  await loaded.decode();
  if (signal.aborted || now?.blob !== blob) return URL.revokeObjectURL(url);
  setPicture(url);
  $("frame").dataset.shown = strength.toFixed(2);
}

function setPicture(url) {
  const before = $("picture").src;
  $("picture").src = url;
  if (before.startsWith("blob:") && before !== now?.url && before !== url) URL.revokeObjectURL(before);
}

// What is saved.

async function save(button, make, ending, type) {
  const { name } = now; // another photo may be open when it is made
  button.setAttribute("aria-busy", true);
  try {
    const file = await make();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(type ? new Blob([file], { type }) : file);
    const kind = file.type === "image/jpeg" ? ending.replace(".png", ".jpg") : ending;
    link.download = `${name.replace(/\.[^.]*$/, "")}${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    say(`${link.download} saved`);
  } catch (error) {
    if (error.name !== "AbortError") tell(error, name);
  } finally {
    button.setAttribute("aria-busy", false);
  }
}

/** "_65-removed.png", by the words that stand over what is saved. */
function suffix(words) {
  return `_${words.replace(/\W+/g, "-")}.png`;
}

function wholePhoto() {
  const { blob, image, face, whole } = now;
  const accept = "image/png, image/jpeg;q=0.5"; // which takes what is too large for a PNG
  return draw(blob, { view: "photo", face: chosenInPhoto(image, face), whole, strength: lab.strength, accept });
}

// The camera.

async function openCamera() {
  let { signal } = stale;
  try {
    const stream = await ask(signal);
    visits.add(null, onCamera());
    leave();
    ({ signal } = stale);
    const video = await camera.start(stream, lostCamera);
    signal.throwIfAborted();
    now = { name: "camera.jpg" };
    state("camera");
    $("everyone-label").hidden = false;
    photo.shape(video.videoWidth, video.videoHeight);
    note("Camera");
    words.none("Take the photo, or read live.");
    say("The camera is on");
    $("snap").focus();
  } catch (error) {
    if (signal.aborted) return;
    if (!now) {
      camera.stop();
      state("empty");
    }
    trouble("The camera cannot be used", whyNot(error));
  }
}

function lostCamera() {
  home();
  trouble("The camera does not answer any more", "It was unplugged, or this page may not use it any longer.");
}

async function snap() {
  const frame = await camera.frame();
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  open(frame, `camera ${time}.jpg`);
}

async function toggleLive() {
  if (camera.live) {
    camera.pause();
    return;
  }
  $("live").setAttribute("aria-pressed", true);
  await camera.follow(readFrame, (pace) => ($("pace").textContent = `${pace.toFixed(pace < 10 ? 1 : 0)} readings/s`));
  $("live").setAttribute("aria-pressed", false);
  $("pace").textContent = "";
  if (!onCamera()) return;
  photo.clear();
  $("picture").hidden = true;
}

/** Read one frame of the camera, and where it is switched on, draw it with its face changed. */
async function readFrame(frame) {
  const { signal } = stale;
  try {
    const image = (await read(frame, { signal })).images[0];
    if (!camera.live) return;
    if (!image.faces.length) {
      photo.clear();
      words.none("Look into the camera.");
      $("picture").hidden = true;
      return;
    }
    const index = Math.min(photo.chosen, image.faces.length - 1);
    if ($("in-photo").checked && lab.strength !== 0) {
      const face = chosenInPhoto(image, index);
      const query = { view: "photo", face, strength: lab.strength, accept: "image/jpeg", signal };
      const url = URL.createObjectURL(await draw(frame, query));
      setPicture(url);
      await $("picture").decode();
    }
    if (!camera.live) return;
    $("picture").hidden = !$("in-photo").checked || lab.strength === 0;
    photo.faces(image, $("video"), index, false);
    words.show(image.faces[index], image.faces.length);
  } catch (error) {
    if (error.name === "AbortError") return;
    camera.pause();
    tell(error);
  }
}

/** Break off all that belongs to what was open. */
function leave() {
  stale.abort();
  stale = new AbortController();
  camera.stop();
  lab.clear();
  inPhoto.stop();
  photo.clear();
  quiet();
  if (now?.url) URL.revokeObjectURL(now.url);
  now = null;
}

/** Tell a person what failed, with which photo; try again where that may help. */
function tell(error, name = now?.blob && now.name) {
  const problem = error instanceof Problem ? error : new Problem({ title: "The page stumbled", detail: String(error) });
  const { status, message, type } = problem;
  const detail = HINTS[type.split(":").pop()] ?? problem.detail;
  const again = now?.blob && (status === 0 || status === 429 || status >= 500);
  trouble(name && status ? `${name}: ${message}` : message, detail, { again, key: status === 401 });
}

// What buttons do.

function home() {
  if (now) visits.add(null, onCamera());
  start();
}

function start() {
  leave();
  state("empty");
  $("choose").focus({ preventScroll: true });
  scrollTo({ top: 0 });
}

function nameModel() {
  model()
    .then(({ name, version }) => ($("model").textContent = `${name} ${version}`))
    .catch(() => ($("model").textContent = "unknown"));
}

for (const button of document.querySelectorAll("[data-camera]")) button.addEventListener("click", openCamera);
$("home").addEventListener("click", home);
$("snap").addEventListener("click", snap);
$("live").addEventListener("click", toggleLive);
$("stop").addEventListener("click", home);
for (const id of ["in-photo", "everyone"]) $(id).addEventListener("change", showInPhoto);
$("dismiss").addEventListener("click", quiet);
$("again").addEventListener("click", () => open(now.blob, now.name, now.whole));
$("as-one-face").addEventListener("click", () => open(now.blob, now.name, true));
$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  unlock($("key").value);
  quiet();
  nameModel();
  if (now?.blob) open(now.blob, now.name, now.whole);
});
$("save-face").addEventListener("click", () => save($("save-face"), () => lab.save(), `_${now.face}${suffix(lab.shown)}`));
$("save-photo").addEventListener("click", () => save($("save-photo"), wholePhoto, suffix(place(lab.strength))));
$("save-reading").addEventListener("click", () => {
  save($("save-reading"), () => `${JSON.stringify(now.reading, null, 2)}\n`, ".json", "application/json");
});

listen(open, tell);
if (!SERVED) {
  document.querySelector("[data-where]").textContent = "Faces never leave this browser, and nothing is stored.";
  document.querySelector("[data-where-long]").textContent =
    "It is read in this browser, on this device, and is forgotten when you close the page.";
  document.querySelector("#drop .fine").textContent = "JPEG, PNG, WebP or GIF";
  document.querySelector('a[href="docs"]').remove();
} else if (LOOPBACK.includes(location.hostname)) {
  document.querySelector("[data-where]").textContent = "Faces never leave this computer, and nothing is stored.";
} else {
  document.querySelector("[data-where]").textContent =
    `Photos go to ${location.host} and no further. Nothing is stored.`;
}
nameModel();
