// Workers, and what runs now, the longest first.

import { html } from "../vendor/preact.js";
import { get } from "../base/api.js";
import { now } from "../base/clock.js";
import { count, shortId, span } from "../base/format.js";
import { useLoad } from "../base/load.js";
import { href } from "../base/route.js";
import { Bar } from "../parts/bar.js";
import { Table } from "../parts/table.js";
import { Ago } from "../parts/time.js";
import { Trouble } from "../parts/trouble.js";

const AGAIN_MS = 2_000;

const WORKERS = [
  { name: "Worker", cell: (worker) => html`<strong class="strong clip" title=${worker.name}>${worker.host ? `${worker.host}, pid ${worker.pid}` : worker.name}</strong>` },
  { name: "State", width: "7rem", cell: (worker) => html`<span class=${`state ${worker.alive ? "good" : "bad"}`}>${worker.alive ? "alive" : "lost"}</span>` },
  { name: "Busy", width: "10rem", num: true, cell: (worker) => html`<${Busy} of=${worker} />` },
  { name: "Queues", width: "22rem", wide: true, cell: (worker) => html`<span class="clip" title=${worker.queues.join(", ")}>${worker.queues.join(", ")}</span>` },
  { name: "Started", width: "7rem", num: true, mute: true, cell: (worker) => html`<${Ago} at=${worker.started_at} />` },
  { name: "Lease", width: "6rem", num: true, mute: true, cell: (worker) => span(worker.lease_ms) },
];

const RUNNING = [
  { name: "Task", cell: (job) => html`<a class="strong clip" href=${href(["jobs", job.id])}>${job.type}</a>` },
  { name: "Id", width: "9rem", mute: true, cell: (job) => html`<code title=${job.id}>${shortId(job.id)}</code>` },
  { name: "Queue", width: "9rem", cell: (job) => html`<span class="clip">${job.queue}</span>` },
  { name: "Worker", width: "16rem", mute: true, cell: (job) => html`<span class="clip" title=${job.worker}>${job.worker}</span>` },
  { name: "Attempt", width: "5.5rem", num: true, cell: (job) => job.attempt },
  { name: "For", width: "6.5rem", num: true, cell: (job) => html`<${Since} at=${job.started_at} />` },
];

export function Workers() {
  const { data, error, reload } = useLoad((abort) => get("workers", {}, abort), [], AGAIN_MS);
  const running = data && data.items.flatMap((worker) => worker.jobs.map((job) => ({ ...job, worker: worker.host ? `${worker.host}, pid ${worker.pid}` : worker.name })));
  running?.sort((a, b) => (a.started_at ?? "~").localeCompare(b.started_at ?? "~"));
  return html`
    <header class="page-head"><h1>Workers</h1></header>
    <${Trouble} error=${error} again=${reload} />
    <section class="card flush"><${Table} columns=${WORKERS} rows=${data && data.items} rowKey=${(worker) => worker.name} label="Workers" empty=${html`<${Nobody} />`} /></section>
    <section class="card" aria-labelledby="running">
      <h2 id="running">Running now, longest first</h2>
      <${Table} columns=${RUNNING} rows=${running} rowKey=${(job) => job.id} label="Running jobs" empty="Nothing runs." />
    </section>`;
}

const Nobody = () => html`<p><strong>No worker runs.</strong> Start one: <code>jobqueue worker -A shop.jobs</code></p>`;

const Since = ({ at }) => (at ? span(Math.max(now.value - Date.parse(at), 0)) : "–");

function Busy({ of }) {
  if (!of.slots) return count(of.running);
  return html`<${Bar} share=${of.running / of.slots} label="Busy slots" /> ${count(of.running)} of ${count(of.slots)}`;
}
