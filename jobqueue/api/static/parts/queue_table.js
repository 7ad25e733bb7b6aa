// Queues at a glance: what waits, how long, how fast it goes, who works.

import { html } from "../vendor/preact.js";
import { unserved } from "../base/health.js";
import { count, percent, plural, rate, span } from "../base/format.js";
import { href } from "../base/route.js";
import { Bar } from "./bar.js";
import { Table } from "./table.js";

const LONG_MS = 60_000;

const COLUMNS = [
  { name: "Queue", cell: (q) => html`<a class="strong clip" href=${href(["queues", q.name])}>${q.name}</a>${q.paused && html` <span class="tag warn">paused</span>`}` },
  { name: "Ready", width: "6rem", num: true, cell: (q) => count(q.ready) },
  { name: "Oldest", width: "7rem", num: true, cell: (q) => html`<span class=${q.oldest_ready_ms >= LONG_MS ? "warn-text" : ""}>${q.ready ? span(q.oldest_ready_ms) : "–"}</span>` },
  { name: "Running", width: "5.5rem", num: true, cell: (q) => count(q.running) },
  { name: "Delayed", width: "5.5rem", num: true, cell: (q) => count(q.delayed) },
  { name: "Completed", width: "6.5rem", num: true, cell: (q) => rate(q.rates.completed) },
  { name: "Failed", width: "6rem", num: true, cell: (q) => html`<span class=${q.rates.failed ? "bad-text" : ""}>${rate(q.rates.failed)}</span>` },
  { name: "Utilisation", width: "7.5rem", num: true, cell: (q) => html`<${Utilisation} of=${q} />` },
  { name: "Workers", width: "5.5rem", num: true, cell: (q) => html`<${Workers} of=${q} />` },
  { name: "Dead", width: "5rem", num: true, cell: (q) => (q.dead ? html`<a href=${href("dead", { queue: q.name })}>${count(q.dead)}</a>` : "0") },
];

/** *without* names columns that are left out; *more* are added. */
export const QueueTable = ({ queues, without = [], more = [] }) => html`
  <${Table} columns=${[...COLUMNS.filter((column) => !without.includes(column.name)), ...more]} rows=${queues} rowKey=${(q) => q.name} label="Queues" empty="No queue yet: the first job makes one." />`;

function Utilisation({ of }) {
  if (!of.slots) return "–";
  const share = Math.min(of.running / of.slots, 1);
  return html`<${Bar} share=${share} label="Utilisation" /> ${percent(share)}`;
}

function Workers({ of }) {
  if (!unserved(of)) return count(of.workers);
  return html`<strong class="zero" title="Jobs wait, and nobody works on them">0</strong>`;
}

/** That an overview does not show all: there are more queues than one look takes. */
export const LeftOut = ({ of }) =>
  of?.left_out ? html`<p class="mute">${plural(of.left_out, "more queue")} not shown and not counted here: there are too many for one look.</p>` : null;
