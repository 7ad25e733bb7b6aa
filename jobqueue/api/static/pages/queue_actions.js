// Pause, resume and purge of a queue. A purge asks for the queue's name.

import { html, useState } from "../vendor/preact.js";
import { path, post } from "../base/api.js";
import { count, plural } from "../base/format.js";
import { may } from "../base/session.js";
import { Choice, Dialog } from "../parts/dialog.js";
import { Field } from "../parts/field.js";
import { attempt } from "../parts/toast.js";

export function QueueActions({ queue, small = false }) {
  const [purging, setPurging] = useState(false);
  if (!may("queues:write")) return null;
  const style = small ? "small" : "";
  const turn = () => {
    const verb = queue.paused ? "resume" : "pause";
    return attempt(() => post(path("queues", queue.name, verb)), `${queue.name} is ${verb}d.`);
  };
  return html`
    <span class="actions">
      <button type="button" class=${style} aria-label=${`${queue.paused ? "Resume" : "Pause"} ${queue.name}`} onClick=${turn}>${queue.paused ? "Resume" : "Pause"}</button>
      <button type="button" class=${style} aria-label=${`Purge ${queue.name}`} onClick=${() => setPurging(true)}>Purge…</button>
    </span>
    ${purging && html`<${PurgeDialog} queue=${queue} onClose=${() => setPurging(false)} />`}`;
}

function PurgeDialog({ queue, onClose }) {
  const [typed, setTyped] = useState("");
  const [delayed, setDelayed] = useState(true);
  const submit = async (event) => {
    event.preventDefault();
    const body = { confirm: typed, delayed };
    const done = await attempt(() => post(path("queues", queue.name, "purge"), body), ({ cancelled }) => `${plural(cancelled, "job")} cancelled.`);
    if (done) onClose();
  };
  return html`
    <${Dialog} title="Purge a queue" onClose=${onClose}>
      <form class="form" onSubmit=${submit}>
        <p>${count(queue.ready)} ready and ${count(queue.delayed)} delayed jobs of <strong>${queue.name}</strong> would be cancelled, without a trace in the history. This cannot be undone. Running jobs go on.</p>
        <label class="check"><input type="checkbox" checked=${delayed} onChange=${(event) => setDelayed(event.target.checked)} /> Delayed jobs, too</label>
        <${Field} label="Type the queue's name to confirm">
          ${(id) => html`<input id=${id} value=${typed} autocomplete="off" spellcheck=${false} onInput=${(event) => setTyped(event.target.value)} />`}
        <//>
        <${Choice} onClose=${onClose} leave="Leave"><button class="danger" disabled=${typed !== queue.name}>Purge</button><//>
      </form>
    <//>`;
}
