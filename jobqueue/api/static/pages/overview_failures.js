// The last failures, one line per task and error.

import { html } from "../vendor/preact.js";
import { get } from "../base/api.js";
import { useLoad } from "../base/load.js";
import { href } from "../base/route.js";
import { may, session } from "../base/session.js";
import { GroupTable } from "../parts/group_table.js";
import { Trouble } from "../parts/trouble.js";

const AGAIN_MS = 10_000;
const SINCE_MS = 24 * 3_600_000;

export function Failures() {
  return session.value.history && may("jobs:read") ? html`<${Recent} />` : may("dlq:read") ? html`<${Dead} />` : null;
}

function Recent() {
  const since = () => new Date(Date.now() - SINCE_MS).toISOString();
  const { data, error, reload } = useLoad((abort) => get("executions/errors", { since: since() }, abort), [], AGAIN_MS);
  return html`<${Shown} title="Failures of the last 24 hours" data=${data} error=${error} reload=${reload} to=${toJobs} />`;
}

function Dead() {
  const { data, error, reload } = useLoad((abort) => get("dlq/groups", {}, abort), [], AGAIN_MS);
  return html`<${Shown} title="Dead letters by error" data=${data} error=${error} reload=${reload} to=${toDead} />`;
}

const Shown = ({ title, data, error, reload, to }) => html`
  <section class="card" aria-labelledby="failures">
    <h2 id="failures">${title}</h2>
    <${Trouble} error=${error} again=${reload} />
    <${GroupTable} groups=${data && data.items.slice(0, 8)} to=${to} empty="Nothing failed." />
  </section>`;

const toJobs = (group) => href(["jobs", group.last_id]);
const toDead = (group) => href("dead", { queue: group.queue, type: group.type, error: group.error_class });
