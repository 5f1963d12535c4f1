/**
 * Small plots of the last five minutes.
 *
 * @module
 */

import { h, setText } from "./dom.js";
import { clock } from "./format.js";

/**
 * @typedef {import("./server.js").Point} Point
 * @typedef {{name: string, value: (point: Point) => number}} Series
 */

const SECONDS = 300;
const WIDTH = 300;
const HEIGHT = 64;
/** Between samples that are farther apart, nothing is known. */
const GAP_SECONDS = 4;

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 */
function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/**
 * A round number that is not smaller.
 *
 * @param {number} value
 * @param {number} thousand 1000, or 1024 for bytes
 */
function ceiling(value, thousand) {
  let unit = 1;
  while (value >= unit * thousand) unit *= thousand;
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, thousand];
  return (steps.find((one) => one * unit >= value) ?? thousand) * unit;
}

/** A number that changes, and how it has. */
export class Plot {
  /** @type {Point[]} */
  #points = [];
  #pointed = false;

  /**
   * @param {string} title
   * @param {string} unit
   * @param {(value: number) => string} format
   * @param {Series[]} series the first one is the number that is shown
   * @param {{top?: number, thousand?: number}} [scale] the largest value that there can be; 1024 for bytes
   */
  constructor(title, unit, format, series, { top, thousand = 1000 } = {}) {
    this.title = title;
    this.unit = unit;
    this.format = format;
    this.series = series;
    this.top = top;
    this.thousand = thousand;
    this.number = h("strong", { class: "value" }, "–");
    this.scale = h("span", { class: "scale", "aria-hidden": "true" });
    this.note = h("p", { class: "note" });
    this.now = h("p", { class: "end", "aria-hidden": "true" }, "now");
    this.paths = series.map((_, index) => ({
      area: svg("path", { class: `area series-${index}` }),
      line: svg("path", { class: `line series-${index}`, "vector-effect": "non-scaling-stroke" }),
    }));
    this.cursor = svg("line", { class: "cursor", y1: "0", y2: String(HEIGHT), "vector-effect": "non-scaling-stroke" });
    this.drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.drawing.append(...this.paths.flatMap(({ area, line }) => [area, line]), this.cursor);
    const legend = series.length > 1 && h("p", { class: "legend" }, ...series.map((one, index) => legendOf(one, index)));
    const value = h("div", { class: "now" }, h("p", {}, this.number, " ", h("span", { class: "unit" }, unit)), legend);
    this.element = h(
      "figure",
      { class: "plot" },
      h("figcaption", {}, h("span", { class: "title" }, title), value),
      h("div", { class: "drawing" }, this.scale, /** @type {any} */ (this.drawing)),
      h("div", { class: "below" }, this.note, this.now),
    );
    this.drawing.addEventListener("pointermove", (event) => this.#point(/** @type {PointerEvent} */ (event)));
    this.drawing.addEventListener("pointerleave", () => this.#unpoint());
    this.#unpoint();
  }

  /** @param {Point[]} points */
  update(points) {
    this.#points = points;
    const values = this.series.map((one) => points.map(one.value));
    const highest = Math.max(0, ...values.flat());
    const top = this.top ?? ceiling(highest, this.thousand);
    const end = points.at(-1)?.time ?? 0;
    const x = points.map((point) => WIDTH - ((end - point.time) / SECONDS) * WIDTH);
    values.forEach((some, index) => this.#draw(index, x, some, top));
    setText(this.number, points.length ? this.format(values[0].at(-1) ?? 0) : "–");
    setText(this.scale, this.unit === "/s" ? `${this.format(top)} /s` : this.format(top));
    this.drawing.setAttribute("aria-label", this.#summary(values[0], highest));
    if (!this.#pointed) this.#unpoint();
  }

  /**
   * @param {number[]} values
   * @param {number} highest
   */
  #summary(values, highest) {
    if (!values.length) return `${this.title}: no samples yet`;
    const now = `${this.format(values.at(-1) ?? 0)} ${this.unit}`.trim();
    return `${this.title}: now ${now}; at most ${this.format(highest)} within the last five minutes`;
  }

  /**
   * @param {number} index
   * @param {number[]} x
   * @param {number[]} values
   * @param {number} top
   */
  #draw(index, x, values, top) {
    const inner = HEIGHT - 2; // half a line's width above and below
    const y = values.map((value) => (HEIGHT - 1 - (Math.min(value, top) / top) * inner).toFixed(2));
    let line = "";
    let area = "";
    let begin = 0;
    for (let at = 0; at < values.length; at += 1) {
      const joined = at > begin && this.#points[at].time - this.#points[at - 1].time < GAP_SECONDS;
      if (!joined && at > 0) area += `L${x[at - 1].toFixed(2)} ${HEIGHT}Z`;
      if (!joined) begin = at;
      const place = `${x[at].toFixed(2)} ${y[at]}`;
      line += `${joined ? "L" : "M"}${place}`;
      area += joined ? `L${place}` : `M${x[at].toFixed(2)} ${HEIGHT}L${place}`;
    }
    if (values.length) area += `L${x[values.length - 1].toFixed(2)} ${HEIGHT}Z`;
    this.paths[index].line.setAttribute("d", line);
    this.paths[index].area.setAttribute("d", area);
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const { left, width } = this.drawing.getBoundingClientRect();
    const end = this.#points.at(-1)?.time ?? 0;
    const time = end - (1 - (event.clientX - left) / width) * SECONDS;
    const nearest = this.#points.reduce(
      (best, point) => (best && Math.abs(best.time - time) <= Math.abs(point.time - time) ? best : point),
      /** @type {Point | undefined} */ (undefined),
    );
    if (!nearest) return;
    this.#pointed = true;
    const x = String(WIDTH - ((end - nearest.time) / SECONDS) * WIDTH);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.classList.add("shown");
    const several = this.series.length > 1;
    const values = this.series.map((one) => `${several ? `${one.name} ` : ""}${this.format(one.value(nearest))}`);
    setText(this.note, `${clock(nearest.time)} · ${values.join(", ")} ${several ? "" : this.unit}`.trim());
    this.now.hidden = true;
  }

  #unpoint() {
    this.#pointed = false;
    this.cursor.classList.remove("shown");
    setText(this.note, this.#points.length ? `${SECONDS / 60} min ago` : "no samples yet");
    this.now.hidden = !this.#points.length;
  }
}

/**
 * @param {Series} one
 * @param {number} index
 */
function legendOf(one, index) {
  return h("span", { class: `key series-${index}` }, one.name);
}
