// Ask the server that this page came from; nothing else is ever asked.

/** What went wrong, in the words of the server's problem document (RFC 9457) or in ours. */
export class Problem extends Error {
  constructor({ title, detail = "", status = 0, type = "about:blank", retry = 0 }) {
    super(title);
    Object.assign(this, { title, detail, status, type, retry });
  }
}

const SILENT = new Problem({
  title: "The server does not answer",
  detail: "Is pfvit serve still running? Start it again, then try once more.",
});
const BYTES = "application/octet-stream"; // the server looks for itself what they are
/** A busy server says when to come back; the page does so this often before it tells a person. */
const TRIES = 4;
const LONGEST_WAIT = 3; // seconds

let key = null; // kept in memory alone

/** Send this API key from now on. */
export function unlock(value) {
  key = value;
}

/** The faces in a photo (a Blob): `{model, images}` as in `pfvit predict --json`. */
export async function read(photo, { whole = false, signal } = {}) {
  const answer = await post(`v1/read?whole=${whole}`, photo, "application/json", signal);
  const reading = await answer.json();
  const problem = reading.images[0].problem;
  if (problem) throw typeof problem === "string" ? new Problem({ title: problem }) : new Problem(problem);
  return reading;
}

/** A picture of one face, or of the photo with it, as a Blob. */
export async function draw(photo, { view, strength = 1, face = 0, whole = false, accept = "image/png", signal }) {
  const query = new URLSearchParams({ view, strength, face, whole });
  return (await post(`v1/poker?${query}`, photo, accept, signal)).blob();
}

/** What the server says about its model. */
export async function model() {
  const answer = await fetch("v1/model", { headers: headers() });
  if (!answer.ok) throw await told(answer);
  return answer.json();
}

async function post(path, body, accept, signal) {
  for (let attempt = 1; ; attempt++) {
    const answer = await send(path, body, accept, signal);
    if (answer.ok) return answer;
    const problem = await told(answer);
    if (problem.status !== 429 || attempt === TRIES) throw problem;
    await pause(Math.min(problem.retry || 1, LONGEST_WAIT), signal);
  }
}

async function send(path, body, accept, signal) {
  try {
    return await fetch(path, {
      method: "POST",
      body,
      signal,
      headers: headers({ Accept: accept, "Content-Type": body.type.startsWith("image/") ? body.type : BYTES }),
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : SILENT;
  }
}

function headers(others = {}) {
  return key ? { ...others, Authorization: `Bearer ${key}` } : others;
}

async function told(answer) {
  let document = {};
  try {
    if (answer.headers.get("Content-Type")?.includes("json")) document = await answer.json();
  } catch {
    // Cut off on the way: the status has to do.
  }
  return new Problem({
    title: document.title || `The server answers ${answer.status}`,
    detail: typeof document.detail === "string" ? document.detail : "",
    type: document.type,
    status: answer.status,
    retry: Number(answer.headers.get("Retry-After")) || 0,
  });
}

/** Wait, unless it becomes stale meanwhile. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const clock = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(clock);
      reject(new DOMException("stale", "AbortError"));
    });
  });
}

/** Work on one wish at a time; of those that come meanwhile only the latest is kept. Nothing is ever queued. */
export class Latest {
  #wish = null;
  #running = null;
  #abort = null;

  /** `work(wish, signal)` returns a promise; `trouble(error)` hears what fails. */
  constructor(work, trouble) {
    this.work = work;
    this.trouble = trouble;
  }

  ask(wish) {
    this.#wish = { wish };
    this.#running ??= this.#run();
    return this.#running;
  }

  /** Whether something newer is wished for already. */
  get overtaken() {
    return this.#wish !== null;
  }

  /** Forget what is wished for, and break off what is being worked on. */
  stop() {
    this.#wish = null;
    this.#abort?.abort();
  }

  async #run() {
    while (this.#wish) {
      const { wish } = this.#wish;
      this.#wish = null;
      this.#abort = new AbortController();
      try {
        await this.work(wish, this.#abort.signal);
      } catch (error) {
        if (error.name !== "AbortError") this.trouble(error);
      }
    }
    this.#running = null;
  }
}
