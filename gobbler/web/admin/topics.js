/**
 * The topics: what each partition holds.
 *
 * @module
 */

import { cell, clamped, h, reconcile, setText, table, when } from "./dom.js";
import { number, size } from "./format.js";
import { Pager, searchField } from "./paging.js";
import { get } from "./server.js";

/** @typedef {import("./server.js").Json} Json */

const LIMIT = 50;

export class TopicsView {
  title = "Topics";
  every = 5_000;

  /**
   * @param {import("./dashboard.js").Page} _page
   * @param {URLSearchParams} parameters
   */
  constructor(_page, parameters) {
    this.search = searchField("Topics that begin with", "/foo", parameters.get("prefix") ?? "", () => this.pager.first());
    this.pager = new Pager(() => this.refresh());
    const { table: made, body } = table("Topics", [
      { title: "Topic" },
      { title: "Messages", class: "number" },
      { title: "Size", class: "number" },
      { title: "First id", class: "number" },
      { title: "Last id", class: "number" },
      { title: "Oldest" },
      { title: "Newest" },
      { title: "Actions", hidden: true },
    ]);
    this.body = body;
    this.empty = h("p", { class: "empty", hidden: true });
    this.element = h("div", { class: "card" }, h("div", { class: "bar" }, this.search.element), made, this.empty, this.pager.element);
  }

  async refresh() {
    const prefix = this.search.value;
    const { topics, next } = await get("/api/topics", { prefix, after: this.pager.after, limit: LIMIT });
    this.pager.show(next);
    this.empty.hidden = topics.length > 0;
    setText(this.empty, prefix ? `No topic begins with ${prefix}.` : "Nothing has been published yet.");
    reconcile(
      this.body,
      topics,
      (/** @type {Json} */ one) => one.topic,
      (one) => row(one),
      (made, one) => fill(made, one),
    );
  }
}

/** @param {Json} one */
function row({ topic }) {
  const query = new URLSearchParams({ topic });
  return h(
    "tr",
    {},
    cell("Topic", "name", clamped(h("a", { href: `#messages?${query}` }, topic))),
    ...["Messages", "Size", "First id", "Last id"].map((label) => cell(label, "number")),
    cell("Oldest", ""),
    cell("Newest", ""),
    cell("", "actions", h("a", { href: `#subscriptions?${query}`, "aria-label": `Who gets messages to ${topic}` }, "Subscribers")),
  );
}

/**
 * @param {Element} made
 * @param {Json} one
 */
function fill(made, one) {
  const [, count, bytes, first, last, oldest, newest] = made.children;
  const known = one.count !== undefined;
  setText(count, known ? number(one.count) : "–");
  setText(bytes, one.bytes === undefined ? "–" : size(one.bytes));
  setText(first, known && one.count ? number(one.firstId) : "–");
  setText(last, known ? number(one.lastId) : "–");
  oldest.replaceChildren(one.error ? "–" : when(one.firstTime));
  newest.replaceChildren(one.error ? h("span", { class: "problem" }, one.error) : when(one.lastTime));
}
