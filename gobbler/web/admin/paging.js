/**
 * Paging, and fields to search with.
 *
 * @module
 */

import { h } from "./dom.js";

const TYPING = 250;

let fields = 0;

/**
 * A field that is searched with while somebody types.
 *
 * @param {string} label
 * @param {string} placeholder
 * @param {string} value
 * @param {() => void} changed
 */
export function searchField(label, placeholder, value, changed) {
  fields += 1;
  const id = `search-${fields}`;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const input = h("input", {
    id,
    type: "search",
    placeholder,
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(changed, TYPING);
    },
  });
  input.value = value;
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, label), input),
    get value() {
      return input.value.trim();
    },
  };
}

/**
 * Disables buttons of which there is nothing to turn to. The focus goes from one of them to one that is left.
 *
 * @param {[HTMLButtonElement, boolean][]} buttons and whether each is disabled
 */
export function disable(buttons) {
  const left = buttons.find(([, disabled]) => !disabled)?.[0];
  for (const [button, disabled] of buttons) if (!disabled) button.disabled = false;
  for (const [button, disabled] of buttons) {
    if (disabled && button === document.activeElement) left?.focus();
    if (disabled) button.disabled = true;
  }
}

/** Pages that begin behind something: the server tells behind what the next one does. */
export class Pager {
  /** @type {string[]} behind what this page and those before it begin */
  #begun = [""];
  /** @type {string | null} */
  #next = null;

  /** @param {() => void} turned */
  constructor(turned) {
    this.turned = turned;
    this.back = h("button", { type: "button", class: "quiet", onclick: () => this.#turn(false) }, "Previous");
    this.forth = h("button", { type: "button", class: "quiet", onclick: () => this.#turn(true) }, "Next");
    this.place = h("span", { class: "soft" });
    this.element = h("nav", { class: "pager", "aria-label": "Pages", hidden: true }, this.back, this.place, this.forth);
  }

  get after() {
    return /** @type {string} */ (this.#begun.at(-1));
  }

  /** Go to the first page. */
  first() {
    this.#begun = [""];
    this.turned();
  }

  /** @param {string | null} next behind what the next page begins; null where there is none */
  show(next) {
    this.#next = next;
    disable([[this.back, this.#begun.length < 2], [this.forth, next === null]]);
    this.place.textContent = `Page ${this.#begun.length}`;
    this.element.hidden = this.back.disabled && this.forth.disabled;
  }

  /** @param {boolean} forth */
  #turn(forth) {
    if (!forth) this.#begun.pop();
    else if (this.#next !== null) this.#begun.push(this.#next);
    this.turned();
  }
}

/** Pages of a list of which the length is known. */
export class OffsetPager {
  offset = 0;

  /**
   * @param {number} limit
   * @param {() => void} turned
   */
  constructor(limit, turned) {
    this.limit = limit;
    this.turned = turned;
    this.back = h("button", { type: "button", class: "quiet", onclick: () => this.#turn(-1) }, "Previous");
    this.forth = h("button", { type: "button", class: "quiet", onclick: () => this.#turn(1) }, "Next");
    this.place = h("span", { class: "soft" });
    this.element = h("nav", { class: "pager", "aria-label": "Pages", hidden: true }, this.back, this.place, this.forth);
  }

  first() {
    this.offset = 0;
    this.turned();
  }

  /** @param {number} total */
  show(total) {
    const format = new Intl.NumberFormat("en").format;
    const last = Math.min(this.offset + this.limit, total);
    disable([[this.back, this.offset === 0], [this.forth, last >= total]]);
    this.place.textContent = `${format(Math.min(this.offset + 1, total))} to ${format(last)} of ${format(total)}`;
    this.element.hidden = this.back.disabled && this.forth.disabled;
  }

  /** @param {number} pages */
  #turn(pages) {
    this.offset = Math.max(0, this.offset + pages * this.limit);
    this.turned();
  }
}
