// Is it healthy, and what is stuck? Read off one overview.

import { count, percent, plural, span } from "./format.js";

const LONG_WAIT_MS = 60_000;
const OVERDUE_MS = 15_000;
const FEW_PER_S = 0.03; // two a minute: below, a share of failures says little
const SOME_FAIL = 0.1;
const MOST_FAIL = 0.5;

/** What needs somebody: [{level: "bad" | "warn", queue, text}], the worst first. */
export function concerns(overview) {
  const found = overview.queues.flatMap(ofQueue);
  return found.sort((a, b) => (a.level === b.level ? 0 : a.level === "bad" ? -1 : 1));
}

export const failureShare = ({ completed, failed }) => (completed + failed > 0 ? failed / (completed + failed) : null);

/** Whether no job was ever enqueued. */
export const unused = (overview) => overview.queues.every((queue) => queue.enqueued === 0);

export const unserved = (queue) => queue.workers === 0 && !queue.paused && queue.ready + Math.max(queue.running, 0) > 0;

function ofQueue(queue) {
  return [waiting(queue), overdue(queue), failing(queue), drifted(queue)].filter(Boolean).map((each) => ({ ...each, queue: queue.name }));
}

function waiting(queue) {
  const jobs = `${plural(queue.ready, "job")} ${queue.ready === 1 ? "waits" : "wait"}`;
  const age = queue.oldest_ready_ms === null ? "" : `, the oldest for ${span(queue.oldest_ready_ms)}`;
  if (queue.paused) return queue.ready ? { level: "warn", text: `is paused; ${jobs}${age}` } : null;
  if (unserved(queue)) return { level: "bad", text: queue.ready ? `has no worker; ${jobs}${age}` : "has no worker, and jobs that a lost one left" };
  if (queue.oldest_ready_ms === null || queue.oldest_ready_ms < LONG_WAIT_MS) return null;
  if (queue.slots && queue.running >= queue.slots) return { level: "warn", text: `is full: all ${count(queue.slots)} slots are busy; ${jobs}${age}` };
  if (queue.rates.completed + queue.rates.failed === 0) return { level: "bad", text: `is stuck: it has workers, and nothing ends; ${jobs}${age}` };
  return { level: "warn", text: `is behind; ${jobs}${age}` };
}

function overdue({ next_due_ms: due, paused }) {
  if (paused || due === null || due > -OVERDUE_MS) return null;
  return { level: "bad", text: `has a delayed job that is ${span(-due)} overdue; is a worker or scheduler running?` };
}

function failing({ rates }) {
  const share = failureShare(rates);
  if (share === null || rates.failed < FEW_PER_S || share < SOME_FAIL) return null;
  return { level: share >= MOST_FAIL ? "bad" : "warn", text: `fails: ${percent(share)} of the jobs that ended in the last minute died` };
}

function drifted({ drift }) {
  return drift ? { level: "warn", text: `miscounts: its counters are off by ${count(drift)}` } : null;
}
