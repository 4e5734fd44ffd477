// One face's reading in bars and plain words.

import { nameOf, percent } from "./photo.js";

const $ = (id) => document.getElementById(id);
const FLAT = 0.4; // below this share no answer is a name
const CLOSE = 0.25; // with less between the two best, they are named both
const CLEAR = 0.25; // entropy
const MIXED = 0.5;

export class Words {
  /** Show a face, of so many. */
  show(face, count) {
    const [best, second] = Object.entries(face.probabilities).sort((a, b) => b[1] - a[1]);
    $("which").textContent = count > 1 ? `Face ${face.face + 1} of ${count}` : "One face";
    const share = document.createElement("span");
    share.textContent = percent(face.probabilities[face.emotion]);
    $("emotion").replaceChildren(capital(face.emotion) + (face.unsure ? "? " : " "), share);
    $("sure").textContent = sureness(face, best, second);
    const shares = Object.entries(face.probabilities);
    while ($("bars").children.length < shares.length) $("bars").append(bar());
    shares.forEach(([name, value], place) => fill($("bars").children[place], name, value, name === face.emotion));
    $("spread").style.width = `${face.entropy * 100}%`;
    $("spread-value").textContent = Math.round(face.entropy * 100);
  }

  /** Show that there is no face, and say why. */
  none(why) {
    $("which").textContent = "";
    $("emotion").textContent = "No face yet";
    $("sure").textContent = why;
    for (const item of $("bars").children) {
      fill(item, item.firstChild.textContent, 0, false);
      item.lastChild.textContent = ""; // not 0%: nothing is known
    }
    $("spread").style.width = "0";
    $("spread-value").textContent = "";
  }
}

/** How sure the answer is, in a sentence. */
function sureness(face, [first, share], [second, next]) {
  if (face.unsure && share < FLAT) return "Unsure: no expression stands out.";
  if (face.unsure && share - next < CLOSE) return `Unsure: too close to call between ${first} and ${second}.`;
  if (face.unsure) return "Unsure: answers on faces like this one are often wrong.";
  if (face.entropy < CLEAR) return "Clear: one expression stands out.";
  if (face.entropy < MIXED) return `Fairly clear, with a touch of ${second}.`;
  return `Mixed: ${second} is not far behind.`;
}

/** What a screen reader is told when a face is chosen. */
export function spoken(face, count) {
  return `Face ${face.face + 1} of ${count}: ${nameOf(face)}. ${$("sure").textContent}`;
}

function bar() {
  const item = document.createElement("li");
  const [label, track, value] = ["span", "span", "b"].map((tag) => document.createElement(tag));
  track.className = "bar";
  track.setAttribute("aria-hidden", "true");
  track.append(document.createElement("i"));
  item.append(label, track, value);
  return item;
}

/** Fill a bar anew rather than make a new one, so that it moves to where it belongs. */
function fill(item, name, share, best) {
  const [label, track, value] = item.children;
  item.classList.toggle("best", best);
  label.textContent = name;
  track.firstChild.style.width = `${share * 100}%`;
  value.textContent = percent(share);
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
