// Ask the server that this page came from; nothing else is ever asked.

import { Problem, pause } from "./latest.js";

/** A server answers, rather than this browser itself (browser/api.js). */
export const SERVED = true;

const SILENT = new Problem({
  title: "The server does not answer",
  detail: "Is pfvit serve still running? Start it again, then try once more.",
});
const UNREADABLE = new Problem({
  title: "The file cannot be read",
  detail: "Is it a folder, or was it changed or moved after it was chosen? Choose the photo again.",
  status: 400,
});
const BYTES = "application/octet-stream"; // the server looks for itself what they are
/** A busy server says when to come back; the page does so this often before it tells a person. */
const TRIES = 4;
const LONGEST_WAIT = 3; // seconds

let key = null; // kept in memory alone

/** Send this API key from now on. */
export function unlock(value) {
  key = String.fromCharCode(...new TextEncoder().encode(value)); // a header takes bytes, not letters beyond them
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
    if (answer.ok && /json|image/.test(answer.headers.get("Content-Type"))) return answer;
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
      redirect: "manual", // pfvit sends nobody elsewhere, but proxies do, to log in
      headers: headers({ Accept: accept, "Content-Type": body.type.startsWith("image/") ? body.type : BYTES }),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw (await isReadable(body)) ? SILENT : UNREADABLE;
  }
}

function isReadable(file) {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

function headers(others = {}) {
  return key ? { ...others, Authorization: `Bearer ${key}` } : others;
}

/** What a person can do where something in between answers: pfvit's own problems have a title. */
function strange({ ok, status }) {
  const size = "It takes no photos of this size: choose a smaller one, or ask who runs it.";
  const login = "Perhaps it wants you to log in again, or does not reach pfvit. Load this page anew.";
  return {
    title: `A proxy answers in pfvit’s place${ok || !status ? "" : `: ${status}`}`,
    detail: status === 413 ? size : login,
    status: ok ? 0 : status,
  };
}

/** What a person can do about a key; the server tells programs in which header it goes. */
function keyHint() {
  return key ? "The key that was given is not the right one." : "Whoever runs this server can give it to you.";
}

async function told(answer) {
  let document = {};
  try {
    if (answer.headers.get("Content-Type")?.includes("json")) document = await answer.json();
  } catch {
    // Cut off on the way: the status has to do.
  }
  if (!document.title) return new Problem(strange(answer));
  return new Problem({
    title: document.title,
    detail: answer.status === 401 ? keyHint() : typeof document.detail === "string" ? document.detail : "",
    type: document.type,
    status: answer.status,
    retry: Number(answer.headers.get("Retry-After")) || 0,
  });
}
