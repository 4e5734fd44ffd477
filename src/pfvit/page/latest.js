// What asking for something takes, whoever answers: problems, waiting, and one wish at a time.

/** What went wrong, in the words of the server's problem document (RFC 9457) or in ours. */
export class Problem extends Error {
  constructor({ title, detail = "", status = 0, type = "about:blank", retry = 0 }) {
    super(title);
    Object.assign(this, { title, detail, status, type, retry });
  }
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
