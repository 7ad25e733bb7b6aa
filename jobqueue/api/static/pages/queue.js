// One queue: what waits by priority, how fast it goes, what became of its jobs.

import { html } from "../vendor/preact.js";
import { overview, queues } from "../base/live.js";
import { concerns } from "../base/health.js";
import { count, rate, span } from "../base/format.js";
import { href } from "../base/route.js";
import { Bar } from "../parts/bar.js";
import { QueueActions } from "./queue_actions.js";

const PRIORITIES = ["critical", "high", "medium", "low"];

export function QueuePage({ name }) {
  const queue = queues.value.find((each) => each.name === name);
  return html`
    <p class="trail"><a href=${href("queues")}>Queues</a></p>
    <header class="page-head">
      <div class="titled"><h1>${name}</h1>${queue?.paused && html`<span class="tag warn">paused</span>`}</div>
      ${queue && html`<${QueueActions} queue=${queue} />`}
    </header>
    ${queue ? html`<${Shown} queue=${queue} />` : html`<p class="mute">${overview.value ? "No such queue: the first job makes one." : "Looking…"}</p>`}`;
}

function Shown({ queue }) {
  const wrong = concerns(overview.value).filter((each) => each.queue === queue.name);
  return html`
    ${wrong.map((each) => html`<p key=${each.text} class=${each.level === "bad" ? "trouble" : "warning"}>This queue ${each.text}.</p>`)}
    <section class="card" aria-labelledby="waiting"><h2 id="waiting">Waiting</h2><${Depth} of=${queue} /></section>
    <section class="card" aria-labelledby="numbers"><h2 id="numbers">Numbers</h2><${Numbers} of=${queue} /></section>
    <section class="card" aria-labelledby="look"><h2 id="look">Look at</h2>
      <p class="links">
        ${["queued", "running", "scheduled", "retrying", "completed"].map((state) => html`<a key=${state} href=${href("jobs", { queue: queue.name, state })}>${state} jobs</a>`)}
        <a href=${href("dead", { queue: queue.name })}>dead letters</a>
      </p>
    </section>`;
}

function Depth({ of }) {
  const most = Math.max(...PRIORITIES.map((priority) => of.depth[priority]), 1);
  return html`
    <dl class="depth">${PRIORITIES.map((priority) => html`
      <dt>${priority}</dt><dd class="num">${count(of.depth[priority])}</dd>
      <dd><${Bar} share=${of.depth[priority] / most} label=${`Ready, ${priority}`} /></dd>`)}
    </dl>`;
}

function Numbers({ of }) {
  const numbers = [
    ["Ready", count(of.ready)], ["Oldest", of.ready ? span(of.oldest_ready_ms) : "–"], ["Running", count(of.running)],
    ["Slots", count(of.slots)], ["Workers", count(of.workers)], ["Delayed", count(of.delayed)], ["Next due", due(of.next_due_ms)],
    ["Enqueued", rate(of.rates.enqueued)], ["Completed", rate(of.rates.completed)], ["Failed", rate(of.rates.failed)],
    ["Enqueued ever", count(of.enqueued)], ["Completed ever", count(of.completed)], ["Died ever", count(of.died)],
    ["Cancelled ever", count(of.cancelled)], ["Expired ever", count(of.expired)], ["Dead letters", count(of.dead)],
  ];
  return html`<dl class="facts">${numbers.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function due(ms) {
  if (ms === null) return "–";
  return ms < 0 ? `${span(-ms)} overdue` : `in ${span(ms)}`;
}
