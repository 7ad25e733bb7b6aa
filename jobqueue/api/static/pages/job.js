// One job: where it is, what happened to it, and what may be done.

import { html } from "../vendor/preact.js";
import { useJob } from "../base/job.js";
import { href } from "../base/route.js";
import { useTasks } from "../base/tasks.js";
import { Copy } from "../parts/copy.js";
import { Json } from "../parts/json.js";
import { State } from "../parts/state.js";
import { Timeline } from "../parts/timeline.js";
import { Trouble } from "../parts/trouble.js";
import { Actions } from "./job_actions.js";
import { Attempts } from "./job_attempts.js";
import { Facts } from "./job_facts.js";

const WAITS = ["scheduled", "queued", "retrying"];

export function JobPage({ id }) {
  const { job, error, reload } = useJob(id);
  if (error?.status === 404) return html`<${Missing} id=${id} seen=${Boolean(job)} />`;
  return html`
    <p class="trail"><a href=${href("jobs")}>Jobs</a></p>
    <header class="page-head">
      <div class="titled"><h1>${job ? job.type : html`<span class="bone title"></span>`}</h1>${job && html`<${State} of=${job.state} />`}</div>
      <div class="actions">${job && html`<${Actions} job=${job} reload=${reload} />`}</div>
    </header>
    <p class="id"><code>${id}</code> <${Copy} text=${id} what="id" /></p>
    <${Trouble} error=${error} again=${reload} />
    ${job && html`<${Shown} job=${job} />`}`;
}

/** *seen*: it was there a moment ago. */
export const Missing = ({ id, seen }) => html`
  <h1>${seen ? "This job has ended" : "No such job"}</h1>
  <p>${seen ? html`Nothing is kept of <code>${id}</code>: the history needs Postgres.` : html`There is no job <code>${id}</code>, or it is forgotten, or in a queue that your key does not see.`}</p>
  <p><a href=${href("jobs")}>To the jobs</a></p>`;

/** What is known of a job; also shown by the playground. */
export const Shown = ({ job }) => html`
  <${Unknown} job=${job} />
  ${job.cancel_requested && html`<p class="notice">It was asked to stop.</p>`}
  ${job.last_error && html`<p class="failure"><strong>${job.last_error}</strong> ${job.error_message}</p>`}
  <section class="card" aria-labelledby="timeline"><h2 id="timeline">Timeline</h2><${Timeline} job=${job} /></section>
  <section class="card" aria-labelledby="facts"><h2 id="facts">Facts</h2><${Facts} job=${job} /></section>
  <section class="card" aria-label="Data">
    ${job.progress !== null && html`<${Json} title="Progress" value=${job.progress} />`}
    ${job.payload_kept ? html`<${Json} title="Payload" value=${job.payload} />` : html`<p class="mute">The payload is not kept any more.</p>`}
    ${job.result !== null && html`<${Json} title="Result" value=${job.result} />`}
  </section>
  <${Attempts} job=${job} />`;

// A worker gives a job of a task that it does not know back for later, and tells its log only.
function Unknown({ job }) {
  const tasks = useTasks();
  if (!tasks.length || !WAITS.includes(job.state) || tasks.some((task) => task.name === job.type)) return null;
  return html`<p class="notice">The API knows no task <code>${job.type}</code>. If no worker knows it either, each gives it back for later, with a <code>task.unknown</code> in its log; after some 35 minutes it is a dead letter.</p>`;
}
