// Where photos come from: a file that is chosen, dropped or pasted, a sample, or the browser's Back and Forward.

import { Problem } from "./latest.js";

const $ = (id) => document.getElementById(id);

/** Give every photo that comes in to `open(blob, name)`; `trouble(error, name)` hears of what does not come in. */
export function listen(open, trouble) {
  const take = (files) => {
    const file = [...files].find(({ type }) => type.startsWith("image/")) ?? files[0];
    if (!file) return;
    open(file, file.name || "pasted.png");
    const detail = `Of ${files.length} files the others were left out.`;
    if (files.length > 1) trouble(new Problem({ title: "One photo is opened at a time", detail, status: 413 }));
  };

  for (const id of ["choose", "another"]) $(id).addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    take($("file").files);
    $("file").value = ""; // so that the same file can be chosen again
  });

  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", async () => {
      const name = button.dataset.sample.split("/").pop();
      const sample = await fetch(button.dataset.sample).then((answer) => answer.ok && answer.blob()).catch(() => null);
      const detail = "Is the server of this page still there?";
      if (sample) open(sample, name);
      else trouble(new Problem({ title: "The sample does not come", detail, status: 404 }), name);
    });
  }

  document.addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));

  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    take(event.dataTransfer.files);
  });
}

/** What Back and Forward lead to. The photos are kept in memory alone, until the page is left; history has a number. */
export class Visits {
  #photos = new Map();
  #here;

  /** `open(blob, name, whole)` hears of a photo that is come back to, `start()` of anything else. */
  constructor(open, start) {
    this.add(null, true);
    addEventListener("popstate", ({ state }) => {
      if (state === null) history.replaceState(this.#here, ""); // a link within the page
      if (state === null || state === this.#here) return;
      this.#here = state;
      const photo = this.#photos.get(state);
      if (photo) open(copy(photo.blob), photo.name, photo.whole);
      else start();
    });
  }

  /** Something is opened: {blob, name, whole}, or null for what nothing leads back to. It may take the last one's place. */
  add(photo, instead) {
    this.#here = performance.timeOrigin + performance.now(); // no other page's either
    if (photo) this.#photos.set(this.#here, { ...photo, blob: copy(photo.blob) });
    history[instead ? "replaceState" : "pushState"](this.#here, "");
  }
}

/** The same content in another Blob: what is known of a Blob (browser/api.js), its pixels, lives as long as it does. */
function copy(blob) {
  return blob.slice(0, blob.size, blob.type);
}
