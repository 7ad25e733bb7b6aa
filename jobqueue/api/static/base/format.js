// Numbers, times and spans as people read them. Spaces are narrow and do not break.

const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

export const count = (value) => (known(value) ? whole.format(value) : NONE);

/** Jobs a second; per minute where that is the number one can read. */
export function rate(perSecond) {
  if (!known(perSecond)) return NONE;
  if (perSecond === 0) return "0/s";
  if (perSecond >= 100) return `${whole.format(perSecond)}/s`;
  if (perSecond >= 0.95) return `${tenth.format(perSecond)}/s`;
  return `${tenth.format(Math.max(perSecond * 60, 0.1))}/min`;
}

export function percent(share) {
  if (!known(share)) return NONE;
  if (share > 0 && share < 0.001) return "<0.1%";
  return `${share < 0.1 ? tenth.format(share * 100) : whole.format(share * 100)}%`;
}

/** A span: "820 ms", "4.2 s", "3 m 20 s", "5 h 12 m", "3 d 4 h". */
export function span(ms) {
  if (!known(ms)) return NONE;
  if (ms < 0) return `−${span(-ms)}`;
  if (ms < 1_000) return `${ms < 10 ? tenth.format(ms) : whole.format(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  const s = Math.round(ms / 1_000);
  if (s < 60) return `${s} s`;
  if (s < 3_600) return two(s, 60, "m", "s");
  if (s < 86_400) return two(Math.floor(s / 60), 60, "h", "m");
  return two(Math.floor(s / 3_600), 24, "d", "h");
}

function two(value, size, large, small) {
  const rest = value % size;
  return `${whole.format(Math.floor(value / size))} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

/** How long ago, or in how long. */
export function ago(instant, now) {
  if (!instant) return NONE;
  const ms = now - Date.parse(instant);
  if (Math.abs(ms) < 1_000) return "now";
  return ms > 0 ? `${coarse(ms)} ago` : `in ${coarse(-ms)}`;
}

function coarse(ms) {
  const s = Math.floor(ms / 1_000);
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h`;
  return `${whole.format(Math.floor(s / 86_400))} d`;
}

/** An instant in the reader's time zone, to the ms. */
export function instant(text) {
  if (!text) return NONE;
  const date = new Date(text);
  const known = date.getFullYear() === new Date().getFullYear() ? day : dayOfYear;
  return `${known.format(date)}, ${clock.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export const time = (text) => (text ? clock.format(new Date(text)) : NONE);

/** Enough of an id to tell it from its neighbours: ids begin with the time, so the end differs. */
export const shortId = (id) => (id.length > 13 ? `${id.slice(0, 4)}…${id.slice(-8)}` : id);

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
