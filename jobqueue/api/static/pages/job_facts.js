// The plain facts of a job.

import { html } from "../vendor/preact.js";
import { instant, span } from "../base/format.js";
import { href } from "../base/route.js";
import { Ago } from "../parts/time.js";

export function Facts({ job }) {
  const tries = job.max_retries === null ? job.attempt : `${job.attempt} of ${job.max_retries + 1}`;
  const facts = [
    ["Queue", html`<a href=${href(["queues", job.queue])}>${job.queue}</a>`],
    ["Priority", job.priority],
    ["Attempt", tries],
    ["Timeout", span(job.timeout_ms)],
    ["Worker", job.worker ?? "–"],
    ["Took", span(job.duration_ms)],
    ["Created", moment(job.created_at)],
    ["Due", moment(job.due_at)],
    ["Started", moment(job.started_at)],
    ["Finished", moment(job.finished_at)],
    ...madeBy(job),
  ];
  return html`<dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// A job that a schedule made; without a tick, somebody asked for it.
function madeBy({ made_by: from }) {
  if (!from) return [];
  const schedule = ["Schedule", html`<a href=${href(["schedules", from.schedule])}>${from.schedule}</a>`];
  return [schedule, ["Tick", from.tick ? moment(from.tick) : "none: asked for"]];
}

const moment = (at) => (at ? html`${instant(at)} <span class="mute">(<${Ago} at=${at} />)</span>` : "–");
