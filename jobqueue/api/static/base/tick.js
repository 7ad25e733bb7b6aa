// Decisions about ticks in words, and instants in a schedule's own zone. Pure.

import { count, plural } from "./format.js";

export const DECISIONS = ["fired", "skipped", "waiting", "run", "backfilled"];

const WHY = {
  on_time: "On time.",
  caught_up: "Made up for: nobody had decided it in time.",
  waited: "The job before it has ended.",
  missed: "Missed, and misfire is skip.",
  made_up: "Missed; a newer tick fires for it.",
  max_catchup: "More ticks were missed, or wait, than max_catchup.",
  ended: "It waited, and the schedule was removed or retired.",
};

/** Why a decision was made. */
export function why({ decision, reason, count: many }) {
  if (reason === "asked") return decision === "backfilled" ? "Asked for, by a backfill." : "Asked for.";
  const text = reason === "overlap" ? (decision === "waiting" ? "Waits for the job before it to end." : "The job before it had not ended.") : WHY[reason] ?? reason;
  if (many === 1) return text;
  return `${many === null ? "More than 1,000 ticks" : plural(many, "tick")}. ${text}`;
}

const PARTS = { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const SHORT = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const OFFSET = { timeZoneName: "longOffset" };
const DAY_MS = 86_400_000;
const formats = new Map();

/** "Mon 30 Mar 2026, 09:00:00 +02:00" on the clock of *zone*; without the offset where it is the browser's own. */
export const inZone = (at, zone) => (at ? `${onClock(at, zone)}${foreign(at, zone)}` : "–");

/** "30 Mar, 09:00 +02:00" on that clock. */
export const briefly = (at, zone) => `${formatOf(zone, SHORT).format(new Date(at))}${foreign(at, zone)}`;

/** "Mon 30 Mar 2026, 09:00:00" on that clock; in UTC, and saying so, where the browser does not know the zone. */
export const onClock = (at, zone) => formatOf(zone, PARTS).format(new Date(at)).replace(",", "");

/** The same in UTC. */
export const inUtc = (at) => `${onClock(at, "UTC")} UTC`;

function foreign(at, zone) {
  const there = offsetIn(at, zone);
  return there && there !== offsetIn(at) ? ` ${there}` : "";
}

// "+02:00"; without a zone, the browser's own; nothing of a zone that it does not know.
function offsetIn(at, zone) {
  const { value } = formatOf(zone, OFFSET).formatToParts(new Date(at)).find((part) => part.type === "timeZoneName");
  return value === "GMT" ? "+00:00" : value.replace(/^(GMT|UTC)/, "");
}

/** The zone whose clock is shown: UTC in place of one that the browser does not know. */
export const clockOf = (zone) => (offsetIn(Date.now(), zone) ? zone : "UTC");

/** What an input of a local time holds for the clock of *zone*: "2026-03-30T09:00:00". */
export const typed = (at, zone) => new Date(Math.floor(at / 1_000) * 1_000 + aheadMs(at, zone)).toISOString().slice(0, 19);

/** The instant at which the clock of *zone* says *wall*. One that it skips or says twice is an error, in words. */
export function instantOf(wall, zone) {
  const whole = wall.length === 16 ? `${wall}:00` : wall; // browsers leave out seconds that are none
  const near = Date.parse(`${whole}Z`);
  const tried = [-DAY_MS, DAY_MS].map((away) => near - aheadMs(near + away, zone)); // a clock is set once within that
  const found = [...new Set(tried)].filter((at) => typed(at, zone) === whole);
  if (found.length === 1) return new Date(found[0]).toISOString();
  throw new Error(`${whole.replace("T", " ")} ${found.length ? "comes twice" : "does not exist"} on the clock of ${clockOf(zone)}, which is set then: take a time before or after.`);
}

function aheadMs(at, zone) {
  const [, sign, hours, minutes, seconds = 0] = offsetIn(at, zone).match(/^([+-])(\d\d):(\d\d)(?::(\d\d))?$/) ?? [null, "+", 0, 0];
  return (sign === "-" ? -1_000 : 1_000) * (hours * 3_600 + minutes * 60 + Number(seconds));
}

function formatOf(zone, parts) {
  const key = `${zone} ${Object.keys(parts)}`;
  if (!formats.has(key)) formats.set(key, made(zone, parts));
  return formats.get(key);
}

function made(zone, parts) {
  try {
    return new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: zone });
  } catch {
    return new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: "UTC", timeZoneName: "short" });
  }
}

/** The offset in an instant such as 2026-03-29T03:00:00+02:00. */
export const offset = (local) => local.match(/(?:Z|[+-]\d\d:\d\d)$/)?.[0].replace("Z", "+00:00") ?? "";

/** The names of time zones that the browser knows. */
export const zones = () => ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])];

export const many = (n, more) => (more ? `more than ${count(n)}` : count(n));
