// Ticks: those to come, and what was decided about those that came.

import { html } from "../vendor/preact.js";
import { now } from "../base/clock.js";
import { ago, instant, shortId } from "../base/format.js";
import { href } from "../base/route.js";
import { may } from "../base/session.js";
import { inUtc, inZone, offset, onClock, why } from "../base/tick.js";
import { State } from "./state.js";
import { Table } from "./table.js";
import { Ago } from "./time.js";

/** The link to a tick's job; with *children* instead of its id. */
export function JobLink({ id, children }) {
  const shown = children ?? html`<code>${shortId(id)}</code>`;
  return may("jobs:read") ? html`<a class="clip" href=${href(["jobs", id])} title=${id}>${shown}</a>` : html`<span class="clip" title=${id}>${shown}</span>`;
}

/** A tick on the clock of its zone; UTC and the reader's own on hover. */
export const Local = ({ at, zone, shown = inZone }) => html`<time class="clip" datetime=${at} title=${`${inUtc(at)}\nhere: ${instant(at)}`}>${shown(at, zone)}</time>`;

/** *ticks*: the API's `ComingTick`s; a note says that the clock is set; *never*: none will come. */
export function Coming({ ticks, zone, rows, never = false }) {
  const shown = ticks ?? Array.from({ length: rows }, () => null);
  if (never) return html`<p class="warning">Never: no tick comes within 50 years.</p>`;
  if (!shown.length) return html`<p class="mute">None.</p>`;
  return html`
    <ol class="coming" aria-label="Coming ticks" aria-busy=${String(ticks === null)}>
      ${shown.map((tick, i) => html`<li key=${tick?.at ?? i}>${tick ? html`<${One} tick=${tick} zone=${zone} />` : html`<span class="bone"></span>`}</li>`)}
    </ol>`;
}

const One = ({ tick, zone }) => html`
  <${Local} at=${tick.at} zone=${zone} shown=${onClock} /> <span class="mute">${offset(tick.local)}</span> <span class="mute">${Date.parse(tick.at) > now.value ? ago(tick.at, now.value) : "now"}</span>
  ${tick.note && html`<span class="tag warn">${tick.note}</span>`}`;

/** *rows*: the API's `Tick`s of a schedule in *zone*, with an `id`. */
export function TickTable({ rows, zone, busy, empty }) {
  const columns = [
    { name: "Tick", width: "16rem", cell: (tick) => html`<${Local} at=${tick.at} zone=${zone} />` },
    { name: "Decision", width: "7.5rem", cell: (tick) => html`<${State} of=${tick.decision} />` },
    { name: "Why", wide: true, cell: (tick) => html`<span class="clip whole" title=${told(tick, zone)}>${told(tick, zone)}</span>` },
    { name: "Job", width: "11rem", mute: true, wide: true, cell: (tick) => tick.job_id && html`${inTheWay(tick) && "behind "}<${JobLink} id=${tick.job_id} />` },
    { name: "Decided", width: "7rem", num: true, mute: true, cell: (tick) => html`<${Ago} at=${tick.decided_at} />` },
  ];
  return html`<${Table} columns=${columns} rows=${rows} busy=${busy} rowKey=${(tick) => tick.id} label="Ticks" empty=${empty} skeleton=${6} />`;
}

/** Whether its job is not the tick's own, but the one before it, which had not ended. */
export const inTheWay = ({ reason }) => reason === "overlap";

const told = (tick, zone) => (tick.count === 1 ? why(tick) : `${why(tick)} From ${inZone(tick.first_at, zone)}.`);
