// Jobs of past ticks: counted first by a dry run, then queued in steps, with progress.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { path, post } from "../base/api.js";
import { now } from "../base/clock.js";
import { count, plural } from "../base/format.js";
import { clockOf, inZone, instantOf, many, typed } from "../base/tick.js";
import { Choice, Dialog } from "../parts/dialog.js";
import { Field } from "../parts/field.js";

const STEP = 200;
const DRY_STEP = 1_000;
const MOST_COUNTED = 10_000;
const MOST_STEPS = 10_000;
const DAY_MS = 86_400_000;

export function BackfillDialog({ schedule, onClose }) {
  const zone = schedule.definition.timezone;
  const [from, setFrom] = useState(typed(now.value - DAY_MS, zone));
  const [to, setTo] = useState(typed(now.value, zone));
  const [run, setRun] = useState({ phase: "choosing" });
  const stopped = useRef(false);
  useEffect(() => () => {
    stopped.current = true;
  }, []);
  const address = path("schedules", schedule.name, "backfill");

  const look = async (event) => {
    event.preventDefault();
    setRun({ phase: "counting" });
    try {
      const span = { from: instantOf(from, zone), to: instantOf(to, zone) };
      setRun({ phase: "asking", span, found: await counted(address, span, stopped) });
    } catch (error) {
      setRun({ phase: "choosing", error });
    }
  };
  const begin = () => work({ address, run, stopped, setRun });
  const close = () => {
    stopped.current = true;
    onClose();
  };
  return html`
    <${Dialog} title=${`Backfill ${schedule.name}`} onClose=${close}>
      <form class="form" onSubmit=${look}>
        <p class="mute">Queues the jobs of ticks in the past, each once: one whose job was made before is left out.</p>
        <div class="pairs">
          <${Moment} label="From" zone=${zone} value=${from} onValue=${setFrom} disabled=${run.phase === "doing"} />
          <${Moment} label="To, without it" zone=${zone} value=${to} onValue=${setTo} disabled=${run.phase === "doing"} />
        </div>
        <div class="bulk" aria-live="polite"><${Phase} run=${run} zone=${zone} /></div>
        <${Choice} onClose=${close} leave=${run.phase === "doing" ? "Stop" : "Close"}>
          ${["choosing", "counting", "asking"].includes(run.phase) && html`<button class=${run.found?.fresh ? "" : "main"} disabled=${run.phase === "counting"}>Count</button>`}
          ${run.phase === "asking" && run.found.fresh > 0 && html`<button type="button" class="main" onClick=${begin}>Queue ${many(run.found.fresh, run.found.more)}</button>`}
        <//>
      </form>
    <//>`;
}

const Moment = ({ label, zone, value, onValue, disabled }) => html`
  <${Field} label=${label} hint=${`On the clock of ${clockOf(zone)}.`}>
    ${(id) => html`<input id=${id} type="datetime-local" step="1" required value=${value} disabled=${disabled} onInput=${(event) => onValue(event.target.value)} />`}
  <//>`;

async function counted(address, { from, to }, stopped) {
  const found = { looked: 0, fresh: 0, more: false, first: null };
  let next = from;
  while (next && found.looked < MOST_COUNTED && !stopped.current) {
    const told = await post(address, { from: next, to, limit: DRY_STEP, dry_run: true });
    found.looked += told.ticks.length;
    found.fresh += told.new;
    found.first ??= told.ticks.find((tick) => tick.new)?.at ?? null;
    next = told.next_from;
  }
  return { ...found, more: Boolean(next) };
}

async function work({ address, run: { span, found }, stopped, setRun }) {
  let next = span.from;
  let done = 0;
  setRun({ phase: "doing", found, done });
  try {
    for (let step = 0; step < MOST_STEPS && next && !stopped.current; step += 1) {
      const told = await post(address, { from: next, to: span.to, limit: STEP });
      done += told.new;
      next = told.next_from;
      setRun({ phase: "doing", found, done });
    }
    setRun({ phase: "done", found, done });
  } catch (error) {
    setRun({ phase: "done", found, done, error });
  }
}

function Phase({ run: { phase, found, done, error }, zone }) {
  if (phase === "counting") return html`<p>Counting…</p>`;
  if (phase === "choosing") return error && html`<p class="warning" role="alert">${error.message}</p>`;
  if (phase === "asking") {
    if (!found.looked) return html`<p>No tick lies in that time.</p>`;
    const before = found.looked - found.fresh;
    return html`
      <p><strong>${many(found.fresh, found.more)} ${found.fresh === 1 ? "job" : "jobs"}</strong> would be queued${found.first ? html`, the first for ${inZone(found.first, zone)}` : ""}.</p>
      ${before > 0 && html`<p class="mute">${plural(before, "tick has its", "ticks have their")} job already.</p>`}`;
  }
  return html`
    <progress max=${Math.max(found.fresh, done, 1)} value=${done} aria-label="Backfill"></progress>
    <p>${count(done)} of ${many(Math.max(found.fresh, done), found.more)} ${phase === "done" ? "queued" : "…"}</p>
    ${error && html`<p class="warning" role="alert">Stopped: ${error.message}</p>`}`;
}
