// What the page shows as a whole (empty, loading, read, faceless, camera), and what it says.

const $ = (id) => document.getElementById(id);

/** Go to a state; the style sheet does part of the work. */
export function state(name) {
  const show = {
    start: name === "empty",
    work: name !== "empty",
    reading: name !== "faceless",
    lab: name !== "faceless",
    switches: name !== "faceless",
    video: name === "camera",
    shutter: name === "camera",
    picture: name !== "camera",
  };
  document.body.dataset.state = name;
  for (const [id, shown] of Object.entries(show)) $(id).hidden = !shown;
  $("frame").setAttribute("aria-busy", name === "loading");
}

/** Name what is open, and say a little about it. */
export function note(name, about = "") {
  const [title, rest] = [document.createElement("h1"), document.createElement("span")];
  title.textContent = name;
  rest.textContent = about;
  $("what").replaceChildren(title, rest);
}

/** Tell what went wrong, and offer what may help: again, as one whole face, an API key. */
export function trouble(title, detail, { again = false, whole = false, key = false } = {}) {
  $("trouble-title").textContent = title;
  $("trouble-detail").textContent = detail;
  $("again").hidden = !again;
  $("as-one-face").hidden = !whole;
  $("unlock").hidden = !key;
  $("trouble").hidden = false;
  if (key) $("key").focus();
  $("trouble").scrollIntoView({ block: "nearest" }); // a phone shows what asked for it far below
}

export function quiet() {
  $("trouble").hidden = true;
}

/** Say it to people who listen to the page. */
export function say(text) {
  $("say").textContent = text;
}
