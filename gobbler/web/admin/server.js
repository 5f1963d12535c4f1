/**
 * Asking the server; whether it answers; and the rates, which are asked for each second.
 *
 * @module
 */

const PATIENCE = 15_000;
/** Samples need no looking for: who does not give them for so long is away. */
const RATES_PATIENCE = 4_000;
const EVERY = 1_000;
const AWAY_EVERY = 1_500;
const KEPT_SECONDS = 300;

/** The server refused, and says why. */
export class Refused extends Error {}

/** The server does not answer. */
export class Unreachable extends Error {}

/**
 * @typedef {Record<string, any>} Json
 * @typedef {{time: number, rates: Record<string, number>, levels: Record<string, number>}} Point
 */

let offset = 0;

/** The time as the server has it, unix seconds. */
export function serverTime() {
  return Date.now() / 1000 + offset;
}

/** @param {number} time the server's, now */
export function setServerTime(time) {
  offset = time - Date.now() / 1000;
}

/**
 * @param {string} path
 * @param {Record<string, string | number | undefined>} [parameters]
 * @param {number} [patience] milliseconds
 * @returns {Promise<Json>}
 */
export function get(path, parameters = {}, patience = PATIENCE) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return ask(query ? `${path}?${query}` : path, {}, patience);
}

/**
 * @param {string} path
 * @param {Json} body
 */
export function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) }, PATIENCE);
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @param {number} patience milliseconds
 * @returns {Promise<Json>}
 */
async function ask(path, options, patience) {
  const headers = { Accept: "application/json", ...options.headers };
  let answer;
  let said;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", signal: AbortSignal.timeout(patience) });
    said = await answer.json();
  } catch {
    throw new Unreachable("the server does not answer");
  }
  if (!answer.ok) throw new Refused(said.error ?? `the server answers ${answer.status}`);
  return said;
}

/**
 * What the server has counted within the last five minutes. Tells `change` after each sample,
 * `state` when the server goes away or comes back, and `restart` when it is another one.
 */
export class Rates extends EventTarget {
  /** @type {Point[]} */
  points = [];
  /** @type {boolean | null} null: not known yet */
  reachable = null;
  /** @type {string | null} */
  #server = null;
  /** @type {number[] | null} */
  #last = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  start() {
    document.addEventListener("visibilitychange", () => this.#soon(0));
    this.#soon(0);
  }

  /** @param {number} milliseconds */
  #soon(milliseconds) {
    clearTimeout(this.#timer);
    // Nobody looks: the server keeps the past for when somebody does.
    if (document.hidden) return;
    this.#timer = setTimeout(() => this.#ask(), milliseconds);
  }

  async #ask() {
    try {
      this.#take(await get("/admin/api/rates", { after: this.#last?.[0] ?? 0 }, RATES_PATIENCE));
      this.#reached(true);
    } catch {
      this.#reached(false);
    }
    this.#soon(this.reachable ? EVERY : AWAY_EVERY);
  }

  /** @param {boolean} reachable */
  #reached(reachable) {
    if (reachable === this.reachable) return;
    this.reachable = reachable;
    this.dispatchEvent(new Event("state"));
  }

  /** @param {Json} answer */
  #take({ server, fields, samples }) {
    const another = this.#server !== null && server !== this.#server;
    this.#server = server;
    if (another) {
      this.#last = null; // its counters begin at nothing
      this.dispatchEvent(new Event("restart"));
    }
    for (const sample of samples) this.#add(fields, sample);
    const begin = (this.points.at(-1)?.time ?? 0) - KEPT_SECONDS;
    this.points = this.points.filter((point) => point.time > begin);
    if (samples.length) this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {string[]} fields
   * @param {number[]} sample
   */
  #add(fields, sample) {
    const before = this.#last;
    this.#last = sample;
    if (!before || sample[0] <= before[0]) return;
    const seconds = sample[1] - before[1];
    if (seconds <= 0) return; // the clock was set back
    const named = (/** @type {(index: number) => number} */ value) =>
      Object.fromEntries(fields.slice(2).map((name, index) => [name, value(index + 2)]));
    this.points.push({
      time: sample[1],
      rates: named((index) => Math.max(0, sample[index] - before[index]) / seconds),
      levels: named((index) => sample[index]),
    });
  }
}
