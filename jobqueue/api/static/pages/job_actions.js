// What may be done with a job now: the API tells, per caller.

import { html, useState } from "../vendor/preact.js";
import { path, post, remove } from "../base/api.js";
import { Choice, Dialog } from "../parts/dialog.js";
import { Field } from "../parts/field.js";
import { attempt } from "../parts/toast.js";

const CANCELLED = { cancelled: "Cancelled.", running: "Its worker was asked to stop it." };

export function Actions({ job, reload }) {
  const [editing, setEditing] = useState(false);
  const [busy, setBusy] = useState(false);
  const can = (what) => job.can.includes(what);
  const act = async (action, done) => {
    setBusy(true);
    await attempt(action, done);
    setBusy(false);
    reload();
  };
  const retry = () => act(() => post(path("jobs", job.id, "retry")), "It waits to be run now.");
  const cancel = () => act(() => remove(path("jobs", job.id)), ({ state }) => CANCELLED[state] ?? `It is ${state}.`);
  return html`
    ${can("retry") && html`<button type="button" class="main" disabled=${busy} onClick=${retry}>${job.state === "dead" ? "Retry" : "Run now"}</button>`}
    ${can("edit") && html`<button type="button" disabled=${busy || !job.payload_kept} onClick=${() => setEditing(true)}>Edit and retry…</button>`}
    ${can("cancel") && html`<button type="button" disabled=${busy} onClick=${cancel}>Cancel</button>`}
    ${editing && html`<${EditDialog} job=${job} onClose=${() => setEditing(false)} onDone=${reload} />`}`;
}

function EditDialog({ job, onClose, onDone }) {
  const [text, setText] = useState(JSON.stringify(job.payload, null, 2));
  const [wrong, setWrong] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    const [payload, fault] = parsed(text);
    setWrong(fault);
    if (fault) return;
    try {
      await post(path("dlq", job.id, "retry"), { payload });
      onClose();
      onDone();
    } catch (error) {
      setWrong(error.message);
    }
  };
  return html`
    <${Dialog} title="Edit and retry" onClose=${onClose} wide=${true}>
      <form class="form" onSubmit=${submit}>
        <${Field} label="Payload" hint="A field that stands as *** is masked; left so, it keeps its value. The edit is noted in the audit.">
          ${(id) => html`<textarea id=${id} rows="14" spellcheck=${false} aria-invalid=${String(Boolean(wrong))} value=${text} onInput=${(event) => setText(event.target.value)}></textarea>`}
        <//>
        <p class="warning" role="alert">${wrong}</p>
        <${Choice} onClose=${onClose} leave="Leave"><button class="main">Retry with this payload</button><//>
      </form>
    <//>`;
}

/** [object, ""] or [null, what is wrong]. */
export function parsed(text) {
  try {
    const value = JSON.parse(text);
    const good = value !== null && typeof value === "object" && !Array.isArray(value);
    return good ? [value, ""] : [null, "A payload is a JSON object: { … }."];
  } catch (error) {
    return [null, `This is no JSON: ${error.message}`];
  }
}
