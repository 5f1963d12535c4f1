/**
 * Who is subscribed: all topics that anybody is, or those who get the messages of one.
 *
 * @module
 */

import { cell, clamped, h, reconcile, setText, table, userCell } from "./dom.js";
import { number } from "./format.js";
import { OffsetPager, Pager, searchField } from "./paging.js";
import { get } from "./server.js";

/** @typedef {import("./server.js").Json} Json */

const LIMIT = 50;

export class SubscriptionsView {
  title = "Subscriptions";
  every = 5_000;

  /**
   * @param {import("./dashboard.js").Page} _page
   * @param {URLSearchParams} parameters
   */
  constructor(_page, parameters) {
    const topic = parameters.get("topic");
    this.list = topic === null ? new TopicList(parameters) : new SubscriberList(topic);
    if (topic !== null) this.title = `Subscribers of ${topic}`;
    this.element = this.list.element;
  }

  refresh() {
    return this.list.refresh();
  }
}

/** The topics that anybody is subscribed to, with how many are. */
class TopicList {
  /** @param {URLSearchParams} parameters */
  constructor(parameters) {
    this.pager = new Pager(() => this.refresh());
    this.search = searchField("Topics that begin with", "/foo", parameters.get("prefix") ?? "", () => this.pager.first());
    const { table: made, body } = table("Subscribed topics", [
      { title: "Topic" },
      { title: "Clients", class: "number" },
      { title: "Devices" },
    ]);
    this.body = body;
    this.empty = h("p", { class: "empty", hidden: true });
    this.element = h(
      "div",
      { class: "card" },
      h("div", { class: "bar" }, this.search.element, topicForm()),
      made,
      this.empty,
      this.pager.element,
    );
  }

  async refresh() {
    const prefix = this.search.value;
    const found = await get("/admin/api/subscriptions", { prefix, after: this.pager.after, limit: LIMIT });
    this.pager.show(found.next);
    this.empty.hidden = found.subscriptions.length > 0;
    setText(this.empty, prefix ? `Nobody is subscribed to a topic that begins with ${prefix}.` : "Nobody is subscribed to anything.");
    reconcile(
      this.body,
      found.subscriptions,
      (/** @type {Json} */ one) => one.topic,
      ({ topic }) =>
        h(
          "tr",
          {},
          cell("Topic", "name", clamped(h("a", { href: `#subscriptions?${new URLSearchParams({ topic })}` }, topic))),
          cell("Clients", "number"),
          cell("Devices", "two devices"),
        ),
      (made, { numbers }) => {
        const { clients = 0, ...devices } = numbers;
        setText(made.children[1], clients ? number(clients) : "–");
        const texts = Object.entries(devices).map(([name, count]) => `${number(count)} ${name.toUpperCase()}`);
        setText(made.children[2], texts.join(", ") || "–");
      },
    );
  }
}

/** A field for a topic that need not be in the list: subscriptions to what is above it count, too. */
function topicForm() {
  const input = h("input", { id: "reached", placeholder: "/foo/bar", autocomplete: "off", spellcheck: "false", required: true });
  return h(
    "form",
    {
      class: "field",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        location.hash = `#subscriptions?${new URLSearchParams({ topic: input.value.trim() })}`;
      },
    },
    h("label", { for: "reached" }, "Who gets messages to"),
    h("span", { class: "joined" }, input, h("button", { class: "quiet" }, "Show")),
  );
}

/** Those who get the messages of a topic: subscribed to it, or to one above it. */
class SubscriberList {
  /** @param {string} topic */
  constructor(topic) {
    this.topic = topic;
    this.pager = new OffsetPager(LIMIT, () => this.refresh());
    const { table: made, body } = table(`Subscribers of ${topic}`, [
      { title: "Through" },
      { title: "User" },
      { title: "Application id or device" },
      { title: "Subscribed to" },
    ]);
    this.body = body;
    this.summary = h("p", { class: "summary" });
    this.element = h(
      "div",
      { class: "card" },
      h(
        "div",
        { class: "bar" },
        h("a", { href: "#subscriptions" }, "All subscriptions"),
        h("a", { href: `#messages?${new URLSearchParams({ topic })}` }, "Messages"),
        this.summary,
      ),
      made,
      this.pager.element,
    );
  }

  async refresh() {
    const { topic } = this;
    const found = await get("/admin/api/subscribers", { topic, offset: this.pager.offset, limit: LIMIT });
    this.pager.show(found.total);
    const total = `${number(found.total)}${found.more ? "+" : ""}`;
    const nobody = "Nobody gets messages to this topic.";
    setText(this.summary, found.total ? `${total} subscribed to it or to what is above it` : nobody);
    this.body.replaceChildren(...found.subscribers.map(subscriber));
  }
}

/** @param {Json} one */
function subscriber(one) {
  const through = one.source === "clients" ? "client" : one.source.toUpperCase();
  return h(
    "tr",
    {},
    cell("Through", "", through),
    userCell("User", one.userId, "–"),
    cell("Application id or device", "id two", one.applicationId ?? one.device ?? "–"),
    cell("Subscribed to", "name wide", clamped(h("span", {}, one.topic))),
  );
}
