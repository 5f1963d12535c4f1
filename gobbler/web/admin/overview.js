/**
 * The overview: rates, health, and whoever needs attention.
 *
 * @module
 */

import { card, cell, h, reconcile, setText, table, userCell } from "./dom.js";
import { duration, number, percent, plural, rate, size } from "./format.js";
import { Plot } from "./plots.js";
import { get, serverTime, setServerTime } from "./server.js";
import { stateOf } from "./connectors.js";
import { told } from "./system.js";

/**
 * @typedef {import("./server.js").Point} Point
 * @typedef {import("./server.js").Json} Json
 */

const SLOWEST = 5;
const HEALTH_EVERY = 5_000;
const BYTES = { thousand: 1024 };

export class Overview {
  title = "Overview";
  every = 2_000;
  #checked = -Infinity;

  /** @param {import("./dashboard.js").Page} page */
  constructor(page) {
    this.rates = page.rates;
    /** @param {string} field */
    const ofRate = (field) => (/** @type {Point} */ point) => point.rates[field] ?? 0;
    this.plots = [
      new Plot("Messages in", "/s", rate, [{ name: "in", value: ofRate("received") }]),
      new Plot("Messages out", "/s", rate, [
        { name: "live", value: ofRate("delivered") },
        { name: "replayed", value: ofRate("replayed") },
      ]),
      new Plot("Bytes in", "/s", size, [{ name: "in", value: ofRate("receivedBytes") }], BYTES),
      new Plot("Bytes out, live", "/s", size, [{ name: "out", value: ofRate("deliveredBytes") }], BYTES),
      new Plot("Sessions", "", number, [{ name: "sessions", value: (point) => point.levels.sessions }]),
      new Plot("Processor", "of one core", percent, [{ name: "used", value: ofRate("processorSeconds") }], { top: 1 }),
    ];
    this.pushes = new Plot("Pushes", "/s", rate, [
      { name: "sent", value: ofRate("pushed") },
      { name: "failed", value: ofRate("pushesFailed") },
    ]);
    this.memory = new Plot("Memory", "", size, [{ name: "used", value: (point) => point.levels.memoryBytes }], BYTES);
    this.verdict = h("p", { class: "verdict", role: "status" }, "Asking how the server is …");
    this.problems = h("ul", { class: "problems" });
    this.about = h("p", { class: "about" });
    this.facts = h("dl", { class: "facts" });
    this.grid = h("div", { class: "plots" }, ...this.plots.map((plot) => plot.element));
    const slow = table("The slowest readers", [
      { title: "User" },
      { title: "Queued", class: "number" },
      { title: "Blocked for", class: "number" },
    ]);
    this.slow = slow.body;
    this.noSlow = h("p", { class: "empty", hidden: true }, "Everybody keeps up.");
    this.connectors = h("ul", { class: "lines" });
    this.noConnectors = h("p", { class: "empty", hidden: true }, "No connector is turned on.");
    this.element = h(
      "div",
      {},
      h("div", { class: "health" }, this.verdict, this.problems, this.about),
      this.grid,
      h(
        "div",
        { class: "cards" },
        card("Server", "", this.facts),
        card("Slow readers", "", slow.table, this.noSlow, h("a", { href: "#sessions" }, "All sessions")),
        card("Connectors", "", this.connectors, this.noConnectors, h("a", { href: "#connectors" }, "All connectors")),
      ),
    );
    this.show = () => this.#showRates();
    this.rates.addEventListener("change", this.show);
    if (this.rates.points.length) this.#showRates();
  }

  close() {
    this.rates.removeEventListener("change", this.show);
  }

  #showRates() {
    const points = this.rates.points;
    if (points.at(-1)?.rates.pushed !== undefined && !this.pushes.element.isConnected) {
      // Eight, so that the last row is full as it is with six.
      this.plots = [...this.plots.slice(0, 4), this.pushes, ...this.plots.slice(4), this.memory];
      this.grid.classList.add("eight");
      this.grid.replaceChildren(...this.plots.map((plot) => plot.element));
    }
    for (const plot of this.plots) plot.update(points);
  }

  async refresh() {
    const [status, sessions, { connectors }, storage] = await Promise.all([
      get("/admin/api/status"),
      get("/admin/api/sessions", { limit: SLOWEST }),
      get("/admin/api/connectors"),
      get("/admin/api/storage"),
    ]);
    setServerTime(status.time);
    this.#showFacts(status, storage, sessions);
    this.#showSlow(sessions);
    this.#showConnectors(connectors);
    if (performance.now() - this.#checked < HEALTH_EVERY) return;
    this.#showHealth((await get("/admin/api/health")).checks);
    this.#checked = performance.now();
  }

  /** @param {Json[]} checks */
  #showHealth(checks) {
    const ill = checks.filter((check) => check.problem);
    this.verdict.dataset.state = ill.length ? "bad" : "good";
    setText(
      this.verdict,
      ill.length
        ? `${plural(ill.length, "check")} of ${checks.length} ${ill.length === 1 ? "fails" : "fail"}`
        : `All ${checks.length} health checks pass`,
    );
    reconcile(
      this.problems,
      ill,
      (check) => `${check.name} ${check.problem}`,
      (check) => h("li", {}, h("strong", {}, check.name), ": ", told(check)),
    );
  }

  /**
   * @param {Json} status
   * @param {Json} storage
   * @param {Json} sessions
   */
  #showFacts(status, storage, sessions) {
    const measured = storage.measured ?? {};
    setText(this.about, `Version ${status.version}, running for ${duration(serverTime() - status.began)}`);
    /** @type {[string, string][]} */
    const facts = [
      ["Sessions", number(status.sessions)],
      ["of these slow", number(sessions.slow)],
      ["Subscriptions", number(status.subscriptions)],
      ["Replays running", number(status.fetches)],
      ["Memory", size(status.memoryBytes)],
      ["Topics", typeof measured.partitions === "number" ? number(measured.partitions) : "…"],
      ["Messages kept", typeof measured.bytes === "number" ? size(measured.bytes) : "…"],
    ];
    if (typeof measured.diskFree === "number") facts.push(["Disk free", size(measured.diskFree)]);
    reconcile(
      this.facts,
      facts,
      ([name]) => name,
      ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
      (made, [, value]) => setText(/** @type {Element} */ (made.lastElementChild), value),
    );
  }

  /** @param {Json} sessions */
  #showSlow({ sessions, slow }) {
    const shown = sessions.filter((/** @type {Json} */ one) => one.slow);
    this.noSlow.hidden = slow > 0;
    reconcile(
      this.slow,
      shown,
      (one) => one.applicationId,
      (one) =>
        h(
          "tr",
          {},
          userCell("User", one.userId, "no user id"),
          cell("Queued", "number"),
          cell("Blocked for", "number"),
        ),
      (row, one) => {
        setText(row.children[1], size(one.queuedBytes));
        setText(row.children[2], duration(one.fullSeconds));
      },
    );
  }

  /** @param {Json[]} connectors */
  #showConnectors(connectors) {
    this.noConnectors.hidden = connectors.length > 0;
    reconcile(
      this.connectors,
      connectors,
      (one) => one.name,
      (one) => h("li", {}, h("strong", {}, one.name.toUpperCase()), h("span", { class: "badge" }), h("span", { class: "rest" })),
      (made, one) => {
        const [, badge, rest] = made.children;
        const state = stateOf(one);
        /** @type {HTMLElement} */ (badge).dataset.state = state.kind;
        setText(badge, state.text);
        setText(rest, `${number(one.sent ?? 0)} sent, ${number(one.queue ?? 0)} queued`);
      },
    );
  }
}
