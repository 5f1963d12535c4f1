/**
 * The message browser: pages of a topic, the newest first, and each message in full.
 *
 * @module
 */

import { cell, clamped, element, h, reconcile, setText, table, when, userCell } from "./dom.js";
import { moment, number, size } from "./format.js";
import { disable } from "./paging.js";
import { openPublisher } from "./publisher.js";
import { get } from "./server.js";

/** @typedef {import("./server.js").Json} Json */

const COUNT = 50;
const SUGGESTED = 20;
const HEX_BYTES = 256;
/** More of a body than this is not put into the page; it can be downloaded. */
const WHOLE_BYTES = 1024 * 1024;

export class MessagesView {
  title = "Messages";
  /** @type {Json} what the page is asked for by: nothing, `before` or `from` */
  #place = {};
  /** @type {Json | null} what is shown; null: not what was asked for last */
  #page = null;
  #older = 0;
  #newer = 0;

  /**
   * @param {import("./dashboard.js").Page} _page
   * @param {URLSearchParams} parameters
   */
  constructor(_page, parameters) {
    this.topic = parameters.get("topic") ?? "";
    if (this.topic) this.title = `Messages in ${this.topic}`;
    for (const name of ["from", "before"]) {
      const id = parameters.get(name);
      if (id !== null) this.#place = { [name]: id };
    }
    this.body = table("Messages, the newest first", [
      { title: "Id" },
      { title: "Time" },
      { title: "Topic" },
      { title: "From" },
      { title: "Body" },
      { title: "Size", class: "number" },
    ]);
    this.empty = h("p", { class: "empty", hidden: Boolean(this.topic) }, "Which topic? Enter one, or choose it from ", h("a", { href: "#topics" }, "all topics"), ".");
    this.gaps = h("p", { class: "problem box", hidden: true });
    this.summary = h("p", { class: "summary" });
    this.paused = h("p", { class: "hint", hidden: true, role: "status" }, "New messages are shown when this one is closed.");
    this.oldest = this.#button("Oldest", () => ({ from: 0 }));
    this.older = this.#button("Older", () => ({ before: this.#older }));
    this.newer = this.#button("Newer", () => ({ from: this.#newer }));
    this.newest = this.#button("Newest", () => ({}));
    this.pager = h("nav", { class: "pager", "aria-label": "Pages", hidden: true }, this.newest, this.newer, this.older, this.oldest);
    this.element = h(
      "div",
      { class: "card" },
      h("div", { class: "bar" }, this.#form(parameters.get("from") ?? ""), this.topic && this.#actions(), this.summary),
      this.gaps,
      this.paused,
      this.body.table,
      this.empty,
      this.pager,
    );
  }

  /** @param {string} from */
  #form(from) {
    const list = h("datalist", { id: "known-topics" });
    const topic = h("input", {
      id: "topic",
      list: "known-topics",
      placeholder: "/foo or /foo/bar",
      autocomplete: "off",
      spellcheck: "false",
      required: true,
      oninput: () => suggest(topic.value, list),
    });
    topic.value = this.topic;
    const id = h("input", { id: "from", inputmode: "numeric", pattern: "[0-9]*", placeholder: "newest", autocomplete: "off", size: 8 });
    id.value = from;
    suggest(this.topic, list);
    return h(
      "form",
      {
        class: "fields",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          const query = new URLSearchParams({ topic: topic.value.trim() });
          if (id.value.trim()) query.set("from", id.value.trim());
          location.hash = `#messages?${query}`;
        },
      },
      h("div", { class: "field" }, h("label", { for: "topic" }, "Topic, with all below it"), topic, list),
      h("div", { class: "field" }, h("label", { for: "from" }, "From id"), h("span", { class: "joined" }, id, h("button", { class: "quiet" }, "Show"))),
    );
  }

  #actions() {
    const query = new URLSearchParams({ topic: this.topic });
    return h(
      "div",
      { class: "links" },
      h("button", { type: "button", class: "link", onclick: () => openPublisher(this.topic) }, "Publish here"),
      h("a", { href: `#subscriptions?${query}` }, "Subscribers"),
    );
  }

  /**
   * @param {string} text
   * @param {() => Json} place
   */
  #button(text, place) {
    return h(
      "button",
      {
        type: "button",
        class: "quiet",
        onclick: async () => {
          this.#place = place();
          this.#page = null;
          await this.refresh();
          element("main").querySelector("h1")?.scrollIntoView({ block: "nearest" });
        },
      },
      text,
    );
  }

  get every() {
    return Object.keys(this.#place).length ? 10_000 : 2_000; // only at the newest end does much happen
  }

  async refresh() {
    if (!this.topic) return;
    const place = this.#place;
    if (this.#rests()) return;
    const page = await get("/admin/api/messages", { topic: this.topic, count: COUNT, ...place });
    if (place !== this.#place || this.#rests()) return; // somebody has turned the page or opened a message
    this.#page = page;
    this.#show(page);
  }

  /** Whether what is shown stays: a message that is being read must not move away under the reader's eyes. */
  #rests() {
    const reading = this.#page !== null && this.body.body.querySelector("[aria-expanded=true]") !== null;
    const rests = reading && Object.keys(this.#place).length === 0;
    this.paused.hidden = !rests;
    return rests;
  }

  /** @param {Json} page */
  #show(page) {
    const { messages, gaps, older, newer } = page;
    const [first, last] = [messages.at(0), messages.at(-1)];
    [this.#older, this.#newer] = [older, newer];
    const [noOlder, noNewer] = [older === null, newer === null];
    disable([[this.older, noOlder], [this.oldest, noOlder], [this.newer, noNewer], [this.newest, noNewer]]);
    this.pager.hidden = older === null && newer === null;
    this.empty.hidden = messages.length > 0;
    const nothing = page.lastId < page.firstId;
    const kept = `${number(page.firstId)} to ${number(page.lastId)}`;
    setText(this.empty, nothing ? "This topic holds no messages." : `There are no messages here: the ids ${kept} are kept.`);
    const shown = first ? `${number(first.id)} to ${number(last.id)}` : "";
    setText(this.summary, first ? `Ids ${shown}; ${shown === kept ? "no others" : kept} are kept` : "");
    this.gaps.hidden = !gaps.length;
    setText(this.gaps, `Cannot be read: ${gaps.map((/** @type {Json} */ gap) => `${number(gap.first)} to ${number(gap.last)}`).join(", ")}`);
    const rows = messages.toReversed().flatMap((/** @type {Json} */ one) => [{ one }, { one, detail: true }]);
    reconcile(
      this.body.body,
      rows,
      ({ one, detail }) => `${one.id} ${detail ? "detail" : ""}`,
      ({ one, detail }) => (detail ? detailRow(one) : row(one, this.topic)),
    );
  }
}

/**
 * @param {string} prefix
 * @param {Element} list
 */
async function suggest(prefix, list) {
  try {
    const { topics } = await get("/api/topics", { prefix, limit: SUGGESTED });
    list.replaceChildren(...topics.map((/** @type {Json} */ { topic }) => h("option", { value: topic })));
  } catch {
    // It was only to help.
  }
}

/**
 * @param {Json} one
 * @param {string} topic
 */
function row(one, topic) {
  const detail = `message-${one.id}`;
  const button = h(
    "button",
    { type: "button", class: "expand", "aria-expanded": "false", "aria-controls": detail, "aria-label": `Message ${one.id}` },
    number(one.id),
  );
  const made = h(
    "tr",
    { class: "message" },
    cell("Id", "id", button),
    cell("Time", "", when(one.time)),
    cell("Topic", "name", clamped(h("span", { class: one.path === topic ? "soft" : "" }, one.path))),
    userCell("From", one.userId, "–"),
    cell("Body", "preview", Object.keys(one.filters).length > 0 && h("span", { class: "pill" }, "filtered"), preview(one)),
    cell("Size", "number", size(one.bodyBytes)),
  );
  made.addEventListener("click", (event) => {
    // The whole row opens it, unless a text in it is being selected.
    const target = /** @type {Element} */ (event.target);
    if (getSelection()?.toString() && !target.closest("button")) return;
    toggle(button, detail);
  });
  return made;
}

/**
 * @param {Element} button
 * @param {string} id
 */
function toggle(button, id) {
  const detail = /** @type {HTMLElement} */ (document.getElementById(id));
  detail.hidden = !detail.hidden;
  button.setAttribute("aria-expanded", String(!detail.hidden));
  if (!detail.hidden && !detail.firstElementChild?.childElementCount) {
    detail.firstElementChild?.append(details(unopened.get(detail) ?? {}));
  }
}

/** @type {WeakMap<Element, Json>} the messages of rows that have not been opened */
const unopened = new WeakMap();

/** @param {Json} one */
function detailRow(one) {
  const made = h("tr", { class: "detail", id: `message-${one.id}`, hidden: true }, h("td", { colspan: 6 }));
  unopened.set(made, one);
  return made;
}

/** @param {Json} one */
function preview({ body, bodyBase64, bodyBytes }) {
  if (!bodyBytes) return h("span", { class: "soft" }, "empty");
  if (bodyBase64 !== undefined) return h("span", { class: "soft" }, "bytes that are no text");
  return h("span", { class: "one-line" }, body.slice(0, 300));
}

/** @param {Json} one */
function details(one) {
  const filters = Object.entries(one.filters).map(([name, value]) => `${name} = ${value}`);
  /** @type {[string, string][]} */
  const facts = [
    ["Topic", one.path],
    ["Id", String(one.id)],
    ["Time", moment(one.time)],
    ["User id", one.userId || "–"],
    ["Application id", one.applicationId || "–"],
    ["Message id", one.messageId || "–"],
  ];
  if (filters.length) facts.push(["Only for", filters.join(", ")]);
  const headers = Object.keys(one.headers).length > 0;
  return h(
    "div",
    {},
    h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("h2", {}, "Headers"),
    headers ? pre("Headers", JSON.stringify(one.headers, null, 2)) : h("p", { class: "soft" }, "none"),
    ...bodyOf(one),
  );
}

/**
 * @param {string} label
 * @param {string} text
 */
function pre(label, text) {
  return h("pre", { tabindex: 0, role: "region", "aria-label": label }, text);
}

/** @param {Json} one */
function bodyOf(one) {
  const address = `/admin/api/body?${new URLSearchParams({ topic: one.path, id: String(one.id) })}`;
  const download = h("a", { href: address, download: `message-${one.id}.bin` }, `Download (${size(one.bodyBytes)})`);
  const heading = h("div", { class: "heading" }, h("h2", {}, "Body"));
  if (!one.bodyBytes) return [heading, h("p", { class: "soft" }, "empty")];
  if (one.bodyBase64 !== undefined) {
    heading.append(download);
    return [heading, pre("Body, in hexadecimal", hexadecimal(one.bodyBase64, one.bodyBytes))];
  }
  const shown = pre("Body", one.body);
  const whole = new TextEncoder().encode(one.body).length === one.bodyBytes;
  if (whole) heading.append(...formatter(one.body, shown));
  else if (one.bodyBytes <= WHOLE_BYTES) heading.append(wholeButton(address, shown));
  heading.append(download);
  return [heading, shown, whole ? "" : h("p", { class: "hint" }, `This is only the beginning of ${size(one.bodyBytes)}.`)];
}

/**
 * A button that shows JSON in lines, and as it was.
 *
 * @param {string} text
 * @param {Element} shown
 */
function formatter(text, shown) {
  let lines;
  try {
    const parsed = JSON.parse(text);
    if (parsed === null || typeof parsed !== "object") return [];
    lines = JSON.stringify(parsed, null, 2);
  } catch {
    return [];
  }
  const button = h(
    "button",
    {
      type: "button",
      class: "link",
      "aria-pressed": "false",
      onclick: () => {
        const pressed = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(pressed));
        setText(button, pressed ? "As it is" : "Format the JSON");
        setText(shown, pressed ? lines : text);
      },
    },
    "Format the JSON",
  );
  return [button];
}

/**
 * @param {string} address
 * @param {Element} shown
 */
function wholeButton(address, shown) {
  const button = h(
    "button",
    {
      type: "button",
      class: "link",
      onclick: async () => {
        try {
          const answer = await fetch(address);
          if (!answer.ok) throw new Error("it is not there any more");
          setText(shown, await answer.text());
          shown.nextElementSibling?.remove();
          button.remove();
        } catch (error) {
          setText(button, `Show all (${String(Object(error).message)})`);
        }
      },
    },
    "Show all",
  );
  return button;
}

/**
 * @param {string} base64
 * @param {number} size of the whole body
 */
function hexadecimal(base64, size) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).subarray(0, HEX_BYTES);
  const lines = [];
  const many = matchMedia("(max-width: 40rem)").matches ? 8 : 16; // what fits into a line
  for (let at = 0; at < bytes.length; at += many) {
    const some = [...bytes.subarray(at, at + many)];
    const hex = some.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = some.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(many * 3 - 1)}  ${text}`);
  }
  if (size > bytes.length) lines.push(`… ${number(size - bytes.length)} more bytes`);
  return lines.join("\n");
}
