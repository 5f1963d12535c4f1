/**
 * Making and changing elements. Whatever comes from the server becomes text, never markup.
 *
 * @module
 */

import { ago, moment } from "./format.js";
import { serverTime } from "./server.js";

/** @typedef {Node | string | null | undefined | false} Child */

/** Names up to here are never cut. */
const SHORT = 60;

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [attributes] `on...` are listeners; what is false or null is left out
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") made.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...present(children));
  return made;
}

/** @param {(Child | Child[])[]} children */
function present(children) {
  return /** @type {(Node | string)[]} */ (children.flat().filter((child) => child || child === ""));
}

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no ${id}`);
  return /** @type {T} */ (found);
}

/**
 * Change a text only where it is another one: what is selected, or being read out, stays.
 *
 * @param {Element} where
 * @param {string} text
 */
export function setText(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

/**
 * A time as people say it; as it is on hover.
 *
 * @param {number | null | undefined} unix seconds
 * @returns {HTMLElement}
 */
export function when(unix) {
  if (unix === null || unix === undefined) return h("span", {}, "–");
  const made = h("time", {
    datetime: new Date(unix * 1000).toISOString(),
    title: moment(unix),
    "data-at": unix,
  });
  made.textContent = ago(serverTime() - unix);
  return made;
}

/** Have all times say how long ago they are by now. */
export function refreshTimes() {
  for (const one of document.querySelectorAll("time[data-at]")) {
    setText(one, ago(serverTime() - Number(/** @type {HTMLElement} */ (one).dataset.at)));
  }
}

/**
 * Bring the children of a list or a table into line with items. Elements of items that stay, stay:
 * so does the focus, and what is selected.
 *
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => Element} make
 * @param {(made: Element, item: T) => void} [fill] what changes; without it, an item never does
 */
export function reconcile(parent, items, key, make, fill) {
  const known = new Map(
    [...parent.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key ?? "", child]),
  );
  const wanted = items.map((item) => {
    const name = key(item);
    const made = known.get(name) ?? make(item);
    /** @type {HTMLElement} */ (made).dataset.key = name;
    fill?.(made, item);
    return made;
  });
  const kept = new Set(wanted);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

/**
 * A table with a caption, in which the columns say how wide they may be.
 *
 * @param {string} caption
 * @param {{title: string, class?: string, hidden?: boolean}[]} columns
 * @returns {{table: HTMLElement, body: HTMLTableSectionElement}}
 */
export function table(caption, columns) {
  const body = h("tbody");
  const head = columns.map(({ title, class: name, hidden }) =>
    h("th", { scope: "col", class: name }, hidden ? h("span", { class: "hidden" }, title) : title),
  );
  const made = h("table", {}, h("caption", { class: "hidden" }, caption), h("thead", {}, h("tr", {}, head)), body);
  return { table: h("div", { class: "table" }, made), body };
}

/**
 * A cell; narrow screens show `label` in front of it.
 *
 * @param {string} label
 * @param {string} name a class
 * @param {...Child} children
 */
export function cell(label, name, ...children) {
  return h("td", { "data-label": label, class: name }, ...children);
}

/**
 * A name that may be a thousand characters long: the page shows its first lines, and all of it on hover.
 *
 * @template {HTMLElement} T
 * @param {T} made
 * @returns {T}
 */
export function clamped(made) {
  made.classList.add("clamp");
  if ((made.textContent ?? "").length > SHORT) made.title = made.textContent ?? "";
  return made;
}

/**
 * The cell of a user id.
 *
 * @param {string} label
 * @param {string} id
 * @param {string} nobody what stands there where there is none
 */
export function userCell(label, id, nobody) {
  return cell(label, "name", id ? clamped(h("span", {}, id)) : h("span", { class: "soft" }, nobody));
}

/**
 * @param {string} title
 * @param {string} name a class
 * @param {...Child} children
 */
export function card(title, name, ...children) {
  return h("section", { class: `card ${name}`, "aria-label": title }, h("h2", {}, title), ...children);
}

/**
 * @param {string} text
 * @param {"good" | "bad"} [kind]
 */
export function toast(text, kind = "good") {
  const made = h("p", { class: `toast ${kind}` }, text);
  element("toasts").append(made);
  setTimeout(() => made.remove(), 6_000);
}

/**
 * Ask before something is done.
 *
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button says that does it
 * @returns {Promise<boolean>}
 */
export function confirmed(title, text, yes) {
  const dialog = /** @type {HTMLDialogElement} */ (element("confirm"));
  setText(element("confirm-title"), title);
  setText(element("confirm-text"), text);
  setText(element("confirm-yes"), yes);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    element("confirm-yes").onclick = () => dialog.close("yes");
    element("confirm-no").onclick = () => dialog.close("");
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
