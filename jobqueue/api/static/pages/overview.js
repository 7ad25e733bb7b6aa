// Is it healthy, and what is stuck?

import { html } from "../vendor/preact.js";
import { link, overview } from "../base/live.js";
import { concerns, failureShare, unused } from "../base/health.js";
import { count, percent, plural, rate, span, time } from "../base/format.js";
import { href } from "../base/route.js";
import { session } from "../base/session.js";
import { Bar } from "../parts/bar.js";
import { FirstJob } from "../parts/first.js";
import { LeftOut, QueueTable } from "../parts/queue_table.js";
import { Failures } from "./overview_failures.js";
import { History, Recent } from "./overview_chart.js";

export function Overview() {
  const now = overview.value;
  return html`
    <h1 class="unseen">Overview</h1>
    <${Verdict} of=${now} />
    ${(now || link.value === "lost") && html`<${Rest} of=${now} />`}`;
}

// Drawn once it is known what stands above it, so that nothing is pushed down.
function Rest({ of: now }) {
  const chart = session.value.history ? History : Recent;
  return html`
    ${now && unused(now) && html`<section class="card"><${FirstJob} /></section>`}
    <${Tiles} of=${now} />
    <section class="card" aria-label="Attempts completed and failed"><${chart} /></section>
    <section class="card" aria-labelledby="queues">
      <h2 id="queues">Queues</h2>
      <${QueueTable} queues=${now && now.queues} />
      <${LeftOut} of=${now} />
    </section>
    <${Failures} />`;
}

function Verdict({ of }) {
  if (!of) return html`<section class="verdict waiting" aria-busy="true"><p class="headline">Looking…</p><p class="mute">Asking for the state of all queues.</p></section>`;
  const found = concerns(of);
  const level = found[0]?.level ?? "good";
  const headline = unused(of) ? "Nothing to do yet" : found.length ? `${plural(found.length, "thing")} ${found.length === 1 ? "needs" : "need"} attention` : "All is well";
  return html`
    <section class=${`verdict ${level}`} aria-live="polite">
      <p class="headline">${headline}</p>
      ${found.length ? html`<ul>${found.slice(0, 6).map((each) => html`<${Concern} key=${each.queue + each.text} of=${each} />`)}</ul>` : html`<p class="mute">${calm(of)}</p>`}
      ${link.value === "lost" && html`<p class="mute">That was so at ${time(of.at)}; there has been no news since.</p>`}
      ${found.length > 6 && html`<p class="mute">and ${found.length - 6} more</p>`}
    </section>`;
}

const Concern = ({ of }) => html`<li class=${of.level}><a href=${href(["queues", of.queue])}>${of.queue}</a> ${of.text}</li>`;

function calm(of) {
  if (unused(of)) return `No job was ever enqueued. ${plural(of.workers, "worker")} ${of.workers === 1 ? "waits" : "wait"}.`;
  const waits = of.oldest_ready_ms ? `nothing waits longer than ${span(of.oldest_ready_ms)}` : "nothing waits";
  return `${plural(of.queues.length, "queue")}, ${plural(of.workers, "worker")}; ${waits}.`;
}

function Tiles({ of }) {
  const share = of && failureShare(of.rates);
  const busy = of?.slots ? of.running / of.slots : null;
  return html`
    <dl class="tiles">
      <${Tile} name="Throughput" value=${of && rate(of.rates.completed)} note=${of && `${rate(of.rates.enqueued)} enqueued`} />
      <${Tile} name="Failure rate" value=${of && (share === null ? "0%" : percent(share))} note="died of those that ended" tone=${share >= 0.5 ? "bad" : share >= 0.1 ? "warn" : ""} />
      <${Tile} name="Oldest waiting" value=${of && (of.ready ? span(of.oldest_ready_ms) : "none")} note=${of && `${count(of.ready)} ready, ${count(of.delayed)} delayed`}
        to=${href("jobs", { state: "queued" })} />
      <${Tile} name="Busy slots" value=${of && (of.slots === null ? count(of.running) : `${count(of.running)} of ${count(of.slots)}`)} note=${of && `on ${plural(of.workers, "worker")}`}
        to=${href("workers")} share=${busy} />
      <${Tile} name="Dead letters" value=${of && count(of.dead)} note="wait for a decision" to=${href("dead")} tone=${of?.dead ? "bad" : ""} />
    </dl>`;
}

function Tile({ name, value, note, tone = "", to, share }) {
  const shown = value ?? html`<span class="bone"></span>`;
  return html`
    <div class=${`tile ${tone}`}>
      <dt>${name}</dt>
      <dd class="value">${to ? html`<a href=${to}>${shown}</a>` : shown}</dd>
      <dd class="note">${note ?? " "}</dd>
      ${share !== null && share !== undefined && html`<${Bar} share=${share} label=${name} />`}
    </div>`;
}
