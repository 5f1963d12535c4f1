/**
 * The connectors: what they do, what failed last, and a switch for each.
 *
 * @module
 */

import { confirmed, h, reconcile, setText, toast, when } from "./dom.js";
import { number } from "./format.js";
import { get, post } from "./server.js";

/** @typedef {import("./server.js").Json} Json */

/** @type {Record<string, string>} */
const NAMES = {
  fcm: "Firebase Cloud Messaging",
  apns: "Apple Push Notification service",
  sms: "SMS",
};
/** @type {Record<string, {kind: string, text: string}>} */
const STATES = {
  sending: { kind: "good", text: "on" },
  off: { kind: "off", text: "off" },
  waiting: { kind: "bad", text: "waiting for its provider" },
  paused: { kind: "bad", text: "paused" },
  trying: { kind: "wait", text: "trying again" },
};
/** @type {Record<string, string>} */
const KINDS = {
  refused: "refused for good",
  gone: "the device is gone",
  retry: "tried again",
  outage: "the provider failed",
  pause: "paused",
};

/** @param {Json} connector */
export function stateOf({ state }) {
  return STATES[state] ?? { kind: "wait", text: state };
}

export class ConnectorsView {
  title = "Connectors";
  every = 2_000;

  constructor() {
    this.list = h("div", { class: "connectors" });
    this.empty = h(
      "div",
      { class: "card empty", hidden: true },
      h("p", {}, "No connector is turned on."),
      h("p", {}, "The options --fcm, --apns and --sms turn them on when the server starts."),
    );
    this.element = h("div", {}, this.list, this.empty);
  }

  async refresh() {
    const { toggles, connectors } = await get("/admin/api/connectors");
    this.empty.hidden = connectors.length > 0;
    reconcile(
      this.list,
      connectors,
      (/** @type {Json} */ one) => one.name,
      (one) => this.#make(one.name, toggles),
      (made, one) => fill(made, one),
    );
  }

  /**
   * @param {string} name
   * @param {boolean} toggles
   */
  #make(name, toggles) {
    const title = `connector-${name}`;
    const toggle = h("button", {
      type: "button",
      class: "switch",
      role: "switch",
      "aria-checked": "true",
      "aria-labelledby": title,
      onclick: () => this.#toggle(name, toggle),
    });
    return h(
      "section",
      { class: "card connector", "aria-labelledby": title },
      h(
        "div",
        { class: "heading" },
        h("h2", { id: title }, NAMES[name] ?? name),
        h("span", { class: "badge", role: "status" }),
        toggles && toggle,
      ),
      h("p", { class: "problem box cause", hidden: true }),
      h("dl", { class: "facts" }),
      h("h3", {}, "What failed last"),
      h("ul", { class: "failures" }),
      h("p", { class: "empty none", hidden: true }, "Nothing has failed since the server was started."),
    );
  }

  /**
   * @param {string} name
   * @param {HTMLButtonElement} button
   */
  async #toggle(name, button) {
    const on = button.getAttribute("aria-checked") !== "true";
    const title = `Turn ${on ? "on" : "off"} ${NAMES[name] ?? name}?`;
    const text = on
      ? "It goes on with all that has been published meanwhile."
      : "Nothing is sent until it is turned on again; nothing is lost, it is sent then. A restart turns it on, too.";
    if (!(await confirmed(title, text, on ? "Turn on" : "Turn off"))) return;
    button.disabled = true;
    try {
      toast((await post(`/admin/api/connectors/${encodeURIComponent(name)}`, { on })).text);
      await this.refresh();
    } catch (error) {
      toast(String(Object(error).message), "bad");
    }
    button.disabled = false;
    button.focus();
  }
}

/**
 * @param {Element} made
 * @param {Json} one
 */
function fill(made, one) {
  /** @param {string} selector */
  const part = (selector) => /** @type {HTMLElement} */ (made.querySelector(selector));
  const state = stateOf(one);
  part(".badge").dataset.state = state.kind;
  setText(part(".badge"), state.text);
  made.querySelector(".switch")?.setAttribute("aria-checked", String(one.on));
  part(".cause").hidden = !one.cause;
  setText(part(".cause"), one.cause ?? "");
  fillFacts(part(".facts"), one);
  part(".none").hidden = one.failures.length > 0;
  reconcile(
    part(".failures"),
    one.failures,
    (/** @type {Json} */ failure) => JSON.stringify([failure.kind, failure.reason, failure.text]),
    (failure) => makeFailure(failure),
    (item, failure) => {
      setText(/** @type {Element} */ (item.querySelector(".times")), failure.times > 1 ? `${number(failure.times)} times, last` : "");
      /** @type {Element} */ (item.querySelector(".last")).replaceChildren(when(failure.last));
    },
  );
}

/** @param {Json} failure */
function makeFailure({ kind, reason, text }) {
  return h(
    "li",
    {},
    h("span", { class: "facts-line" }, h("code", {}, reason), " ", h("span", { class: "soft" }, KINDS[kind] ?? kind)),
    h("span", { class: "soft ago" }, h("span", { class: "times" }), " ", h("span", { class: "last" })),
    text && h("span", { class: "text" }, text),
  );
}

/**
 * @param {HTMLElement} where
 * @param {Json} one
 */
function fillFacts(where, one) {
  /** @type {[string, string][]} */
  const facts = [
    ["Sent", number(one.sent ?? 0)],
    [one.name === "sms" ? "Waiting" : "Devices waiting", number(one.queue ?? 0)],
    ["Of these, to be retried", number(one.delayed ?? 0)],
    ["Refused", sum(one.failed)],
    ["Retries", sum(one.retried)],
    ["Messages missed", number(one.lost ?? 0)],
  ];
  // Nobody subscribes to SMS: each message names its own number.
  if (one.name !== "sms") facts.push(["Subscriptions", number(one.subscriptions ?? 0)], ["Dead tokens removed", number(one.removed ?? 0)]);
  reconcile(
    where,
    facts,
    ([name]) => name,
    ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
    (made, [, value]) => setText(/** @type {Element} */ (made.lastElementChild), value),
  );
}

/** @param {Record<string, number>} reasons */
function sum(reasons) {
  return number(Object.values(reasons ?? {}).reduce((total, one) => total + one, 0));
}
