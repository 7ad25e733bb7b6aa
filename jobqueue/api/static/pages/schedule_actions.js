// What may be done with a schedule now: the API tells, per caller.

import { html, useState } from "../vendor/preact.js";
import { path, post, remove } from "../base/api.js";
import { go, href } from "../base/route.js";
import { Choice, Dialog } from "../parts/dialog.js";
import { Field } from "../parts/field.js";
import { attempt } from "../parts/toast.js";
import { BackfillDialog } from "./schedule_backfill.js";

export function ScheduleActions({ schedule, reload }) {
  const [dialog, setDialog] = useState("");
  const [busy, setBusy] = useState(false);
  const { name } = schedule;
  const can = (what) => schedule.can.includes(what);
  const act = async (verb, done) => {
    setBusy(true);
    await attempt(() => post(path("schedules", name, verb)), done);
    setBusy(false);
    reload();
  };
  const button = (verb, label, done) => can(verb) && html`<button type="button" disabled=${busy} onClick=${() => act(verb, done)}>${label}</button>`;
  const close = () => {
    setDialog("");
    reload();
  };
  return html`
    ${button("run", "Run now", ({ id }) => `Queued, as job ${id}.`)}
    ${button("pause", "Pause", `${name} has no ticks until it is resumed.`)}
    ${button("resume", "Resume", `${name} has ticks again.`)}
    ${can("backfill") && html`<button type="button" onClick=${() => setDialog("backfill")}>Backfill…</button>`}
    ${can("change") && html`<a class="button" href=${href(["schedules", name, "edit"])}>Edit…</a>`}
    ${can("remove") && html`<button type="button" onClick=${() => setDialog("remove")}>Remove…</button>`}
    ${dialog === "backfill" && html`<${BackfillDialog} schedule=${schedule} onClose=${close} />`}
    ${dialog === "remove" && html`<${RemoveDialog} schedule=${schedule} onClose=${() => setDialog("")} />`}`;
}

function RemoveDialog({ schedule, onClose }) {
  const [typed, setTyped] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    const done = await attempt(async () => (await remove(path("schedules", schedule.name))) ?? true, `${schedule.name} is removed.`);
    if (done) go("schedules");
  };
  return html`
    <${Dialog} title="Remove a schedule" onClose=${onClose}>
      <form class="form" onSubmit=${submit}>
        <p><strong>${schedule.name}</strong> would have no more ticks. Jobs that it made go on, and what was decided about its ticks stays.</p>
        ${schedule.waiting > 0 && html`<p class="warning">Ticks that wait for a job to end would be skipped.</p>`}
        <${Field} label="Type the schedule's name to confirm">
          ${(id) => html`<input id=${id} value=${typed} autocomplete="off" spellcheck=${false} onInput=${(event) => setTyped(event.target.value)} />`}
        <//>
        <${Choice} onClose=${onClose} leave="Leave"><button class="danger" disabled=${typed !== schedule.name}>Remove</button><//>
      </form>
    <//>`;
}
