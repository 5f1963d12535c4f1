/**
 * Numbers, sizes and times as people read them.
 *
 * @module
 */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** @param {number} value */
export function number(value) {
  return WHOLE.format(value);
}

/**
 * Small numbers with a decimal, which matters there; huge ones in millions.
 *
 * @param {number} value
 */
export function rate(value) {
  if (value >= 1e6) return `${TENTHS.format(value / 1e6)} M`;
  return value < 10 ? TENTHS.format(value) : WHOLE.format(value);
}

/** @param {number} value bytes */
export function size(value) {
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit > 0 && value < 100 ? TENTHS.format(value) : WHOLE.format(value)} ${UNITS[unit]}`;
}

/** @param {number} value a share of 1 */
export function percent(value) {
  return `${value < 0.1 ? TENTHS.format(value * 100) : WHOLE.format(value * 100)} %`;
}

/**
 * The two largest units of a length of time.
 *
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 10) return `${TENTHS.format(Math.max(0, seconds))} s`;
  const whole = Math.round(seconds);
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return both(whole, MINUTE, "min", 1, "s");
  if (whole < DAY) return both(whole, HOUR, "h", MINUTE, "min");
  return both(whole, DAY, "d", HOUR, "h");
}

/**
 * @param {number} seconds
 * @param {number} large
 * @param {string} largeName
 * @param {number} small
 * @param {string} smallName
 */
function both(seconds, large, largeName, small, smallName) {
  const rest = Math.floor((seconds % large) / small);
  const first = `${Math.floor(seconds / large)} ${largeName}`;
  return rest ? `${first} ${rest} ${smallName}` : first;
}

/** @param {number} seconds */
export function ago(seconds) {
  if (seconds < 2) return "now";
  if (seconds < MINUTE) return `${Math.floor(seconds)} s ago`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ago`;
  if (seconds < 2 * DAY) return `${Math.floor(seconds / HOUR)} h ago`;
  return `${Math.floor(seconds / DAY)} days ago`;
}

/** @param {number} unix seconds */
export function moment(unix) {
  const when = new Date(unix * 1000);
  const parts = [when.getFullYear(), when.getMonth() + 1, when.getDate()].map(two).join("-");
  return `${parts} ${clock(unix)}`;
}

/** @param {number} unix seconds */
export function clock(unix) {
  const when = new Date(unix * 1000);
  return [when.getHours(), when.getMinutes(), when.getSeconds()].map(two).join(":");
}

/** @param {number} value */
function two(value) {
  return String(value).padStart(2, "0");
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}
