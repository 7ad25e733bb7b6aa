// Who changed what.

import { html } from "../vendor/preact.js";
import { get } from "../base/api.js";
import { instant } from "../base/format.js";
import { filter, route } from "../base/route.js";
import { Typed } from "../parts/field.js";
import { More, usePages } from "../parts/more.js";
import { Table } from "../parts/table.js";
import { Trouble } from "../parts/trouble.js";

const FIELDS = ["actor", "action", "target"];

const COLUMNS = [
  { name: "When", width: "12rem", mute: true, cell: (row) => instant(row.at) },
  { name: "Who", width: "9rem", cell: (row) => html`<span class="clip" title=${row.actor}>${row.actor}</span>` },
  { name: "Did", width: "9rem", cell: (row) => html`<strong class="strong">${row.action}</strong>` },
  { name: "To", width: "14rem", cell: (row) => html`<span class="clip" title=${row.target}>${row.target}</span>` },
  { name: "With", wide: true, mute: true, cell: (row) => html`<span class="clip" title=${detail(row)}>${detail(row)}</span>` },
  { name: "From", width: "8rem", mute: true, cell: (row) => row.address },
];

export function Audit() {
  const { query } = route.value;
  const asked = Object.fromEntries(FIELDS.filter((name) => query[name]).map((name) => [name, query[name]]));
  const pages = usePages((cursor, abort) => get("audit", { ...asked, cursor, limit: 50 }, abort).then(numbered), [JSON.stringify(asked)]);
  return html`
    <header class="page-head"><h1>Audit</h1></header>
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Typed} label="Target" search=${true} placeholder="A job's id, a queue, a key" value=${query.target} onChange=${(target) => filter({ target })} />
      <${Typed} label="Who" placeholder="any" value=${query.actor} onChange=${(actor) => filter({ actor })} />
      <${Typed} label="Action" placeholder="any" value=${query.action} onChange=${(action) => filter({ action })} />
    </form>
    <${Trouble} error=${pages.error} again=${pages.reload} />
    <section class="card flush"><${Table} columns=${COLUMNS} rows=${pages.rows} busy=${pages.busy} rowKey=${(row) => row.id} label="Audit" empty="Nothing was changed yet." skeleton=${8} /></section>
    <${More} of=${pages} />`;
}

const detail = (row) => JSON.stringify(row.detail);

// Rows have no id of their own.
const numbered = (page) => ({ ...page, items: page.items.map((row) => ({ ...row, id: `${row.at} ${row.request_id} ${row.action} ${row.target}` })) });
