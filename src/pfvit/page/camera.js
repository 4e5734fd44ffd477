// The webcam: one frame as a photo, or frame after frame as fast as they are read; late frames are dropped.

const $ = (id) => document.getElementById(id);
const WIDE = 640; // pixels of a live frame
const QUALITY = 0.85; // of its JPEG
const COUNTED = 10; // frames over which the pace is averaged

/** Ask a person for the camera; throws what getUserMedia throws. It is let go if `signal` says that it is late. */
export async function ask(signal) {
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("no camera here", "NotSupportedError");
  const wanted = { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "user" };
  const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  if (signal.aborted) end(stream);
  signal.throwIfAborted();
  return stream;
}

export class Camera {
  #stream = null;
  #live = false;
  #loop = null;

  get live() {
    return this.#live;
  }

  /** Show what a camera sees; `lost` hears if it is unplugged. */
  async start(stream, lost) {
    this.#stream = stream;
    for (const track of stream.getTracks()) track.addEventListener("ended", lost);
    const video = $("video");
    video.srcObject = stream;
    await video.play();
    return video;
  }

  stop() {
    this.#live = false;
    if (this.#stream) end(this.#stream);
    this.#stream = null;
    $("video").srcObject = null;
  }

  pause() {
    this.#live = false;
  }

  /** What the camera sees now, mirrored as it is shown, as a JPEG. */
  frame(most = Infinity) {
    const video = $("video");
    const scale = Math.min(1, most / video.videoWidth);
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(-1, 0, 0, 1, canvas.width, 0);
    pen.drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  }

  /** Give one frame after the other to `work`, none before the last is done, until paused; `pace` hears frames per s. */
  follow(work, pace) {
    this.#live = true;
    this.#loop ??= this.#run(work, pace).finally(() => (this.#loop = null));
    return this.#loop;
  }

  async #run(work, pace) {
    const times = [];
    while (this.#live) {
      await work(await this.frame(WIDE));
      times.push(performance.now());
      if (times.length > COUNTED) times.shift();
      if (times.length > 1) pace(((times.length - 1) * 1000) / (times.at(-1) - times[0]));
      await new Promise(requestAnimationFrame); // also rests while the page is hidden
    }
  }
}

function end(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** Say to a person why there is no camera. */
export function whyNot(error) {
  const known = {
    NotAllowedError: "The browser was told not to share it. Allow the camera for this page, then try again.",
    NotFoundError: "No camera is connected.",
    NotReadableError: "Another program is using it. Close that, then try again.",
    NotSupportedError: "Browsers share it only with pages from this computer or over https.",
  };
  return known[error.name] ?? error.message;
}
