// Dead letters: by error, by filter, and what to do with them.

import { html, useState } from "../vendor/preact.js";
import { get } from "../base/api.js";
import { now } from "../base/clock.js";
import { useLoad } from "../base/load.js";
import { filter, href, route } from "../base/route.js";
import { queueNames } from "../base/live.js";
import { may } from "../base/session.js";
import { useTasks } from "../base/tasks.js";
import { Bulk } from "../parts/bulk.js";
import { Select, Typed } from "../parts/field.js";
import { GroupTable } from "../parts/group_table.js";
import { More, usePages } from "../parts/more.js";
import { Table } from "../parts/table.js";
import { Ago } from "../parts/time.js";
import { Trouble } from "../parts/trouble.js";

const FIELDS = ["queue", "type", "reason", "error"];
const REASONS = ["exhausted", "given_up", "discarded", "crashed", "unknown_task", "unreadable"];
const AGAIN_MS = 5_000;

const COLUMNS = [
  { name: "Task", width: "11rem", cell: (letter) => html`<a class="strong clip" href=${href(["jobs", letter.id])}>${letter.type}</a>` },
  { name: "Error", width: "13rem", cell: (letter) => html`<span class="clip bad-text" title=${letter.error_class}>${letter.error_class || letter.reason}</span>` },
  { name: "Message", wide: true, cell: (letter) => html`<span class="clip" title=${letter.error_message}>${letter.error_message}</span>` },
  { name: "Reason", width: "8rem", mute: true, cell: (letter) => html`<span class="clip">${letter.state === "dead" ? letter.reason : letter.state}</span>` },
  { name: "Queue", width: "7rem", mute: true, cell: (letter) => html`<span class="clip">${letter.queue}</span>` },
  { name: "Attempts", width: "5.5rem", num: true, cell: (letter) => letter.attempts },
  { name: "Died", width: "6.5rem", num: true, mute: true, cell: (letter) => html`<${Ago} at=${letter.died_at} />` },
];

export function Dead() {
  const { query } = route.value;
  const asked = Object.fromEntries(FIELDS.filter((name) => query[name]).map((name) => [name, query[name]]));
  const what = [JSON.stringify(asked)];
  const groups = useLoad((abort) => get("dlq/groups", asked, abort), what, AGAIN_MS);
  const pages = usePages((cursor, abort) => get("dlq", { ...asked, cursor, limit: 50 }, abort), what, AGAIN_MS);
  const [bulk, setBulk] = useState(null);
  const close = () => {
    setBulk(null);
    pages.reload();
    groups.reload();
  };
  const start = (action) => setBulk({ ...action, filter: { ...asked, before: asOfNow(pages.rows) } });
  return html`
    <header class="page-head"><h1>Dead letters</h1><${Actions} none=${!pages.rows?.length} start=${start} /></header>
    <${Filters} query=${query} />
    <${Trouble} error=${groups.error ?? pages.error} again=${pages.reload} />
    <section class="card" aria-labelledby="groups">
      <h2 id="groups">By error</h2>
      <${GroupTable} groups=${groups.data && groups.data.items} to=${narrowed} empty="No dead letters." />
    </section>
    <section class="card" aria-labelledby="letters">
      <h2 id="letters">Letters</h2>
      <${Table} columns=${COLUMNS} rows=${pages.rows} busy=${pages.busy} rowKey=${(letter) => letter.id} label="Dead letters" skeleton=${8} empty=${html`<${Nothing} asked=${asked} />`} />
    </section>
    <${More} of=${pages} />
    ${bulk && html`<${Bulk} ...${bulk} noun="dead letter" says=${describe(asked)} onClose=${close} />`}`;
}

// Who dies after the button was pressed is not meant; who is seen is. The clock here lags by some seconds: there is no
// button before there are rows.
function asOfNow(rows) {
  const seen = rows?.length ? Date.parse(rows[0].died_at) + 1 : 0;
  return new Date(Math.max(now.value, seen)).toISOString();
}

const narrowed = (group) => href("dead", { queue: group.queue, type: group.type, error: group.error_class });

function Actions({ none, start }) {
  if (!may("dlq:write")) return null;
  const retry = { path: "dlq/retry", verb: "Retry" };
  const drop = { path: "dlq/delete", verb: "Delete", danger: true, warning: "Their payloads are gone then. This cannot be undone." };
  return html`
    <div class="actions">
      <button type="button" disabled=${none} onClick=${() => start(retry)}>Retry all found…</button>
      <button type="button" disabled=${none} onClick=${() => start(drop)}>Delete all found…</button>
    </div>`;
}

function Filters({ query }) {
  const tasks = useTasks();
  return html`
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Typed} label="Error" search=${true} placeholder="Part of its class or message" value=${query.error} onChange=${(error) => filter({ error })} />
      <${Typed} label="Task" placeholder="any" value=${query.type} suggest=${tasks.map((task) => task.name)} onChange=${(type) => filter({ type })} />
      <${Typed} label="Queue" placeholder="any" value=${query.queue} suggest=${queueNames.value} onChange=${(queue) => filter({ queue })} />
      <${Select} label="Reason" any="any" options=${REASONS} value=${query.reason ?? ""} onChange=${(reason) => filter({ reason })} />
    </form>`;
}

function Nothing({ asked }) {
  if (!Object.keys(asked).length) return html`<p>Nothing died. Jobs that fail after all their retries come here.</p>`;
  return html`<p>No dead letter matches.</p><p><button type="button" onClick=${() => filter({ queue: "", type: "", reason: "", error: "" })}>Clear the filter</button></p>`;
}

function describe(asked) {
  const parts = Object.entries(asked).map(([name, value]) => `${name} “${value}”`);
  return parts.length ? `All dead letters with ${parts.join(", ")}, as of now.` : "All dead letters of all queues, as of now.";
}
