// Schedules: which there are, when their next tick is, and what came of the last.

import { html } from "../vendor/preact.js";
import { get } from "../base/api.js";
import { queueNames } from "../base/live.js";
import { filter, href, route } from "../base/route.js";
import { may } from "../base/session.js";
import { briefly, inUtc, inZone } from "../base/tick.js";
import { count } from "../base/format.js";
import { Select, Typed } from "../parts/field.js";
import { FirstSchedule } from "../parts/first.js";
import { More, usePages } from "../parts/more.js";
import { State } from "../parts/state.js";
import { Table } from "../parts/table.js";
import { JobLink, inTheWay } from "../parts/tick.js";
import { Ago } from "../parts/time.js";
import { Trouble } from "../parts/trouble.js";
import { SchedulePage } from "./schedule.js";
import { ScheduleForm } from "./schedule_form.js";

const STATES = ["active", "paused", "retired", "removed"];
const FIELDS = ["queue", "state"];
const AGAIN_MS = 5_000;

const COLUMNS = [
  { name: "Schedule", width: "11rem", cell: (each) => html`<${Two} above=${html`<a class="strong" href=${href(["schedules", each.name])}>${each.name}</a>`} below=${each.source === "code" ? "in code" : ""} title=${each.name} />` },
  { name: "When", wide: true, cell: (each) => html`<${Two} above=${each.description} below=${html`<code>${each.definition.expression}</code> ${each.definition.timezone}`} title=${`${each.description}\n${each.definition.expression} ${each.definition.timezone}`} />` },
  { name: "Job", width: "9rem", cell: (each) => html`<${Two} above=${each.definition.type} below=${each.definition.queue} title=${`${each.definition.type}, queue ${each.definition.queue}`} />` },
  { name: "State", width: "6rem", cell: (each) => html`<${State} of=${each.state} />` },
  { name: "Next tick", width: "11rem", cell: (each) => (each.never ? "never" : each.next_at && html`<${Two} above=${html`<${Ago} at=${each.next_at} />`} below=${briefly(each.next_at, each.definition.timezone)} title=${`${inZone(each.next_at, each.definition.timezone)}, ${each.definition.timezone}\n${inUtc(each.next_at)}`} />`) },
  { name: "Last", width: "8rem", cell: (each) => each.last && html`<${Last} of=${each.last} />` },
  { name: "Waiting", width: "5rem", num: true, cell: (each) => count(each.waiting) },
];

export function Schedules({ rest }) {
  const [name, what] = rest;
  if (name && what === "edit") return html`<${ScheduleForm} key=${name} name=${name} />`;
  if (name) return html`<${SchedulePage} key=${name} name=${name} />`;
  return route.value.query.form ? html`<${ScheduleForm} />` : html`<${List} />`;
}

function List() {
  const { query } = route.value;
  const asked = Object.fromEntries(FIELDS.filter((field) => query[field]).map((field) => [field, query[field]]));
  const pages = usePages((cursor, abort) => get("schedules", { ...asked, cursor, limit: 50 }, abort).then(named), [JSON.stringify(asked)], AGAIN_MS);
  return html`
    <header class="page-head">
      <h1>Schedules</h1>
      ${may("schedules:write") && html`<div class="actions"><a class="button main" href=${href("schedules", { form: "new" })}>New schedule…</a></div>`}
    </header>
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Typed} label="Queue" search=${true} placeholder="any" value=${query.queue} suggest=${queueNames.value} onChange=${(queue) => filter({ queue })} />
      <${Select} label="State" value=${query.state ?? ""} any="all but removed" options=${STATES} onChange=${(state) => filter({ state })} />
    </form>
    <${Trouble} error=${pages.error} again=${pages.reload} />
    <section class="card flush">
      <${Table} columns=${COLUMNS} rows=${pages.rows} busy=${pages.busy} rowKey=${(each) => each.name} label="Schedules" tall=${true} empty=${html`<${Nothing} asked=${asked} />`} />
    </section>
    <${More} of=${pages} />`;
}

const named = (page) => ({ ...page, items: page.items.map((each) => ({ ...each, id: each.name })) });

const Two = ({ above, below, title }) => html`<span class="two" title=${title}><span class="clip">${above}</span><span class="clip mute">${below}</span></span>`;

function Last({ of }) {
  const state = html`<${State} of=${of.decision} />`;
  return html`<${Two} above=${of.job_id && !inTheWay(of) ? html`<${JobLink} id=${of.job_id}>${state}<//>` : state} below=${html`<${Ago} at=${of.decided_at} />`} />`;
}

function Nothing({ asked }) {
  if (!Object.keys(asked).length) return html`<${FirstSchedule} />`;
  return html`<p>No schedule matches.</p><p><button type="button" onClick=${() => filter({ queue: "", state: "" })}>Clear the filter</button></p>`;
}
