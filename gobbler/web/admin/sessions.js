/**
 * The WebSocket clients that are connected, those first that read too slowly.
 *
 * @module
 */

import { cell, clamped, h, reconcile, setText, table, when, userCell } from "./dom.js";
import { duration, number, plural, size } from "./format.js";
import { OffsetPager, searchField } from "./paging.js";
import { get } from "./server.js";

/** @typedef {import("./server.js").Json} Json */

const LIMIT = 50;
const ORDERS = {
  slow: "the slowest first",
  queued: "the most queued first",
  subscriptions: "the most subscriptions first",
  newest: "the newest first",
  oldest: "the oldest first",
};

export class SessionsView {
  title = "Sessions";
  every = 3_000;

  /**
   * @param {import("./dashboard.js").Page} _page
   * @param {URLSearchParams} parameters
   */
  constructor(_page, parameters) {
    this.pager = new OffsetPager(LIMIT, () => this.refresh());
    this.search = searchField("User or application id", "all", parameters.get("search") ?? "", () => this.pager.first());
    this.order = h(
      "select",
      { id: "order", onchange: () => this.pager.first() },
      ...Object.entries(ORDERS).map(([value, text]) => h("option", { value }, text)),
    );
    this.summary = h("p", { class: "summary" }); // not a status: it changes all the time
    const { table: made, body } = table("Sessions", [
      { title: "User" },
      { title: "Application id" },
      { title: "Connected" },
      { title: "Subscriptions" },
      { title: "State" },
      { title: "Queued", class: "number" },
      { title: "Blocked for", class: "number" },
    ]);
    this.body = body;
    this.empty = h("p", { class: "empty", hidden: true });
    const order = h("div", { class: "field" }, h("label", { for: "order" }, "Order"), this.order);
    this.element = h(
      "div",
      { class: "card" },
      h("div", { class: "bar" }, this.search.element, order, this.summary),
      made,
      this.empty,
      this.pager.element,
    );
  }

  async refresh() {
    const found = await get("/admin/api/sessions", {
      search: this.search.value,
      order: this.order.value,
      offset: this.pager.offset,
      limit: LIMIT,
    });
    this.pager.show(found.matching);
    setText(this.summary, `${plural(found.total, "session")}${found.slow ? `, ${number(found.slow)} slow` : ""}`);
    this.empty.hidden = found.matching > 0;
    setText(this.empty, found.total ? "No session has such an id." : "Nobody is connected.");
    reconcile(
      this.body,
      found.sessions,
      (/** @type {Json} */ one) => one.applicationId,
      (one) => row(one),
      (made, one) => fill(made, one),
    );
  }
}

/** @param {Json} one */
function row(one) {
  return h(
    "tr",
    {},
    userCell("User", one.userId, "no user id"),
    cell("Application id", "id two", one.applicationId),
    cell("Connected", "", when(one.since)),
    cell("Subscriptions", "name topics wide"),
    cell("State", "two"),
    cell("Queued", "number"),
    cell("Blocked for", "number"),
  );
}

/**
 * @param {Element} made
 * @param {Json} one
 */
function fill(made, one) {
  const [, , , topics, state, queued, full] = made.children;
  made.classList.toggle("warn", one.slow);
  fillTopics(topics, one);
  const [kind, text] = stateOf(one);
  if (state.textContent !== text) state.replaceChildren(h("span", { class: "badge", "data-state": kind }, text));
  setText(queued, one.queuedBytes ? size(one.queuedBytes) : "–");
  setText(full, one.fullSeconds ? duration(one.fullSeconds) : "–");
}

/**
 * The first topic, and all that are known when it is opened.
 *
 * @param {Element} where
 * @param {Json} one
 */
function fillTopics(where, { subscriptions, topics }) {
  const key = JSON.stringify([subscriptions, topics]);
  const place = /** @type {HTMLElement} */ (where);
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  const more = subscriptions - topics.length;
  if (topics.length < 2) {
    place.replaceChildren(topics.length ? link(topics[0]) : "–");
    return;
  }
  place.replaceChildren(
    h(
      "details",
      {},
      h("summary", {}, `${number(subscriptions)} topics`),
      h("ul", {}, ...topics.map((/** @type {string} */ topic) => h("li", {}, link(topic))), more > 0 && h("li", {}, `and ${number(more)} more`)),
    ),
  );
}

/** @param {string} topic */
function link(topic) {
  return clamped(h("a", { href: `#messages?${new URLSearchParams({ topic })}` }, topic));
}

/** @param {Json} one */
function stateOf({ slow, catchingUp }) {
  if (slow) return ["bad", catchingUp ? "slow, catching up" : "slow"];
  return catchingUp ? ["wait", "catching up"] : ["good", "live"];
}
