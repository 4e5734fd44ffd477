// Where photos come from: a file that is chosen, dropped or pasted, or a sample.

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
