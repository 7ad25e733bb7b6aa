// A state or outcome, told by a word and a dot.

import { html } from "../vendor/preact.js";

const TONE = {
  completed: "good", running: "live", queued: "calm", scheduled: "calm", requeued: "calm", requeueing: "calm",
  retrying: "warn", expired: "warn", dead: "bad", crashed: "bad", active: "good", paused: "warn", fired: "good", run: "good", backfilled: "good", skipped: "warn", waiting: "calm", snoozed: "calm", released: "calm", cancelled: "mute",
};

export const tone = (state) => TONE[state] ?? "mute";

export const State = ({ of }) => html`<span class=${`state ${tone(of)}`}>${of}</span>`;
