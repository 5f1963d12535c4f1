/**
 * The form that publishes a test message.
 *
 * @module
 */

import { element, h, setText } from "./dom.js";
import { number } from "./format.js";
import { get, post } from "./server.js";

/** @typedef {import("./server.js").Json} Json */

const SUGGESTED = 20;
/** Whether a message is on its way. */
let busy = false;

/** @template {HTMLElement} [T=HTMLInputElement] @param {string} name @returns {T} */
function part(name) {
  return /** @type {T} */ (/** @type {unknown} */ (element(`publisher-${name}`)));
}

/** @param {() => void} published called when a message is in the log */
export function preparePublisher(published) {
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    publish(published);
  });
  part("close").addEventListener("click", () => dialog().close());
  part("add").addEventListener("click", () => addHeader("", "").focus());
  part("topic").addEventListener("input", () => suggest());
}

/** @param {string} [topic] what to begin with */
export function openPublisher(topic) {
  if (topic !== undefined) part("topic").value = topic;
  for (const name of ["problem", "done"]) part(name).replaceChildren();
  dialog().showModal();
  part(part("topic").value ? "body" : "topic").focus();
  suggest();
}

/** @returns {HTMLDialogElement} */
function dialog() {
  return /** @type {HTMLDialogElement} */ (element("publisher"));
}

/**
 * @param {string} name
 * @param {string} value
 * @returns {HTMLInputElement} the field of the name
 */
function addHeader(name, value) {
  const nameField = h("input", { "aria-label": "Name of a header", placeholder: "Name", autocomplete: "off", spellcheck: "false" });
  const valueField = h("input", { "aria-label": "Its value", placeholder: "Value", autocomplete: "off", spellcheck: "false" });
  nameField.value = name;
  valueField.value = value;
  const remove = h(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-label": "Remove this header",
      onclick: () => {
        row.remove();
        part("add").focus();
      },
    },
    "×",
  );
  const row = h("div", { class: "pair" }, nameField, valueField, remove);
  part("headers").append(row);
  return nameField;
}

/** The headers that are filled in. */
function headers() {
  const rows = [...part("headers").children].map((row) => [...row.querySelectorAll("input")].map((field) => field.value));
  return Object.fromEntries(rows.filter(([name, value]) => name || value));
}

async function suggest() {
  try {
    const { topics } = await get("/api/topics", { prefix: part("topic").value, limit: SUGGESTED });
    part("topics").replaceChildren(...topics.map((/** @type {Json} */ { topic }) => h("option", { value: topic })));
  } catch {
    // It was only to help.
  }
}

/** @param {() => void} published */
async function publish(published) {
  if (busy) return; // not a disabled button: it would lose the focus
  busy = true;
  for (const name of ["problem", "done"]) part(name).replaceChildren();
  part("topic").removeAttribute("aria-invalid");
  try {
    const stored = await post("/admin/api/messages", {
      topic: part("topic").value.trim(),
      headers: headers(),
      body: part("body").value,
      onlyUser: part("user").value.trim(),
    });
    const query = new URLSearchParams({ topic: stored.topic, from: String(stored.id) });
    const link = h("a", { href: `#messages?${query}`, onclick: () => dialog().close() }, "show it");
    part("done").append(`Stored in ${stored.topic} with the id ${number(stored.id)} (`, link, ").");
    published();
  } catch (error) {
    const text = String(Object(error).message);
    setText(part("problem"), text);
    if (text.startsWith("topic")) {
      part("topic").setAttribute("aria-invalid", "true");
      part("topic").focus();
    }
  }
  busy = false;
}
