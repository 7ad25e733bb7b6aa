// The state of all queues, as the API streams it. Paused while the page is hidden; comes back by itself.

import { computed, signal } from "../vendor/preact.js";
import { get, lost, reached } from "./api.js";

const QUIET_MS = 8_000;
const AGAIN_MS = 2_000;
const KEEP_MS = 15 * 60_000;

/** The latest `Overview`; null until the first one. */
export const overview = signal(null);

/** "connecting", "live", "paused" or "lost". */
export const link = signal("connecting");

/** What the last minutes looked like from here: [{at, completed, failed}], jobs a second. */
export const samples = signal([]);

export const queues = computed(() => overview.value?.queues ?? []);
export const queueNames = computed(() => queues.value.map((queue) => queue.name));

let source = null;
let timer = 0;

/** Listen until the returned function is called. */
export function listen() {
  const turn = () => (document.hidden ? pause() : open());
  document.addEventListener("visibilitychange", turn);
  turn();
  return () => {
    document.removeEventListener("visibilitychange", turn);
    pause();
  };
}

function open() {
  close();
  if (link.value !== "lost") link.value = "connecting";
  source = new EventSource("api/v1/events");
  source.addEventListener("overview", (event) => take(JSON.parse(event.data)));
  source.addEventListener("unavailable", () => {
    lost("redis");
    link.value = "lost";
  });
  source.addEventListener("error", () => probe(AGAIN_MS));
  probe(QUIET_MS);
}

function pause() {
  close();
  link.value = "paused";
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function take(told) {
  if (!source) return;
  overview.value = told;
  link.value = "live";
  reached("api");
  reached("redis");
  (told.postgres === "down" ? lost : reached)("postgres");
  remember(told);
  probe(QUIET_MS);
}

// A stream that says nothing, or fails, does not tell why; a request does.
function probe(delay) {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    try {
      take(await get("overview"));
      if (source?.readyState === EventSource.CLOSED) open();
    } catch {
      if (!source) return;
      link.value = "lost";
      if (source.readyState === EventSource.CLOSED) open();
      else probe(AGAIN_MS);
    }
  }, delay);
}

function remember({ at, rates }) {
  const now = Date.parse(at);
  const kept = samples.value.filter((sample) => sample.at > now - KEEP_MS && sample.at < now);
  samples.value = [...kept, { at: now, completed: rates.completed, failed: rates.failed }];
}
