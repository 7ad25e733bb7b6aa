// One schedule: what it says, what comes, and what was decided about its ticks.

import { html } from "../vendor/preact.js";
import { get, path } from "../base/api.js";
import { instant } from "../base/format.js";
import { useLoad } from "../base/load.js";
import { filter, href, route } from "../base/route.js";
import { DECISIONS } from "../base/tick.js";
import { Select } from "../parts/field.js";
import { Json } from "../parts/json.js";
import { More, usePages } from "../parts/more.js";
import { State } from "../parts/state.js";
import { Coming, JobLink, TickTable } from "../parts/tick.js";
import { Ago } from "../parts/time.js";
import { Trouble } from "../parts/trouble.js";
import { ScheduleActions } from "./schedule_actions.js";

const AGAIN_MS = 3_000;
const COMING = 10;

export function SchedulePage({ name }) {
  const { data: schedule, error, reload } = useLoad((abort) => get(path("schedules", name), {}, abort), [name], AGAIN_MS);
  if (error?.status === 404) return html`<${Gone} name=${name} />`;
  return html`
    <p class="trail"><a href=${href("schedules")}>Schedules</a></p>
    <header class="page-head">
      <div class="titled"><h1>${name}</h1>${schedule && html`<${State} of=${schedule.state} />`}</div>
      <div class="actions">${schedule && html`<${ScheduleActions} schedule=${schedule} reload=${reload} />`}</div>
    </header>
    <${Trouble} error=${error} again=${reload} />
    ${schedule && html`<${Shown} schedule=${schedule} />`}`;
}

// What was decided about the ticks of one that was removed is still known.
function Gone({ name }) {
  const { data } = useLoad((abort) => get(path("schedules", name, "ticks"), { limit: 50 }, abort).then(numbered), [name]);
  return html`
    <h1>No such schedule</h1>
    <p>There is no schedule <code>${name}</code>, or it was removed, or its queue is none that your key sees.</p>
    <p><a href=${href("schedules")}>To the schedules</a></p>
    ${data && html`<section class="card" aria-labelledby="record"><h2 id="record">What was decided</h2><${TickTable} rows=${data.items} zone="UTC" busy=${false} empty="Nothing." /></section>`}`;
}

function Shown({ schedule }) {
  const { definition } = schedule;
  return html`
    ${schedule.source === "code" && html`<p class="notice"><${Defined} of=${schedule} /></p>`}
    <section class="card" aria-labelledby="when">
      <h2 id="when" class="words">${schedule.description}</h2>
      <p><code>${definition.expression}</code> <span class="mute">${definition.timezone}${definition.seconds ? ", with seconds" : ""}</span></p>
      ${schedule.waiting > 0 && html`<p class="warning">${schedule.waiting} ${schedule.waiting === 1 ? "tick waits" : "ticks wait"} for the job before to end.</p>`}
      ${schedule.busy_job_id && html`<p class="mute">A job of it has not ended: <${JobLink} id=${schedule.busy_job_id} /></p>`}
    </section>
    <section class="card" aria-labelledby="next"><h2 id="next">Next ticks</h2><${Next} of=${schedule} /></section>
    <${Record} of=${schedule} />
    <section class="card" aria-labelledby="facts"><h2 id="facts">Definition</h2><${Facts} of=${schedule} /><${Json} title="Payload" value=${definition.payload} open=${false} /></section>`;
}

const Defined = ({ of }) => (of.state === "retired"
  ? html`It was defined in the code of <strong>${of.app}</strong>, which has it no more: it has no ticks.`
  : html`It is defined in the code of <strong>${of.app}</strong>, and changed there: the next start of a scheduler brings the change.`);

function Next({ of }) {
  const { data } = useLoad((abort) => get(path("schedules", of.name, "next"), { count: COMING }, abort), [of.name, of.version, of.next_at]);
  if (of.state !== "active") return html`<p class="mute">None: it is ${of.state}.</p>`;
  return html`<${Coming} ticks=${data && data.items} zone=${of.definition.timezone} rows=${COMING} never=${data?.never} />`;
}

function Record({ of }) {
  const { decision = "" } = route.value.query;
  const asked = decision ? { decision } : {};
  const pages = usePages((cursor, abort) => get(path("schedules", of.name, "ticks"), { ...asked, cursor, limit: 10 }, abort).then(numbered), [of.name, decision], AGAIN_MS);
  return html`
    <section class="card" aria-labelledby="record">
      <div class="card-head">
        <h2 id="record">What was decided</h2>
        <div class="narrow"><${Select} label="Decision" value=${decision} any="any" options=${DECISIONS} onChange=${(now) => filter({ decision: now })} /></div>
      </div>
      <${Trouble} error=${pages.error} again=${pages.reload} />
      <${TickTable} rows=${pages.rows} zone=${of.definition.timezone} busy=${pages.busy} empty=${decision ? "No such decision." : "No tick has come yet."} />
      <${More} of=${pages} />
    </section>`;
}

// Decisions have no id of their own.
const numbered = (page) => ({ ...page, items: page.items.map((row) => ({ ...row, id: `${row.at} ${row.decision} ${row.reason} ${row.decided_at} ${row.job_id}` })) });

function Facts({ of }) {
  const { definition } = of;
  const facts = [
    ["Task", definition.type], ["Queue", html`<a href=${href(["queues", definition.queue])}>${definition.queue}</a>`], ["Priority", definition.priority],
    ["Missed ticks", `${definition.misfire}, after ${definition.grace}`], ["Overlap", definition.overlap], ["Made up for at most", definition.max_catchup],
    ["Jitter", definition.jitter], ["Max retries", definition.max_retries ?? "the task's"], ["Timeout", definition.timeout ?? "the task's"],
    ["Expires", definition.expires ?? "never"], ["Result kept for", definition.result_ttl ?? "–"], ["Version", of.version],
    ["Created", moment(of.created_at)], ["Changed", moment(of.changed_at)],
  ];
  return html`<dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

const moment = (at) => html`${instant(at)} <span class="mute">(<${Ago} at=${at} />)</span>`;
