/**
 * The server itself: health, storage and retention, errors, options.
 *
 * @module
 */

import { card, cell, h, reconcile, setText, table, when } from "./dom.js";
import { duration, moment, number, percent, size } from "./format.js";
import { get, serverTime, setServerTime } from "./server.js";

/** @typedef {import("./server.js").Json} Json */

export class SystemView {
  title = "System";
  every = 5_000;

  constructor() {
    this.checks = h("ul", { class: "checks" });
    this.process = h("dl", { class: "facts" });
    this.storage = h("dl", { class: "facts" });
    this.measured = h("p", { class: "hint" });
    this.meter = h("meter", { hidden: true, min: 0, max: 1, low: 0.7, high: 0.95, optimum: 0, "aria-label": "How full the disk is" });
    this.errors = h("dl", { class: "facts" });
    this.noErrors = h("p", { class: "empty", hidden: true }, "No errors since the server was started.");
    this.changed = h("input", { id: "changed", type: "checkbox", onchange: () => this.#filter() });
    const { table: made, body } = table("Options", [{ title: "Option" }, { title: "Value" }, { title: "What it is" }]);
    this.options = body;
    this.element = h(
      "div",
      {},
      h(
        "div",
        { class: "cards wide" },
        card("Health", "", this.checks),
        card("Process", "", this.process),
        card("Storage and retention", "", this.storage, this.meter, this.measured),
        card("Errors", "", this.errors, this.noErrors),
      ),
      card(
        "Options",
        "options",
        h("p", { class: "hint" }, "Secrets are shown as ***. ", h("label", { class: "check" }, this.changed, " Only what is not the default")),
        made,
      ),
    );
  }

  async refresh() {
    const [status, { checks }, storage, { options }] = await Promise.all([
      get("/admin/api/status"),
      get("/admin/api/health"),
      get("/admin/api/storage"),
      get("/admin/api/options"),
    ]);
    setServerTime(status.time);
    this.#showChecks(checks);
    this.#showProcess(status);
    this.#showStorage(storage);
    this.#showErrors(status.errors);
    this.#showOptions(options);
  }

  /** @param {Json[]} checks */
  #showChecks(checks) {
    reconcile(
      this.checks,
      checks,
      ({ name, problem }) => `${name} ${problem ?? ""}`,
      ({ name, problem }) =>
        h(
          "li",
          { "data-state": problem ? "bad" : "good" },
          h("strong", {}, name),
          h("span", {}, problem ? told({ name, problem }) : "passes"),
        ),
    );
  }

  /** @param {Json} status */
  #showProcess(status) {
    const seconds = serverTime() - status.began;
    fill(this.process, [
      ["Version", status.version],
      ["Python", status.python],
      ["Environment", status.environment],
      ["Process", String(status.process)],
      ["Began", moment(status.began)],
      ["Running for", duration(seconds)],
      ["Processor", `${percent(status.processorSeconds / Math.max(seconds, 1))} on average`],
      ["Memory", size(status.memoryBytes)],
      ["Readers that became slow", number(status.slowReaderTurns)],
    ]);
  }

  /** @param {Json} storage */
  #showStorage(storage) {
    const measured = storage.measured ?? {};
    const known = typeof measured.bytes === "number";
    /** @type {[string, string | Node][]} */
    const facts = [
      ["Messages", storage.messages === "file" ? "commit log in files" : `memory, up to ${size(storage.memoryBytes)}`],
      ["Keys and values", { file: "SQLite file", memory: "memory", postgres: "PostgreSQL" }[/** @type {string} */ (storage.keys)] ?? storage.keys],
    ];
    facts.push(["Topics", known ? number(measured.partitions) : "…"], ["Size of all messages", known ? size(measured.bytes) : "…"]);
    if (storage.messages === "file") {
      facts.push(
        ["Synced", syncing(storage.fsync)],
        ["Kept for", storage.retentionAge === null ? "no limit" : duration(storage.retentionAge)],
        ["Kept of each topic", storage.retentionBytes === null ? "no limit" : `the newest ${size(storage.retentionBytes)}`],
        ["Segment size", size(storage.segmentBytes)],
      );
    }
    const disk = typeof measured.diskSize === "number" && measured.diskSize > 0;
    if (storage.path) facts.push(["Path", h("code", {}, storage.path)]);
    if (disk) facts.push(["Disk free", `${size(measured.diskFree)} of ${size(measured.diskSize)}`]);
    fill(this.storage, facts);
    this.meter.hidden = !disk;
    if (disk) this.meter.value = 1 - measured.diskFree / measured.diskSize;
    this.measured.replaceChildren(...(measured.error ? [measured.error] : measured.time ? ["Measured ", when(measured.time)] : ["Measuring …"]));
  }

  /** @param {Record<string, number>} errors */
  #showErrors(errors) {
    const found = Object.entries(errors);
    this.noErrors.hidden = found.length > 0;
    fill(
      this.errors,
      found.map(([kind, count]) => [kind, number(count)]),
    );
  }

  /** @param {Json[]} options */
  #showOptions(options) {
    reconcile(
      this.options,
      options,
      (one) => `${one.name} ${one.value}`,
      (one) =>
        h(
          "tr",
          { class: one.changed ? "changed" : "" },
          cell("Option", "id", one.name),
          cell("", "id value wide", h("span", { class: one.changed ? "strong" : "soft" }, shown(one))),
          cell("", "soft wide", one.help),
        ),
    );
    this.#filter();
  }

  #filter() {
    for (const row of this.options.children) {
      /** @type {HTMLElement} */ (row).hidden = this.changed.checked && !row.classList.contains("changed");
    }
  }
}

/**
 * @param {Element} where
 * @param {[string, string | Node][]} facts
 */
function fill(where, facts) {
  reconcile(
    where,
    facts,
    ([name]) => name,
    ([name, value]) => h("div", { class: typeof value === "string" ? "" : "broad" }, h("dt", {}, name), h("dd")),
    (made, [, value]) => {
      const place = /** @type {Element} */ (made.lastElementChild);
      if (typeof value === "string") setText(place, value);
      else if (place.textContent !== value.textContent) place.replaceChildren(value);
    },
  );
}

/** @param {number | null} seconds */
function syncing(seconds) {
  if (seconds === null) return "by the operating system";
  return seconds === 0 ? "before every answer" : `every ${duration(seconds)}`;
}

/**
 * What is wrong, without the name of the check that stands before it already.
 *
 * @param {Json} check
 */
export function told({ name, problem }) {
  return problem.startsWith(`${name} `) ? problem.slice(name.length + 1) : problem;
}

/** @param {Json} option */
function shown({ value, takes }) {
  if (value === null) return "off";
  if (value === "") return "–";
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number" && takes === "BYTES") return size(value);
  if (typeof value === "number" && takes.includes("SECONDS")) return duration(value);
  return String(value);
}
