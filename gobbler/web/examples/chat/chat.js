/**
 * The chat: a room is a topic, a message is a message. docs/browser.md walks through it.
 *
 * @module
 */

import { ArgumentError, Client, GobblerError, PublishError } from "/client/gobbler.js";

const HISTORY = 50;
/** How often the page asks who is there. */
const PEOPLE_MILLISECONDS = 5_000;
/** What counts as "at the end" of the conversation, in pixels. */
const NEAR = 80;
/** Most messages are stored before anybody could read that they are being sent. */
const SOON_MILLISECONDS = 400;

/** What can be done about a message that was not sent, by its fate. */
const REMEDIES = /** @type {Record<string, string>} */ ({ unsure: "Send again", refused: "Edit" });

const TEXTS = { connecting: "Connecting …", open: "Connected", waiting: "Offline", closed: "" };

/**
 * @typedef {import("../../client/gobbler.js").Message} Message
 * @typedef {import("../../client/gobbler.js").State} State
 * @typedef {import("../../client/gobbler.js").StateDetail} StateDetail
 */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no ${id}`);
  return /** @type {T} */ (found);
}

/** One room, from joining to leaving. */
class Room {
  /** @type {Map<string, HTMLElement>} my messages that are not in the log yet, by their ids */
  #waiting = new Map();
  /** @type {number | null} the id of the oldest message that is shown */
  #oldest = null;
  /** @type {Set<string>} who is there, as far as the server has told */
  #people = new Set();
  #shown = 0;
  #unread = 0;
  #lost = false;
  /** Whether all that was stored has come. */
  #live = false;
  /** Whether what comes is scrolled to: until somebody reads back. */
  #following = true;
  /** How far it was scrolled, in pixels. */
  #top = 0;
  /** @type {ReturnType<typeof setInterval>} */
  #asking;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #countdown;
  #left = new AbortController();

  /**
   * @param {string} name
   * @param {string} topic
   * @param {string} title
   */
  constructor(name, topic, title) {
    this.name = name;
    this.topic = topic;
    element("title").textContent = title;
    const prefix = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=gobbler-prefix]")).content;
    this.client = new Client({
      user: name,
      prefix,
      backoff: { max: 5_000 },
      onState: (state, detail) => this.#stateChanged(state, detail),
    });
    const subscription = this.client.subscribe(topic, {
      from: -HISTORY,
      onMessage: (message) => this.#received(message),
      onGap: () => this.#append(note("gap", "Some messages are no longer kept.")),
      onError: (error) => this.#append(note("gap", `The conversation cannot be read: ${error.message}`)),
      signal: this.#left.signal,
    });
    subscription.ready.then(
      () => this.#ready(),
      () => {},
    );
    this.#asking = setInterval(() => this.#askForPeople(), PEOPLE_MILLISECONDS);
    this.#listen();
  }

  #listen() {
    const { signal } = this.#left;
    element("composer").addEventListener("submit", (event) => this.#submitted(event), { signal });
    element("text").addEventListener("keydown", (event) => this.#keyPressed(event), { signal });
    element("retry").addEventListener("click", () => this.client.reconnect(), { signal });
    element("earlier").addEventListener("click", () => this.#showEarlier(), { signal });
    element("newest").addEventListener("click", () => this.#scrollToEnd(), { signal });
    element("scroll").addEventListener("scroll", () => this.#scrolled(), { signal, passive: true });
    document.addEventListener("visibilitychange", () => this.#scrolled(), { signal });
    element("log").addEventListener("click", (event) => this.#remedy(event), { signal });
    globalThis.addEventListener("beforeunload", (event) => this.unsent && event.preventDefault(), { signal });
    // A telephone's keyboard, or a longer text in the field, takes room from the conversation.
    const resized = new ResizeObserver(() => this.#following && this.#scrollToEnd("instant"));
    resized.observe(element("scroll"));
    signal.addEventListener("abort", () => resized.disconnect());
  }

  /** How many messages would be lost if somebody left now. */
  get unsent() {
    return this.#waiting.size;
  }

  async leave() {
    this.#left.abort();
    clearInterval(this.#asking);
    clearInterval(this.#countdown);
    element("log").replaceChildren();
    for (const id of ["empty", "earlier", "newest", "retry"]) element(id).hidden = true;
    element("people").textContent = "";
    document.title = "Chat · Gobbler";
    await this.client.close();
  }

  // What the client tells

  /**
   * @param {State} state
   * @param {StateDetail} detail
   */
  #stateChanged(state, { retryIn = 0 }) {
    if (this.#left.signal.aborted) return;
    clearInterval(this.#countdown);
    element("status").dataset.state = state;
    element("retry").hidden = state !== "waiting" || retryIn < 1_000;
    element("countdown").textContent = "";
    if (state === "waiting") this.#countDown(performance.now() + retryIn);
    // Attempts come and go; whoever listens need not hear of each.
    if (state !== "connecting" || !this.#lost) element("status-text").textContent = TEXTS[state];
    this.#lost = state === "waiting" || (state === "connecting" && this.#lost);
    if (state === "open") this.#askForPeople();
    else element("people").textContent = "";
  }

  /** @param {number} end as performance.now counts */
  #countDown(end) {
    const show = () => {
      const seconds = Math.ceil((end - performance.now()) / 1_000);
      element("countdown").textContent = seconds > 1 ? `, next try in ${seconds} s` : "";
    };
    show();
    this.#countdown = setInterval(show, 1_000);
  }

  #ready() {
    this.#live = true;
    this.#showEmptiness();
    element("earlier").hidden = this.#shown < HISTORY;
    element("log").setAttribute("aria-live", "polite"); // from here on, what comes is new
    this.#scrollToEnd("instant");
  }

  /** @param {Message} message */
  #received(message) {
    this.#scrolled(); // the event of it comes with the next frame, and a message may come before that
    this.#oldest ??= message.id;
    this.#shown += 1;
    this.#showEmptiness();
    const mine = message.userId === this.name;
    const waiting = mine ? this.#waiting.get(message.messageId) : undefined;
    this.#waiting.delete(message.messageId);
    if (waiting) date(unmark(waiting), message.time);
    this.#insert(waiting ?? render(message.userId, message.text, message.time, mine));
    const follow = this.#following || waiting !== undefined;
    if (follow) this.#scrollToEnd();
    if (!follow || (document.hidden && this.#live)) this.#countUnread();
    if (!mine && !this.#people.has(message.userId)) this.#askForPeople();
  }

  async #askForPeople() {
    if (document.hidden || this.client.state !== "open") return;
    try {
      const routes = await this.client.subscribers(this.topic);
      this.#people = new Set(routes.map((route) => route.user_id));
      const others = [...this.#people].filter((name) => name && name !== this.name).sort();
      const windows = routes.filter((route) => route.user_id === this.name).length;
      const me = windows > 1 ? `${this.name}, in ${windows} windows` : this.name;
      // The others first: on a telephone, the end of a long line is cut.
      element("people").textContent = others.length ? `${others.join(", ")} and you (${me})` : `Only you (${me}) are here`;
    } catch {
      // The next time will tell.
    }
  }

  // Showing

  /**
   * Puts a message where the log has it: behind all that are stored, and before mine that are not yet.
   * One that stands there already is left alone, so that it is not read out a second time.
   *
   * @param {HTMLElement} shown
   */
  #insert(shown) {
    const log = element("log");
    const first = this.#waiting.values().next().value ?? null;
    if (!shown.isConnected || nextOf(shown) !== first) log.insertBefore(shown, first);
    this.#arrange(log);
  }

  /** @param {HTMLElement} item */
  #append(item) {
    element("log").append(item);
    this.#arrange(element("log"));
    this.#scrollToEnd();
  }

  /**
   * Says which messages begin a group of one person's, and where a day begins.
   *
   * @param {HTMLElement} log
   */
  #arrange(log) {
    let day = "";
    let who = "";
    /** @type {HTMLElement | undefined} what stands before the message already */
    let shown;
    for (const item of [.../** @type {HTMLCollectionOf<HTMLElement>} */ (log.children)]) {
      if (item.classList.contains("day")) {
        shown?.remove();
        shown = item;
      } else if (item.dataset.who) {
        const its = dayOf(Number(item.dataset.time));
        if (its === day || shown?.textContent !== its) shown?.remove();
        if (its !== day && shown?.textContent !== its) item.before(note("day", its));
        item.classList.toggle("first", its !== day || item.dataset.who !== who);
        day = its;
        who = item.dataset.who;
        shown = undefined;
      } else {
        who = "";
      }
    }
    shown?.remove(); // nothing is behind it any more
  }

  /** Says that there is nothing, once that is known, and until something is stored or about to be sent. */
  #showEmptiness() {
    element("empty").hidden = !this.#live || this.#shown + this.unsent > 0;
  }

  #atEnd() {
    const scroll = element("scroll");
    return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;
  }

  /** @param {ScrollBehavior} [behavior] */
  #scrollToEnd(behavior = "auto") {
    const scroll = element("scroll");
    this.#following = true;
    scroll.scrollTo({ top: scroll.scrollHeight, behavior });
    if (!document.hidden) this.#readAll();
  }

  #scrolled() {
    const { scrollTop } = element("scroll");
    // On the way down to the end, which takes a moment, nobody has read back.
    if (this.#atEnd()) this.#following = true;
    else if (scrollTop < this.#top) this.#following = false;
    this.#top = scrollTop;
    if (this.#atEnd() && !document.hidden) this.#readAll();
  }

  #readAll() {
    this.#unread = 0;
    element("newest").hidden = true;
    document.title = `${element("title").textContent} · Gobbler`;
  }

  #countUnread() {
    this.#unread += 1;
    element("newest").hidden = false;
    document.title = `(${this.#unread}) ${element("title").textContent} · Gobbler`;
  }

  async #showEarlier() {
    const button = /** @type {HTMLButtonElement} */ (element("earlier"));
    const scroll = element("scroll");
    button.disabled = true;
    try {
      const wanted = this.#shown + HISTORY;
      const found = await this.client.fetch(this.topic, { from: -wanted, count: HISTORY });
      const older = found.filter((message) => this.#oldest !== null && message.id < this.#oldest);
      const height = scroll.scrollHeight;
      const log = element("log");
      log.setAttribute("aria-live", "off");
      log.prepend(...older.map((each) => render(each.userId, each.text, each.time, each.userId === this.name)));
      this.#arrange(log);
      log.setAttribute("aria-live", "polite");
      this.#oldest = older[0]?.id ?? this.#oldest;
      this.#shown += older.length;
      button.hidden = older.length < HISTORY;
      scroll.scrollTo({ top: scroll.scrollTop + scroll.scrollHeight - height, behavior: "instant" });
      button.textContent = "Show earlier messages";
    } catch (error) {
      if (!(error instanceof GobblerError)) throw error;
      button.textContent = "Earlier messages cannot be had now. Try again";
    } finally {
      button.disabled = false;
    }
  }

  // Sending

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    /** @type {HTMLFormElement} */ (element("composer")).requestSubmit();
  }

  /** @param {Event} event */
  #submitted(event) {
    event.preventDefault();
    const field = /** @type {HTMLTextAreaElement} */ (element("text"));
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    field.focus();
    this.#send(text);
  }

  /** @param {string} text */
  #send(text) {
    const messageId = `chat-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;
    const shown = render(this.name, text, Date.now() / 1_000, true);
    shown.dataset.message = messageId;
    this.#waiting.set(messageId, shown);
    this.#showEmptiness();
    this.#append(shown);
    this.#publish(messageId, text, shown);
  }

  /**
   * Publishes, and waits for a connection as long as it takes. The message is shown as stored when it comes
   * back as a message, and only then: where the connection was lost in between, the replay tells whether it
   * had been.
   *
   * @param {string} messageId
   * @param {string} text
   * @param {HTMLElement} shown
   */
  async #publish(messageId, text, shown) {
    const waits = () => this.#waiting.get(messageId) === shown;
    const open = this.client.state === "open";
    const told = open ? "sending …" : "waits for the connection";
    mark(shown, "sending", open ? "" : told);
    const soon = setTimeout(() => waits() && mark(shown, "sending", told), SOON_MILLISECONDS);
    try {
      await this.client.publish(this.topic, text, { messageId, timeout: Infinity });
    } catch (error) {
      if (!(error instanceof PublishError)) throw error;
      if (!waits()) return;
      const fate = error.code === "refused" ? "refused" : "unsure";
      mark(shown, fate, error.stored === null ? "may not have arrived" : `not sent: ${error.message}`);
      if (this.#following) this.#scrollToEnd();
    } finally {
      clearTimeout(soon);
    }
  }

  /** @param {Event} event */
  #remedy(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const shown = /** @type {HTMLElement | null} */ (target.closest(".remedy") && target.closest(".message"));
    const messageId = shown?.dataset.message;
    if (!shown || !messageId || !this.#waiting.has(messageId)) return;
    const text = part(shown, ".text").textContent ?? "";
    if (shown.dataset.fate === "refused") this.#takeBack(messageId, text, shown);
    else this.#publish(messageId, text, shown);
  }

  /**
   * Puts a message that cannot be sent as it is back to where it was written, before what stands there.
   *
   * @param {string} messageId
   * @param {string} text
   * @param {HTMLElement} shown
   */
  #takeBack(messageId, text, shown) {
    this.#waiting.delete(messageId);
    shown.remove();
    this.#arrange(element("log"));
    this.#showEmptiness();
    const field = /** @type {HTMLTextAreaElement} */ (element("text"));
    field.value = field.value ? `${text}\n${field.value}` : text;
    field.focus();
  }
}

/**
 * @param {string} who
 * @param {string} text
 * @param {number} time unix seconds
 * @param {boolean} mine
 */
function render(who, text, time, mine) {
  const template = /** @type {HTMLTemplateElement} */ (element("message"));
  const fragment = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const item = /** @type {HTMLElement} */ (fragment.firstElementChild);
  item.classList.toggle("mine", mine);
  item.dataset.who = `${mine ? "me" : "other"} ${who}`;
  item.style.setProperty("--hue", `${hueOf(who)}`);
  part(item, ".who").textContent = mine ? "You" : who || "Somebody";
  part(item, ".text").textContent = text;
  date(item, time);
  return item;
}

/**
 * @param {HTMLElement} item
 * @param {number} time unix seconds
 */
function date(item, time) {
  const when = /** @type {HTMLTimeElement} */ (part(item, "time"));
  item.dataset.time = `${time}`;
  when.dateTime = new Date(time * 1_000).toISOString();
  when.textContent = new Date(time * 1_000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/**
 * @param {HTMLElement} item
 * @param {string} fate
 * @param {string} text
 */
function mark(item, fate, text) {
  item.dataset.fate = fate;
  part(item, ".fate").textContent = text;
  const remedy = part(item, ".remedy");
  remedy.textContent = REMEDIES[fate] ?? "";
  remedy.hidden = !(fate in REMEDIES);
}

/** @param {HTMLElement} item */
function unmark(item) {
  delete item.dataset.fate;
  part(item, ".fate").textContent = "";
  part(item, ".remedy").hidden = true;
  return item;
}

/**
 * The message behind another one, days left out.
 *
 * @param {HTMLElement} item
 */
function nextOf(item) {
  let next = item.nextElementSibling;
  while (next?.classList.contains("day")) next = next.nextElementSibling;
  return next;
}

/**
 * @param {HTMLElement} item
 * @param {string} selector
 * @returns {HTMLElement}
 */
function part(item, selector) {
  return /** @type {HTMLElement} */ (item.querySelector(selector));
}

/**
 * @param {string} kind
 * @param {string} text
 */
function note(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  return item;
}

/** @param {number} time */
function dayOf(time) {
  const when = new Date(time * 1_000);
  if (when.toDateString() === new Date().toDateString()) return "Today";
  return when.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long", year: "numeric" });
}

/** The same colour for a name everywhere. @param {string} name */
function hueOf(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 360;
  return hash;
}

// The door

/** @type {Room | null} */
let room = null;

const nameField = /** @type {HTMLInputElement} */ (element("name"));
const roomField = /** @type {HTMLInputElement} */ (element("room-name"));

/** The room of the address: `/examples/chat#lobby`. */
function roomOfAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || "lobby";
  } catch {
    return "lobby";
  }
}

/**
 * @param {HTMLInputElement} field
 * @param {string} text
 */
function tell(field, text) {
  element(`${field.id === "name" ? "name" : "room"}-problem`).textContent = text;
  field.setAttribute("aria-invalid", text ? "true" : "false");
  if (text) field.focus();
  return !text;
}

function checkFields() {
  const name = nameField.value.trim();
  const title = roomField.value.trim();
  const roomIsGood = tell(roomField, /^[^\s,/]+$/.test(title) ? "" : "A room is one word without commas and slashes.");
  let problem = "";
  if (!name) problem = "Please enter a name.";
  else if (/[,/]/.test(name)) problem = "A name has no commas and slashes.";
  return tell(nameField, problem) && roomIsGood;
}

/** @param {Event} event */
function joined(event) {
  event.preventDefault();
  if (!checkFields()) return;
  const name = nameField.value.trim();
  const title = roomField.value.trim();
  try {
    room = new Room(name, `/chat/${title}`, title);
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    tell(nameField, `That does not work: ${error.message}.`);
    return;
  }
  sessionStorage.setItem("gobbler-chat-name", name);
  localStorage.setItem("gobbler-chat-name", name);
  history.replaceState(null, "", `#${encodeURIComponent(title)}`);
  element("door").hidden = true;
  element("room").hidden = false;
  element("text").focus();
}

async function left() {
  const before = room;
  room = null;
  sessionStorage.removeItem("gobbler-chat-name");
  element("room").hidden = true;
  element("door").hidden = false;
  nameField.focus();
  await before?.leave();
}

nameField.value = localStorage.getItem("gobbler-chat-name") ?? "";
roomField.value = roomOfAddress();
element("join").addEventListener("submit", joined);
element("leave").addEventListener("click", () => {
  if (!room?.unsent || confirm("Some of your messages have not been sent, and would be lost. Leave?")) left();
});
globalThis.addEventListener("hashchange", async () => {
  const title = roomOfAddress();
  if (title === roomField.value) return;
  const name = nameField.value;
  await left();
  nameField.value = name;
  roomField.value = title;
});
// A page that is loaded again goes back to where it was.
if (sessionStorage.getItem("gobbler-chat-name")) {
  nameField.value = sessionStorage.getItem("gobbler-chat-name") ?? "";
  /** @type {HTMLFormElement} */ (element("join")).requestSubmit();
} else {
  nameField.focus();
}
