/**
 * Gobbler's client for browsers: one ES module, no dependencies.
 *
 *     import { Client } from "/client/gobbler.js";
 *
 *     const client = new Client({ user: "marvin" });
 *     await client.publish("/foo", "hello");
 *     for await (const message of client.subscribe("/foo", { from: -20 })) console.log(message.text);
 *
 * A client connects by itself, and again whenever the connection is lost; its subscriptions then go on
 * behind the last message that they were given: nothing is lost, nothing comes twice. How the server
 * speaks is written in docs/protocol.md, what this module offers in docs/browser.md.
 *
 * @module
 */

/** How long the server may take to greet, to answer a probe, and to acknowledge what `close` waits for. */
const ANSWER_MILLISECONDS = 10_000;
/** After so much silence the client asks whether the server is still there. */
const SILENCE_MILLISECONDS = 30_000;
const TICK_MILLISECONDS = 1_000;
/** The WebSocket's close code for a message that is larger than the server reads. */
const TOO_BIG = 1009;
/** What is asked for then: a fetch of nothing. Asking does not create the topic. */
const PROBE_PATH = "/gobbler-client-probe";

/** With more than this read but not yet taken from an iterator, a subscription pauses: the log is the queue. */
const MOST_MESSAGES = 2_000;
const MOST_BYTES = 4 * 1024 * 1024;
/** How many messages may wait for their acknowledgement. */
const MOST_PUBLISHES = 100_000;

const MAX_TOPIC_BYTES = 1024;
const MAX_FIELD_BYTES = 256;
const LINE_FEED = 10;
const SLASH = 47;

// The server's rules for topics and ids (docs/protocol.md). Its own answer to a bad topic would not say which.
const FORBIDDEN_IN_TOPIC = /[\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000,]/;
const FORBIDDEN_IN_ID = /[\u0000-\u0020\u007f-\u009f\u2028\u2029,]/;
const FORBIDDEN_IN_USER = /[\u0000-\u001f\u007f-\u009f\u2028\u2029,/]/;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * @typedef {"connecting" | "open" | "waiting" | "closed"} State
 * `waiting`: the connection was lost, and the next attempt is scheduled.
 *
 * @typedef {object} StateDetail
 * @property {number} [retryIn] milliseconds until the next attempt, with `waiting`
 * @property {number} [code] the WebSocket's close code, with `waiting`
 *
 * @typedef {object} ClientOptions
 * @property {string | URL} [url] where the server is; without it, where this module came from
 * @property {string} [user] who to be: one segment of a URL, without a comma
 * @property {string} [prefix] the server's `--ws-prefix`, `/stream/`
 * @property {{ min?: number, max?: number }} [backoff] milliseconds between attempts: 250, doubling to 10,000
 * @property {(state: State, detail: StateDetail) => void} [onState] told of every change
 * @property {(error: GobblerError) => void} [onError] told of what nobody else is; the console by default
 *
 * @typedef {object} PublishOptions
 * @property {string} [messageId] your id of the message; without it, one is made
 * @property {Record<string, unknown>} [headers]
 * @property {number} [timeout] milliseconds until the promise is rejected: 30,000
 *
 * @typedef {object} Receipt
 * @property {number} id the message's id in its partition
 * @property {string} path
 * @property {string} messageId
 * @property {number} time unix seconds
 *
 * @typedef {object} Gap
 * @property {string} path
 * @property {number} first
 * @property {number} last
 *
 * @typedef {object} SubscribeOptions
 * @property {number} [from] the first id wanted; 0: the oldest; -20: the newest 20; without it: from now on
 * @property {(message: Message) => void} [onMessage] called with each message; without it, iterate
 * @property {(gap: Gap) => void} [onGap] called where ids cannot be had any more
 * @property {(error: GobblerError) => void} [onError] called when the subscription fails; it has ended then
 * @property {AbortSignal} [signal] cancels the subscription
 *
 * @typedef {object} FetchOptions
 * @property {number} [from] as for a subscription; without it: the newest `count`
 * @property {number} [count] at most so many: 100
 * @property {(gap: Gap) => void} [onGap]
 * @property {AbortSignal} [signal]
 *
 * @typedef {string | ArrayBuffer | ArrayBufferView} Body
 */

/** The root of this module's errors; `code` says which it is. */
export class GobblerError extends Error {
  /**
   * @param {string} code
   * @param {string} text
   * @param {ErrorOptions} [options]
   */
  constructor(code, text, options) {
    super(text, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A topic, an id or an option that the server would refuse. */
export class ArgumentError extends GobblerError {
  /** @param {string} text */
  constructor(text) {
    super("argument", text);
  }
}

/**
 * A message was not acknowledged. `stored` is false where it certainly is not in the log, and null where
 * that is not known: the connection was lost, or time was up, after it had been sent.
 */
export class PublishError extends GobblerError {
  /**
   * @param {"refused" | "lost" | "timeout" | "closed" | "too-many"} code
   * @param {string} text
   * @param {false | null} stored
   */
  constructor(code, text, stored) {
    super(code, text);
    this.stored = stored;
  }
}

/** The server ended or refused a subscription. */
export class SubscriptionError extends GobblerError {
  /** @param {string} text */
  constructor(text) {
    super("subscription", text);
  }
}

/** The server refused a request; `status` is HTTP's. */
export class RequestError extends GobblerError {
  /**
   * @param {number} status
   * @param {string} text
   */
  constructor(status, text) {
    super("request", text);
    this.status = status;
  }
}

/** No connection came about in time, a request was not answered, or the client has been closed. */
export class ConnectionError extends GobblerError {
  /**
   * @param {"timeout" | "closed" | "unreachable"} code
   * @param {string} text
   * @param {ErrorOptions} [options]
   */
  constructor(code, text, options) {
    super(code, text, options);
  }
}

/** A message as subscribers and fetches get it. */
export class Message {
  #headers;
  /** @type {string | undefined} */
  #text;

  /**
   * @param {string[]} fields path, id, user id, application id, message id, unix seconds
   * @param {string | Record<string, unknown>} headers JSON, or what it means
   * @param {Uint8Array} bytes
   */
  constructor([path, id, userId, applicationId, messageId, time], headers, bytes) {
    this.path = path;
    /** The id in the partition: unique, rising. */
    this.id = Number(id);
    this.userId = userId;
    this.applicationId = applicationId;
    /** The publisher's own id of the message, "" for none. */
    this.messageId = messageId;
    /** When it was published, unix seconds. */
    this.time = Number(time);
    /** The body. */
    this.bytes = bytes;
    this.#headers = headers;
  }

  /** @returns {Record<string, unknown>} */
  get headers() {
    if (typeof this.#headers === "string") this.#headers = this.#headers ? JSON.parse(this.#headers) : {};
    return /** @type {Record<string, unknown>} */ (this.#headers);
  }

  /** The body as text; what is not UTF-8 is replaced. */
  get text() {
    this.#text ??= decoder.decode(this.bytes);
    return this.#text;
  }

  /** The body as JSON. @returns {any} */
  json() {
    return JSON.parse(this.text);
  }
}

/** A connection to a server that comes back whenever it is lost. */
export class Client {
  #options;
  #base;
  #address;
  /** @type {Link[]} */
  #links = [];
  #name = random();
  #published = 0;
  /** @type {(() => void)[]} */
  #onOpen = [];

  /**
   * Begins to connect at once.
   *
   * @param {ClientOptions} [options]
   * @throws {ArgumentError} the user or the URL cannot be used
   */
  constructor(options = {}) {
    this.#options = options;
    const user = options.user ?? "";
    checkUser(user);
    this.#base = baseOf(options.url ?? new URL("..", import.meta.url));
    const address = new URL((options.prefix ?? "/stream/").replace(/^\/+/, ""), this.#base);
    address.protocol = address.protocol.replace("http", "ws");
    if (user) address.pathname += `user/${encodeURIComponent(user)}`;
    this.#address = address;
    this.#links.push(this.#link((state, detail) => this.#changed(state, detail)));
  }

  /** @param {(state: State, detail: StateDetail) => void} onState */
  #link(onState) {
    const { min = 250, max = 10_000 } = this.#options.backoff ?? {};
    return new Link(this.#address, { min, max }, onState, (error) => this.#report(error));
  }

  /**
   * @param {State} state
   * @param {StateDetail} detail
   */
  #changed(state, detail) {
    if (state === "open" || state === "closed") for (const wake of this.#onOpen.splice(0)) wake();
    this.#options.onState?.(state, detail);
  }

  /** @param {GobblerError} error */
  #report(error) {
    if (this.#options.onError) this.#options.onError(error);
    else console.error(error);
  }

  /** @returns {State} */
  get state() {
    return this.#links[0].state;
  }

  /** What the server calls this connection; "" before the first one. It is another one after each reconnect. */
  get applicationId() {
    return this.#links[0].applicationId;
  }

  /**
   * Waits until the client is connected.
   *
   * @param {number} [timeout] milliseconds
   * @returns {Promise<this>}
   * @throws {ConnectionError} it was not in time, or the client was closed; it still goes on trying otherwise
   */
  async connected(timeout = ANSWER_MILLISECONDS) {
    if (this.state !== "open" && this.state !== "closed") {
      /** @type {Promise<void>} */
      const opened = new Promise((resolve) => this.#onOpen.push(resolve));
      await Promise.race([opened, sleep(timeout)]);
    }
    if (this.state === "closed") throw new ConnectionError("closed", "the client is closed");
    if (this.state !== "open") throw new ConnectionError("timeout", `cannot connect to ${this.#address}`);
    return this;
  }

  /** Tries again now where the next attempt is scheduled for later. */
  reconnect() {
    for (const link of this.#links) link.hurry();
  }

  /**
   * Publishes a message. The promise is fulfilled when it is in the server's log. While there is no
   * connection, the message waits.
   *
   * @param {string} path
   * @param {Body} [body]
   * @param {PublishOptions} [options]
   * @returns {Promise<Receipt>}
   * @throws {ArgumentError} the topic, the id or the headers cannot be used
   * @throws {PublishError} it was not acknowledged
   */
  async publish(path, body = "", { messageId, headers, timeout = 30_000 } = {}) {
    this.#published += 1;
    const id = messageId ?? `${this.#name}-${this.#published}`;
    checkId(id);
    const head = headers && Object.keys(headers).length ? `${JSON.stringify(headers)}\n` : "";
    const command = join(`> ${canonical(path)} ${id}\n${head}\n`, bytesOf(body));
    return this.#links[0].publish(command, performance.now() + timeout);
  }

  /**
   * Subscribes to a path and all below it.
   *
   * @param {string} path
   * @param {SubscribeOptions} [options]
   * @returns {Subscription}
   * @throws {ArgumentError} the topic or the start cannot be used
   */
  subscribe(path, options = {}) {
    if (this.state === "closed") throw new ConnectionError("closed", "the client is closed");
    if (options.from !== undefined) checkWhole("from", options.from);
    const subscription = new Subscription(canonical(path), options, (error) => this.#report(error));
    this.#place(subscription);
    return subscription;
  }

  /**
   * Gives a subscription to a connection on which no other path contains its path, or the other way
   * round: the server sends a message once a connection, and does not say for which path.
   *
   * @param {Subscription} subscription
   */
  #place(subscription) {
    let link = this.#links.find((known) => known.hasRoomFor(subscription.path));
    if (!link) {
      link = this.#link(() => {});
      this.#links.push(link);
    }
    link.add(subscription, () => this.#tidy(link));
  }

  /** @param {Link} link a connection that has lost a subscription */
  #tidy(link) {
    if (link === this.#links[0] || !link.empty) return;
    this.#links = this.#links.filter((known) => known !== link);
    link.close();
  }

  /**
   * Cancels all subscriptions to exactly this path.
   *
   * @param {string} path
   */
  cancel(path) {
    const topic = canonical(path);
    for (const link of [...this.#links]) link.cancel(topic);
  }

  /**
   * Fetches stored messages: what a subscription would have been given of them.
   *
   * @param {string} path
   * @param {FetchOptions} [options]
   * @returns {Promise<Message[]>}
   */
  async fetch(path, options = {}) {
    const found = [];
    for await (const message of this.fetchEach(path, options)) found.push(message);
    return found;
  }

  /**
   * Fetches stored messages one after another. A connection that is lost meanwhile is made again.
   *
   * @param {string} path
   * @param {FetchOptions} [options]
   * @returns {AsyncGenerator<Message, void>}
   * @throws {RequestError} the server refused
   * @throws {ConnectionError} it did not answer, six times
   */
  async *fetchEach(path, { from, count = 100, onGap, signal } = {}) {
    checkWhole("count", count);
    const topic = canonical(path);
    let start = from ?? -count;
    checkWhole("from", start);
    let left = count;
    for (let attempt = 0; left > 0; attempt += 1) {
      const query = new URLSearchParams({ from: `${start}`, count: `${left}` });
      if (this.#options.user) query.set("userId", this.#options.user);
      try {
        const response = await this.#request(`api/message/${encodeTopic(topic)}?${query}`, signal);
        for await (const line of linesOf(response)) {
          const item = JSON.parse(line);
          if (item.gap) onGap?.({ path: topic, ...item.gap });
          start = (item.gap ? item.gap.last : item.id) + 1;
          attempt = 0;
          if (item.gap) continue;
          left -= 1;
          yield messageOf(item);
        }
        return;
      } catch (error) {
        // What is thrown where the connection fails; everything else is final.
        if (!(error instanceof TypeError || error instanceof ConnectionError)) throw error;
        if (attempt >= 5) throw unreachable(error);
        await sleep(this.#pause(attempt));
      }
    }
  }

  /** @param {number} attempt */
  #pause(attempt) {
    const { min = 250, max = 10_000 } = this.#options.backoff ?? {};
    return delay(attempt, min, max);
  }

  /**
   * Returns who is subscribed to a path: the parameters of each route.
   *
   * @param {string} path
   * @returns {Promise<Record<string, string>[]>}
   * @throws {RequestError} the server refused
   * @throws {ConnectionError} it did not answer, or the page is from another origin: see docs/browser.md
   */
  async subscribers(path) {
    const response = await this.#request(`api/subscribers/${encodeTopic(canonical(path))}`);
    return response.json();
  }

  /**
   * @param {string} path
   * @param {AbortSignal} [signal]
   */
  async #request(path, signal) {
    const response = await fetch(new URL(path, this.#base), {
      headers: { Accept: "application/x-ndjson, text/plain" },
      cache: "no-store",
      signal: signal ?? null,
    }).catch((error) => {
      throw error instanceof TypeError ? unreachable(error) : error;
    });
    if (!response.ok) throw new RequestError(response.status, (await response.text()).trim());
    return response;
  }

  /**
   * Ends all subscriptions, waits for acknowledgements that are still missing, and closes.
   *
   * @returns {Promise<void>}
   */
  async close() {
    await Promise.all(this.#links.map((link) => link.close()));
  }
}

/**
 * Connects and waits for it: `new Client(options)` and `connected`. A client that did not come about is closed.
 *
 * @param {ClientOptions} [options]
 * @param {number} [timeout] milliseconds
 * @returns {Promise<Client>}
 */
export async function connect(options = {}, timeout = ANSWER_MILLISECONDS) {
  const client = new Client(options);
  try {
    return await client.connected(timeout);
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** One subscription; iterate over it, unless it was given a callback. */
export class Subscription {
  #options;
  #report;
  /** @type {(Message | Gap)[]} */
  #queue = [];
  #taken = 0;
  #bytes = 0;
  /** @type {(() => void)[]} */
  #waiting = [];
  /** @type {GobblerError | undefined} */
  #error;
  #ended = false;
  /** The id up to which everything has been received; null while that is not known. @type {number | null} */
  #position = null;
  /** Whether the next message only tells where the log stands: see `request`. */
  #marks = false;
  /** @type {number | null} */
  #last = null;
  /** @type {(() => void) | undefined} */
  #leave;
  /** @type {(() => void) | undefined} */
  #drained;
  /** @type {() => void} */
  #confirm = () => {};
  /** @type {(error: GobblerError) => void} */
  #refuse = () => {};

  /**
   * Made by `Client.subscribe`.
   *
   * @param {string} path
   * @param {SubscribeOptions} options
   * @param {(error: GobblerError) => void} report
   */
  constructor(path, options, report) {
    this.path = path;
    this.#options = options;
    this.#report = report;
    /**
     * Fulfilled when all that was stored has come and live messages follow, for the first time; or when so
     * much has come that the subscription waits for you to take it. Rejected when it ends before.
     *
     * @type {Promise<void>}
     */
    this.ready = new Promise((resolve, reject) => {
      this.#confirm = resolve;
      this.#refuse = reject;
    });
    this.ready.catch(() => {}); // nobody has to look at it
    options.signal?.addEventListener("abort", () => this.cancel(), { once: true });
    if (options.signal?.aborted) this.#end();
  }

  /** The id of the last message that you were given, null before the first. */
  get last() {
    return this.#last;
  }

  /** Whether nothing follows any more. */
  get ended() {
    return this.#ended;
  }

  /** Ends the subscription; nothing comes because of it any more. */
  cancel() {
    if (this.#ended) return;
    this.#queue = [];
    this.#taken = this.#bytes = 0;
    this.#refuse(new SubscriptionError("the subscription was canceled"));
    this.#end();
  }

  #end() {
    this.#ended = true;
    this.#leave?.();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** @returns {AsyncGenerator<Message, void>} */
  async *[Symbol.asyncIterator]() {
    if (this.#options.onMessage) throw new ArgumentError("a subscription with onMessage has no iterator");
    try {
      for (;;) {
        const item = this.#take();
        if (item instanceof Message) {
          this.#last = item.id;
          yield item;
        } else if (item) {
          this.#options.onGap?.(item);
        } else if (this.#error) {
          throw this.#error;
        } else if (this.#ended) {
          return;
        } else {
          await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
        }
      }
    } finally {
      this.cancel();
    }
  }

  #take() {
    const item = this.#queue[this.#taken];
    if (item === undefined) return undefined;
    this.#taken += 1;
    if (this.#taken === this.#queue.length) {
      this.#queue = [];
      this.#taken = 0;
    }
    if (item instanceof Message) this.#bytes -= item.bytes.length;
    if (this.hasRoom) this.#drained?.();
    return item;
  }

  get #backlog() {
    return this.#queue.length - this.#taken;
  }

  // What the connection calls. Not for others.

  /**
   * Learns how to leave the connection, and how to say that there is room again.
   *
   * @internal
   * @param {() => void} leave
   * @param {() => void} drained
   */
  placed(leave, drained) {
    this.#leave = leave;
    this.#drained = drained;
    if (this.#ended) leave();
  }

  /**
   * The command that begins, or goes on, on a new connection.
   *
   * A subscription "from now on" asks for the newest message and does not hand it over: then it knows
   * where the log stands, and after a lost connection goes on from there even if it has seen nothing.
   *
   * @internal
   */
  request() {
    const { from } = this.#options;
    this.#marks = this.#position === null && from === undefined;
    if (this.#position !== null) return `+ ${this.path} ${this.#position && this.#position + 1}`;
    return `+ ${this.path} ${from ?? -1}`;
  }

  /** Whether so little is left to take that a pause may end. @internal */
  get hasRoom() {
    return this.#backlog * 2 <= MOST_MESSAGES && this.#bytes * 2 <= MOST_BYTES;
  }

  /** @internal @param {number} count */
  fetchStarts(count) {
    // Nothing is stored: all that will ever come is new, and 0 asks for the oldest of it.
    if (count === 0 && this.#position === null && (this.#options.from ?? 0) <= 0) {
      this.#position = 0;
      this.#marks = false;
    }
  }

  /** @internal */
  fetchDone() {
    this.#marks = false;
  }

  /** @internal */
  confirmed() {
    this.#confirm();
  }

  /**
   * Takes a message; says whether there is room for more.
   *
   * @internal
   * @param {Message} message
   */
  received(message) {
    this.#position = message.id;
    if (this.#marks) {
      this.#marks = false;
      return true;
    }
    return this.#hand(message, this.#options.onMessage);
  }

  /** @internal @param {Gap} gap */
  missed(gap) {
    this.#position = Math.max(this.#position ?? 0, gap.last);
    this.#marks = false;
    return this.#hand(gap, this.#options.onMessage && (() => this.#options.onGap?.(gap)));
  }

  /**
   * @template {Message | Gap} T
   * @param {T} item
   * @param {((item: T) => void) | undefined} callback
   */
  #hand(item, callback) {
    if (callback) {
      if (item instanceof Message) this.#last = item.id;
      try {
        callback(item);
      } catch (error) {
        reportError(error); // as for any event's listener
      }
      return true;
    }
    this.#queue.push(item);
    if (item instanceof Message) this.#bytes += item.bytes.length;
    for (const wake of this.#waiting.splice(0)) wake();
    return this.#backlog <= MOST_MESSAGES && this.#bytes <= MOST_BYTES;
  }

  /** @internal @param {GobblerError} error */
  failed(error) {
    if (this.#ended) return;
    this.#error = error;
    this.#refuse(error);
    this.#end();
    if (this.#options.onError) this.#options.onError(error);
    else if (this.#options.onMessage) this.#report(error);
  }
}

/**
 * @typedef {object} Placed a subscription on a connection
 * @property {Subscription} subscription
 * @property {"due" | "running" | "pausing" | "paused" | "leaving"} phase
 * `due`: to be asked for. `pausing`, `leaving`: a cancel has been sent; what still comes is dropped.
 * @property {() => void} left
 *
 * @typedef {object} Publish
 * @property {Uint8Array} command
 * @property {number} size the command's, in bytes
 * @property {number} deadline as `performance.now` counts
 * @property {((receipt: Receipt) => void) | null} resolve null once the promise is settled
 * @property {(error: PublishError) => void} reject
 */

/** One WebSocket after another, and what has to be said on each. Not exported. */
class Link {
  #address;
  #backoff;
  #onState;
  #report;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {State} */
  #state = "connecting";
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticker;
  #heard = 0;
  #probed = false;
  #closing = false;
  /** @type {Map<string, Placed>} */
  #placed = new Map();
  /** How many of them are at or below a path. @type {Map<string, number>} */
  #above = new Map();
  /** @type {Publish[]} */
  #unsent = [];
  /** @type {Publish[]} */
  #unanswered = [];
  #answered = 0;
  /** @type {(() => void)[]} */
  #onAnswered = [];
  #hurry = () => this.hurry();

  applicationId = "";

  /**
   * @param {URL} address
   * @param {{ min: number, max: number }} backoff
   * @param {(state: State, detail: StateDetail) => void} onState
   * @param {(error: GobblerError) => void} report
   */
  constructor(address, backoff, onState, report) {
    this.#address = address;
    this.#backoff = backoff;
    this.#onState = onState;
    this.#report = report;
    globalThis.addEventListener?.("online", this.#hurry);
    this.#ticker = setInterval(() => this.#tick(), TICK_MILLISECONDS);
    // Not now: whoever makes a client has not got it yet when its state changes.
    this.#timer = setTimeout(() => this.#connect());
  }

  get state() {
    return this.#state;
  }

  get empty() {
    return this.#placed.size === 0;
  }

  /**
   * @param {State} state
   * @param {StateDetail} [detail]
   */
  #become(state, detail = {}) {
    this.#state = state;
    this.#onState(state, detail);
  }

  // Connecting

  #connect() {
    this.#become("connecting");
    const socket = new WebSocket(this.#address);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code }) => this.#lost(code);
    this.#socket = socket;
    this.#heard = performance.now();
    this.#probed = true; // the greeting is the answer that is waited for
  }

  hurry() {
    if (this.#state !== "waiting") return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /** @param {number} [code] */
  #lost(code) {
    this.#forget();
    if (code === TOO_BIG) this.#refuseLargest();
    for (const publish of this.#unanswered.splice(0)) {
      publish.resolve = null;
      publish.reject(new PublishError("lost", "the connection was lost before the answer came", null));
    }
    this.#answered = 0;
    this.#settled();
    for (const placed of [...this.#placed.values()]) {
      if (placed.phase === "leaving") this.#remove(placed);
      else placed.phase = placed.subscription.hasRoom ? "due" : "paused";
    }
    if (this.#closing) return;
    const retryIn = delay(this.#attempt, this.#backoff.min, this.#backoff.max);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(), retryIn);
    this.#become("waiting", code === undefined ? { retryIn } : { retryIn, code });
  }

  /** One of those without an answer was too large, so the largest was; sent again, it would end each connection anew. */
  #refuseLargest() {
    const sent = this.#unanswered.slice(this.#answered).filter((publish) => publish.resolve);
    if (!sent.length) return;
    const publish = sent.reduce((largest, one) => (one.size > largest.size ? one : largest));
    publish.resolve = null;
    publish.reject(new PublishError("refused", "message is larger than the server allows", false));
  }

  /** Lets the socket go; nothing it still says is heard. */
  #forget() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #tick() {
    const now = performance.now();
    this.#expire(now);
    if (!this.#socket) return;
    const silent = now - this.#heard;
    if (this.#probed && silent > ANSWER_MILLISECONDS) {
      this.#lost();
    } else if (!this.#probed && silent > SILENCE_MILLISECONDS) {
      this.#probed = true;
      this.#heard = now;
      this.#socket.send(`+ ${PROBE_PATH} 0 1`);
    }
  }

  /** @returns {Promise<void>} */
  async close() {
    if (this.#closing) return;
    this.#closing = true;
    globalThis.removeEventListener?.("online", this.#hurry);
    clearTimeout(this.#timer);
    for (const { subscription } of [...this.#placed.values()]) subscription.cancel();
    for (const publish of this.#unsent.splice(0)) {
      publish.reject(new PublishError("closed", "the client was closed before it was sent", false));
    }
    if (this.#unanswered.length > this.#answered) {
      /** @type {Promise<void>} */
      const answered = new Promise((resolve) => this.#onAnswered.push(resolve));
      await Promise.race([answered, sleep(ANSWER_MILLISECONDS)]);
    }
    clearInterval(this.#ticker);
    if (this.#socket) this.#lost();
    this.#become("closed");
  }

  // Receiving

  /** @param {ArrayBuffer | string} data */
  #received(data) {
    this.#heard = performance.now();
    this.#probed = false;
    const bytes = typeof data === "string" ? encoder.encode(data) : new Uint8Array(data);
    if (bytes[0] === SLASH) this.#message(parseMessage(bytes));
    else this.#notification(decoder.decode(bytes));
  }

  /** @param {Message} message */
  #message(message) {
    const placed = this.#covering(message.path);
    if (placed?.phase === "running" && !placed.subscription.received(message)) this.#pause(placed);
  }

  /**
   * The subscription that a path belongs to: there is one at most (see `hasRoomFor`).
   *
   * @param {string} path
   */
  #covering(path) {
    for (const above of lineOf(path)) {
      const placed = this.#placed.get(above);
      if (placed) return placed;
    }
    return undefined;
  }

  /** @param {string} payload */
  #notification(payload) {
    const [line, json = ""] = split(payload, "\n");
    const [kind, text = ""] = split(line, " ");
    const [path, rest = ""] = split(text, " ");
    const placed = this.#placed.get(path);
    const running = placed?.phase === "running" ? placed.subscription : undefined;
    switch (kind) {
      case "#connected":
        this.#opened(JSON.parse(json));
        break;
      case "#send":
        this.#acknowledged(JSON.parse(json));
        break;
      case "!error-send":
        this.#refused(rest);
        break;
      case "#fetch-start":
        running?.fetchStarts(Number(rest));
        break;
      case "#fetch-done":
        running?.fetchDone();
        break;
      case "#subscribed-to":
        running?.confirmed();
        break;
      case "#canceled":
        if (placed) this.#canceled(placed);
        break;
      case "!error-gap":
        if (placed && running) this.#gap(placed, path, rest);
        break;
      case "!error-subscribed-to":
        if (placed) this.#failed(placed, rest);
        break;
      default:
        this.#report(new GobblerError("server", payload.replace(/^!/, "")));
    }
  }

  /** @param {{ ApplicationId: string }} greeting */
  #opened(greeting) {
    this.#attempt = 0;
    this.applicationId = greeting.ApplicationId;
    for (const placed of this.#placed.values()) if (placed.phase === "due") this.#ask(placed);
    for (const publish of this.#unsent.splice(0)) this.#send(publish);
    this.#become("open");
  }

  // Subscriptions

  /**
   * Says whether a subscription to a path would be the only one here that its messages belong to.
   *
   * @param {string} path
   */
  hasRoomFor(path) {
    return !this.#closing && !this.#covering(path) && !this.#above.has(path);
  }

  /**
   * @param {Subscription} subscription
   * @param {() => void} left called when it is gone
   */
  add(subscription, left) {
    /** @type {Placed} */
    const placed = { subscription, phase: "due", left };
    this.#placed.set(subscription.path, placed);
    for (const above of lineOf(subscription.path)) this.#above.set(above, (this.#above.get(above) ?? 0) + 1);
    subscription.placed(
      () => this.#leave(placed),
      () => this.#resume(placed),
    );
    if (this.#state === "open" && placed.phase === "due") this.#ask(placed);
  }

  /** @param {Placed} placed */
  #ask(placed) {
    placed.phase = "running";
    this.#socket?.send(placed.subscription.request());
  }

  /** @param {Placed} placed */
  #pause(placed) {
    placed.phase = "pausing";
    placed.subscription.confirmed();
    this.#socket?.send(`- ${placed.subscription.path}`);
  }

  /** @param {Placed} placed */
  #resume(placed) {
    if (placed.phase !== "paused") return;
    placed.phase = "due";
    if (this.#state === "open") this.#ask(placed);
  }

  /** @param {Placed} placed */
  #leave(placed) {
    if (placed.phase === "running") this.#socket?.send(`- ${placed.subscription.path}`);
    if (placed.phase === "running" || placed.phase === "pausing") placed.phase = "leaving";
    else if (placed.phase !== "leaving") this.#remove(placed);
  }

  /** @param {Placed} placed */
  #canceled(placed) {
    if (placed.phase === "leaving") {
      this.#remove(placed);
    } else if (placed.phase === "pausing") {
      placed.phase = "paused";
      if (placed.subscription.hasRoom) this.#resume(placed);
    }
  }

  /**
   * @param {Placed} placed
   * @param {string} text
   */
  #failed(placed, text) {
    this.#remove(placed);
    placed.phase = "paused"; // so that leaving says nothing
    placed.subscription.failed(new SubscriptionError(text));
  }

  /** @param {Placed} placed */
  #remove(placed) {
    const { path } = placed.subscription;
    if (this.#placed.get(path) !== placed) return;
    this.#placed.delete(path);
    for (const above of lineOf(path)) {
      const left = (this.#above.get(above) ?? 0) - 1;
      if (left > 0) this.#above.set(above, left);
      else this.#above.delete(above);
    }
    placed.left();
  }

  /**
   * @param {Placed} placed
   * @param {string} path
   * @param {string} range
   */
  #gap(placed, path, range) {
    const [first, last] = range.split(" ").map(Number);
    if (!placed.subscription.missed({ path, first, last })) this.#pause(placed);
  }

  /** @param {string} path */
  cancel(path) {
    this.#placed.get(path)?.subscription.cancel();
  }

  // Publishing

  /**
   * @param {Uint8Array} command
   * @param {number} deadline
   * @returns {Promise<Receipt>}
   */
  publish(command, deadline) {
    return new Promise((resolve, reject) => {
      if (this.#closing) {
        reject(new PublishError("closed", "the client is closed", false));
      } else if (this.#unsent.length + this.#unanswered.length - this.#answered >= MOST_PUBLISHES) {
        reject(new PublishError("too-many", "too many messages wait for their acknowledgement", false));
      } else {
        const publish = { command, size: command.length, deadline, resolve, reject };
        if (this.#state === "open") this.#send(publish);
        else this.#unsent.push(publish);
      }
    });
  }

  /** @param {Publish} publish */
  #send(publish) {
    this.#socket?.send(/** @type {Uint8Array<ArrayBuffer>} */ (publish.command));
    publish.command = NOTHING; // it is not sent again: the server may have it
    this.#unanswered.push(publish);
  }

  /** The oldest message without an answer: answers come in the order of the sends. */
  #next() {
    const publish = this.#unanswered[this.#answered];
    this.#answered += 1;
    if (this.#answered * 2 > this.#unanswered.length) {
      this.#unanswered.splice(0, this.#answered);
      this.#answered = 0;
    }
    return publish;
  }

  /** @param {{ sequenceId: string, path: string, publisherMessageId: string, messagePublishingTime: string }} facts */
  #acknowledged(facts) {
    this.#next()?.resolve?.({
      id: Number(facts.sequenceId),
      path: facts.path,
      messageId: facts.publisherMessageId,
      time: Number(facts.messagePublishingTime),
    });
    this.#settled();
  }

  /** @param {string} text */
  #refused(text) {
    const publish = this.#next();
    if (publish?.resolve) publish.reject(new PublishError("refused", text, false));
    this.#settled();
  }

  #settled() {
    if (this.#unanswered.length > this.#answered) return;
    for (const wake of this.#onAnswered.splice(0)) wake();
  }

  /** @param {number} now */
  #expire(now) {
    this.#unsent = this.#unsent.filter((publish) => {
      if (publish.deadline > now) return true;
      publish.reject(new PublishError("timeout", "there was no connection to send it in time", false));
      return false;
    });
    for (const publish of this.#unanswered) {
      if (publish.deadline > now || !publish.resolve) continue;
      publish.resolve = null; // its place in the line of answers stays
      publish.reject(new PublishError("timeout", "no acknowledgement came in time", null));
    }
  }
}

const NOTHING = new Uint8Array(0);

/** @param {unknown} cause */
function unreachable(cause) {
  return cause instanceof ConnectionError ? cause : new ConnectionError("unreachable", "the server does not answer", { cause });
}

/**
 * Returns a topic as the server keeps it.
 *
 * @param {string} path
 * @throws {ArgumentError} it breaks a rule; the text says which
 */
function canonical(path) {
  const topic = path.endsWith("/") ? path.slice(0, -1) : path;
  if (!path.startsWith("/")) throw new ArgumentError("topic must begin with '/'");
  if (!topic) throw new ArgumentError("topic has no segment");
  if (topic.includes("//") || topic.endsWith("/")) throw new ArgumentError("topic has an empty segment");
  if (FORBIDDEN_IN_TOPIC.test(topic)) {
    throw new ArgumentError("topic holds a comma, white space or a control character");
  }
  if (sizeOf(topic) > MAX_TOPIC_BYTES) throw new ArgumentError(`topic is longer than ${MAX_TOPIC_BYTES} bytes`);
  return topic;
}

/** @param {string} id */
function checkId(id) {
  if (FORBIDDEN_IN_ID.test(id)) {
    throw new ArgumentError("message id holds a comma, white space or a control character");
  }
  if (sizeOf(id) > MAX_FIELD_BYTES) throw new ArgumentError(`message id is longer than ${MAX_FIELD_BYTES} bytes`);
}

/** @param {string} user */
function checkUser(user) {
  if (FORBIDDEN_IN_USER.test(user)) {
    throw new ArgumentError("user id holds a comma, a slash or a control character");
  }
  // URLs have no segments like these: they would lead elsewhere.
  if (user === "." || user === "..") throw new ArgumentError(`user id must not be ${user}`);
  if (sizeOf(user) > MAX_FIELD_BYTES) throw new ArgumentError(`user id is longer than ${MAX_FIELD_BYTES} bytes`);
}

/**
 * @param {string} name
 * @param {number} value
 */
function checkWhole(name, value) {
  if (!Number.isSafeInteger(value)) throw new ArgumentError(`${name} is not a whole number`);
}

/**
 * Yields a topic and each that contains it: `/a/b/c`, `/a/b`, `/a`.
 *
 * @param {string} topic
 */
function* lineOf(topic) {
  for (let end = topic.length; end > 0; end = topic.lastIndexOf("/", end - 1)) yield topic.slice(0, end);
}

/**
 * Returns the length in UTF-8.
 *
 * @param {string} text
 * @throws {ArgumentError} it is half of a character
 */
function sizeOf(text) {
  const bytes = encoder.encode(text);
  if (decoder.decode(bytes) !== text) throw new ArgumentError("text holds half of a character");
  return bytes.length;
}

/** @param {string | URL} url */
function baseOf(url) {
  try {
    const base = new URL(url);
    if (base.protocol !== "http:" && base.protocol !== "https:") throw new TypeError(base.protocol);
    base.search = base.hash = "";
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    return base;
  } catch (error) {
    throw new ArgumentError(`not an address such as http://localhost:8080: ${url}`);
  }
}

/**
 * Returns a topic for the path of a URL, without its first slash.
 *
 * @param {string} topic
 */
function encodeTopic(topic) {
  const segments = topic.slice(1).split("/");
  // A URL would lose segments that are dots; the server takes an escaped slash like any other.
  const slash = segments.some((segment) => segment === "." || segment === "..") ? "%2F" : "/";
  return segments.map(encodeURIComponent).join(slash);
}

/** @param {Body} body */
function bytesOf(body) {
  if (typeof body === "string") return encoder.encode(body);
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  throw new ArgumentError("a body is a string, an ArrayBuffer or a view of one");
}

/**
 * @param {string} head
 * @param {Uint8Array} body
 */
function join(head, body) {
  const first = encoder.encode(head);
  const whole = new Uint8Array(first.length + body.length);
  whole.set(first);
  whole.set(body, first.length);
  return whole;
}

/**
 * Splits a text in two.
 *
 * @param {string} text
 * @param {string} separator
 * @returns {[string, string?]}
 */
function split(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** @param {Uint8Array} bytes */
function parseMessage(bytes) {
  const first = bytes.indexOf(LINE_FEED);
  const second = bytes.indexOf(LINE_FEED, first + 1);
  return new Message(
    decoder.decode(bytes.subarray(0, first)).split(","),
    decoder.decode(bytes.subarray(first + 1, second)),
    bytes.subarray(second + 1),
  );
}

/**
 * @param {{ path: string, id: number, userId: string, applicationId: string, messageId: string, time: number,
 *   headers: Record<string, unknown>, body?: string, bodyBase64?: string }} item
 */
function messageOf(item) {
  const bytes =
    item.body === undefined
      ? Uint8Array.from(atob(item.bodyBase64 ?? ""), (character) => character.charCodeAt(0))
      : encoder.encode(item.body);
  const { path, id, userId, applicationId, messageId, time } = item;
  return new Message([path, `${id}`, userId, applicationId, messageId, `${time}`], item.headers, bytes);
}

/**
 * @param {Response} response
 * @returns {AsyncGenerator<string, void>}
 */
async function* linesOf(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const partial = new TextDecoder("utf-8", { ignoreBOM: true });
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const lines = (rest + partial.decode(value, { stream: !done })).split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Milliseconds before an attempt: doubling, and never the same for all clients. */
function delay(/** @type {number} */ attempt, /** @type {number} */ min, /** @type {number} */ max) {
  return Math.min(max, min * 2 ** Math.min(attempt, 30)) * (0.5 + Math.random() / 2);
}

/**
 * @param {number} milliseconds
 * @returns {Promise<void>}
 */
function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A name for this client's messages; unlike `crypto.randomUUID` it is there without HTTPS, too. */
function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(36).padStart(2, "0")).join("");
}
