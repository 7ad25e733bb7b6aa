// Queues: how they do, and pause, resume and purge.

import { html } from "../vendor/preact.js";
import { overview, queues } from "../base/live.js";
import { unused } from "../base/health.js";
import { FirstJob } from "../parts/first.js";
import { LeftOut, QueueTable } from "../parts/queue_table.js";
import { QueueActions } from "./queue_actions.js";
import { QueuePage } from "./queue.js";

export function Queues({ rest }) {
  if (rest.length) return html`<${QueuePage} key=${rest[0]} name=${rest[0]} />`;
  const more = [{ name: "", width: "11rem", wide: true, cell: (queue) => html`<${QueueActions} queue=${queue} small=${true} />` }];
  const none = overview.value && unused(overview.value);
  return html`
    <header class="page-head"><h1>Queues</h1></header>
    <section class="card flush">
      ${none && html`<div class="none-yet"><${FirstJob} /></div>`}
      ${!(none && !queues.value.length) && html`<${QueueTable} queues=${overview.value && queues.value} without=${["Utilisation", "Dead"]} more=${more} />`}
    </section>
    <${LeftOut} of=${overview.value} />`;
}
