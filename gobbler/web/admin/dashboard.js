/**
 * The admin dashboard: which section is shown, and whether the server answers. docs/dashboard.md explains it.
 *
 * @module
 */

import { ConnectorsView } from "./connectors.js";
import { clamped, element, h, refreshTimes, setText, toast } from "./dom.js";
import { MessagesView } from "./messages.js";
import { Overview } from "./overview.js";
import { openPublisher, preparePublisher } from "./publisher.js";
import { Rates, get, setServerTime } from "./server.js";
import { SessionsView } from "./sessions.js";
import { SubscriptionsView } from "./subscriptions.js";
import { SystemView } from "./system.js";
import { TopicsView } from "./topics.js";

/**
 * @typedef {object} View a section, from when it is opened to when another one is
 * @property {string} title
 * @property {HTMLElement} element
 * @property {number} every milliseconds between refreshes; 0: never by itself
 * @property {() => Promise<void>} refresh
 * @property {() => void} [close]
 *
 * @typedef {{rates: Rates}} Page what views know of the page
 */

/** @type {Record<string, new (page: Page, parameters: URLSearchParams) => View>} */
const VIEWS = {
  overview: Overview,
  topics: TopicsView,
  messages: MessagesView,
  sessions: SessionsView,
  subscriptions: SubscriptionsView,
  connectors: ConnectorsView,
  system: SystemView,
};
const STATUS_EVERY = 30_000;
const TIMES_EVERY = 5_000;
/** How much longer than an answer took the pause behind it is, at least. */
const REST_TIMES = 10;

class Dashboard {
  rates = new Rates();
  /** @type {View | undefined} */
  #view;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #busy = false;

  start() {
    window.addEventListener("hashchange", () => this.#open(true));
    document.addEventListener("visibilitychange", () => document.hidden || this.#refresh());
    this.rates.addEventListener("state", () => this.#stateChanged());
    this.rates.addEventListener("restart", () => {
      toast("The server has been started again.");
      this.#askStatus();
      this.#refresh();
    });
    element("skip").addEventListener("click", (event) => {
      event.preventDefault(); // the address says which section is shown
      element("main").focus();
    });
    preparePublisher(() => this.#refresh());
    element("publish").addEventListener("click", () => openPublisher());
    setInterval(refreshTimes, TIMES_EVERY);
    setInterval(() => document.hidden || this.#askStatus(), STATUS_EVERY);
    this.#askStatus();
    this.rates.start();
    this.#open(false);
  }

  /** @param {boolean} chosen whether somebody has chosen another section */
  #open(chosen) {
    const [name, query] = location.hash.slice(1).split("?", 2);
    const known = name in VIEWS ? name : "overview";
    this.#view?.close?.();
    const view = new VIEWS[known](this, new URLSearchParams(query ?? ""));
    this.#view = view;
    for (const link of element("sections").querySelectorAll("a")) {
      if (link.hash === `#${known}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      if (link.hash === `#${known}`) link.scrollIntoView({ block: "nearest", inline: "center" });
    }
    document.title = `${view.title} · Gobbler`;
    const heading = clamped(h("h1", { tabindex: -1 }, view.title));
    element("main").replaceChildren(heading, h("p", { id: "loading", class: "empty loading" }, "Loading …"), view.element);
    if (chosen) {
      window.scrollTo(0, 0);
      heading.focus({ preventScroll: true });
    }
    this.#busy = false;
    this.#refresh();
  }

  async #refresh() {
    clearTimeout(this.#timer);
    const view = this.#view;
    if (!view || this.#busy) return;
    this.#busy = true;
    const begun = performance.now();
    try {
      await view.refresh();
      if (view === this.#view) showProblem("");
    } catch (error) {
      if (view === this.#view && this.rates.reachable !== false) showProblem(String(Object(error).message));
    }
    if (view !== this.#view) return; // another one was opened meanwhile, and has its own turn
    this.#busy = false;
    // What takes the server long, with a hundred thousand topics, is not asked for all the time.
    const wait = Math.max(view.every, REST_TIMES * (performance.now() - begun));
    if (view.every && !document.hidden) this.#timer = setTimeout(() => this.#refresh(), wait);
  }

  #stateChanged() {
    const here = this.rates.reachable === true;
    element("state").dataset.state = here ? "live" : "away";
    setText(element("state-text"), here ? "Live" : "Reconnecting …");
    element("away").hidden = here;
    document.body.classList.toggle("stale", !here);
    if (here) this.#refresh();
  }

  async #askStatus() {
    try {
      const status = await get("/admin/api/status");
      setServerTime(status.time);
      setText(element("environment"), status.environment);
      element("environment").hidden = false;
    } catch {
      // Whether the server answers is what the rates tell.
    }
  }
}

/** @param {string} text what is wrong with the section that is shown; "" where nothing is */
function showProblem(text) {
  document.getElementById("loading")?.remove();
  const known = document.getElementById("problem");
  if (!text) known?.remove();
  else if (known) setText(known, text);
  else element("main").querySelector("h1")?.after(h("p", { id: "problem", class: "problem box", role: "alert" }, text));
}

new Dashboard().start();
