// Search of jobs, wherever they are, and actions on all that a filter finds.

import { html, useState } from "../vendor/preact.js";
import { get, path } from "../base/api.js";
import { overview, queueNames } from "../base/live.js";
import { unused } from "../base/health.js";
import { filter, href, route } from "../base/route.js";
import { shortId, span } from "../base/format.js";
import { may, session } from "../base/session.js";
import { useTasks } from "../base/tasks.js";
import { Bulk } from "../parts/bulk.js";
import { Select, Typed } from "../parts/field.js";
import { FirstJob } from "../parts/first.js";
import { More, usePages } from "../parts/more.js";
import { State } from "../parts/state.js";
import { Table } from "../parts/table.js";
import { Ago } from "../parts/time.js";
import { Trouble } from "../parts/trouble.js";

const STATES = ["scheduled", "queued", "running", "retrying", "completed", "dead", "cancelled", "expired"];
const FIELDS = ["state", "type", "queue", "q"];
const AGAIN_MS = 5_000;
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const COLUMNS = [
  { name: "State", width: "7.5rem", cell: (job) => html`<${State} of=${job.state} />` },
  { name: "Task", width: "11rem", cell: (job) => html`<a class="strong clip" href=${href(["jobs", job.id])}>${job.type}</a>` },
  { name: "Id", width: "8.5rem", mute: true, cell: (job) => html`<code title=${job.id}>${shortId(job.id)}</code>` },
  { name: "Queue", width: "7rem", cell: (job) => html`<span class="clip">${job.queue}</span>` },
  { name: "Attempt", width: "5rem", num: true, cell: (job) => job.attempt },
  { name: "Last error", wide: true, cell: (job) => html`<span class="clip" title=${error(job)}>${error(job)}</span>` },
  { name: "Took", width: "5.5rem", num: true, cell: (job) => span(job.duration_ms) },
  { name: "When", width: "6.5rem", num: true, mute: true, cell: (job) => html`<${Ago} at=${job.finished_at ?? job.started_at ?? job.due_at ?? job.created_at} />` },
];

export function Jobs() {
  const { query } = route.value;
  const asked = Object.fromEntries(FIELDS.filter((name) => query[name]).map((name) => [name, query[name]]));
  const pages = usePages((cursor, abort) => find(asked, cursor, abort), [JSON.stringify(asked)], asked.q ? 0 : AGAIN_MS);
  const [bulk, setBulk] = useState(null);
  const close = (changed) => {
    setBulk(null);
    if (changed) pages.reload();
  };
  return html`
    <header class="page-head"><h1>Jobs</h1><${Actions} asked=${asked} onBulk=${setBulk} /></header>
    <${Filters} query=${query} />
    ${!session.value.history && html`<p class="notice">Only jobs that wait or run are listed, and what is kept of their ends: the history needs Postgres.</p>`}
    <${Trouble} error=${pages.error} again=${pages.reload} />
    <section class="card flush">
      <${Table} columns=${COLUMNS} rows=${pages.rows} busy=${pages.busy} rowKey=${(job) => job.id} label="Jobs" skeleton=${12} empty=${html`<${Nothing} asked=${asked} />`} />
    </section>
    <${More} of=${pages} />
    ${bulk && html`<${Bulk} ...${bulk} filter=${asked} noun="job" says=${describe(asked)} onClose=${close} />`}`;
}

async function find(asked, cursor, abort) {
  if (!ID.test(asked.q ?? "")) return get("jobs", { ...asked, cursor, limit: 50 }, abort);
  try {
    return { items: [await get(path("jobs", asked.q.toLowerCase()), {}, abort)], next_cursor: null };
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    return { items: [], next_cursor: null };
  }
}

function Filters({ query }) {
  const tasks = useTasks();
  return html`
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Typed} label="Search" search=${true} placeholder="Id, or text in payload and error" value=${query.q} onChange=${(q) => filter({ q })} />
      <${Select} label="State" value=${query.state ?? ""} any="any" options=${STATES} onChange=${(state) => filter({ state })} />
      <${Typed} label="Task" placeholder="any" value=${query.type} suggest=${tasks.map((task) => task.name)} onChange=${(type) => filter({ type })} />
      <${Typed} label="Queue" placeholder="any" value=${query.queue} suggest=${queueNames.value} onChange=${(queue) => filter({ queue })} />
    </form>`;
}

function Actions({ asked, onBulk }) {
  const retry = { path: "jobs/retry", verb: "Retry", warning: "Dead ones are queued again; those that wait for their next try run now." };
  const cancel = { path: "jobs/cancel", verb: "Cancel", danger: true, warning: "Jobs that wait are gone; running ones are asked to stop. This cannot be undone." };
  return html`
    <div class="actions">
      ${may("jobs:retry") && html`<button type="button" disabled=${!Object.keys(asked).length} onClick=${() => onBulk(retry)}>Retry all found…</button>`}
      ${may("jobs:cancel") && html`<button type="button" disabled=${!Object.keys(asked).length} onClick=${() => onBulk(cancel)}>Cancel all found…</button>`}
    </div>`;
}

function Nothing({ asked }) {
  if (Object.keys(asked).length) return html`<p>No job matches.</p><p><button type="button" onClick=${() => filter({ q: "", state: "", type: "", queue: "" })}>Clear the filter</button></p>`;
  return overview.value && !unused(overview.value) ? html`<p>No job is known any more; the queues are empty.</p>` : html`<${FirstJob} />`;
}

const error = (job) => [job.last_error, job.error_message].filter(Boolean).join(": ");

const describe = (asked) => `All jobs with ${Object.entries(asked).map(([name, value]) => `${name === "q" ? "text" : name} “${value}”`).join(", ")}.`;
