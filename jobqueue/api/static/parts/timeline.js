// A job's life as a strip (waiting pale, running coloured) and as a list.

import { html } from "../vendor/preact.js";
import { now } from "../base/clock.js";
import { ended } from "../base/job.js";
import { instant, span } from "../base/format.js";
import { tone } from "./state.js";

const CAME_TO = { retrying: "failed", dead: "failed for good", crashed: "lost its worker", snoozed: "put off", released: "given back" };
const LEAST = 0.6; // percent: a short run is still seen

export function Timeline({ job }) {
  const runs = runsOf(job);
  return html`
    <${Strip} job=${job} runs=${runs} />
    <ol class="timeline">${steps(job, runs).map((step, i) => html`
      <li key=${i} class=${step.tone}><span class="what">${step.what}</span> <time class="mute" datetime=${step.at}>${instant(step.at)}</time> <span class="mute">${step.note}</span></li>`)}
    </ol>`;
}

function runsOf(job) {
  const known = job.attempts.filter((attempt) => attempt.attempt > 0 && attempt.started_at);
  const runs = known.map((run) => ({ name: `Attempt ${run.attempt}`, generation: run.generation, queued: ms(run.queued_at), from: ms(run.started_at), to: ms(run.finished_at), took: run.duration_ms, outcome: run.outcome, error: run.error_class }));
  if (job.state === "running" && job.started_at) runs.push({ name: `Attempt ${job.attempt}`, from: ms(job.started_at), to: null, outcome: "running" });
  return runs;
}

function Strip({ job, runs }) {
  const begin = ms(job.created_at ?? job.attempts[0]?.queued_at ?? job.started_at);
  if (begin === null) return null;
  const end = ended(job) ? Math.max(begin, ms(job.finished_at) ?? 0, ...runs.map((run) => run.to ?? 0)) : now.value;
  const whole = Math.max(end - begin, 1);
  const share = (from, to) => ((to - from) / whole) * 100;
  const place = ({ from, to }) => {
    const width = Math.min(Math.max(share(from, to ?? end), LEAST), 100);
    return { left: `${Math.min(Math.max(share(begin, from), 0), 100 - width)}%`, width: `${width}%` };
  };
  const told = `${runs.length} runs in ${span(whole)}`;
  return html`
    <div class="strip" role="img" aria-label=${told}>
      ${runs.map((run, i) => html`<span key=${i} class=${tone(run.outcome)} style=${place(run)} title=${`${run.name}: ${run.outcome}, ${span((run.to ?? end) - run.from)}`}></span>`)}
    </div>`;
}

function steps(job, runs) {
  const list = [];
  const begin = job.created_at ?? job.attempts[0]?.queued_at ?? null;
  if (begin) list.push({ what: job.created_at ? "Created" : "Queued", at: begin, tone: "mute" });
  let before = ms(begin);
  let generation = 0;
  for (const run of runs) {
    if (run.generation > generation && run.queued !== null) {
      list.push({ what: "Queued again", at: iso(run.queued), tone: "mute", note: before === null ? "" : `after ${span(Math.max(run.queued - before, 0))}` });
      before = run.queued;
    }
    generation = run.generation ?? generation;
    list.push({ what: `${run.name} started`, at: iso(run.from), tone: run.to === null ? "live" : "mute", note: before === null ? "" : `after ${span(Math.max(run.from - before, 0))}` });
    if (run.to !== null) list.push({ what: `${run.name} ${CAME_TO[run.outcome] ?? run.outcome}`, at: iso(run.to), tone: tone(run.outcome), note: `ran ${span(run.took ?? run.to - run.from)}${run.error ? `, ${run.error}` : ""}` });
    before = run.to;
  }
  return [...list, ...last(job, runs)];
}

// What the runs do not tell: that it waits, or ended without one.
function last(job, runs) {
  if ((job.state === "scheduled" || job.state === "retrying") && job.due_at) return [{ what: job.state === "retrying" ? "Next attempt due" : "Due", at: job.due_at, tone: "warn" }];
  const shown = runs.some((run) => run.outcome === job.state);
  if (ended(job) && !shown && job.finished_at) return [{ what: job.state[0].toUpperCase() + job.state.slice(1), at: job.finished_at, tone: tone(job.state) }];
  return [];
}

const ms = (text) => (text ? Date.parse(text) : null);
const iso = (at) => new Date(at).toISOString();
