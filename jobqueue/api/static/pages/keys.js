// API keys: who has one, and making, rotating and revoking them.

import { html, useState } from "../vendor/preact.js";
import { get, path, remove } from "../base/api.js";
import { now } from "../base/clock.js";
import { useLoad } from "../base/load.js";
import { Choice, Dialog } from "../parts/dialog.js";
import { Table } from "../parts/table.js";
import { Ago } from "../parts/time.js";
import { attempt } from "../parts/toast.js";
import { Trouble } from "../parts/trouble.js";
import { CreateDialog, RotateDialog } from "./key_dialogs.js";

export function Keys() {
  const { data, error, reload } = useLoad((abort) => get("keys", {}, abort), []);
  const [dialog, setDialog] = useState(null);
  const close = () => {
    setDialog(null);
    reload();
  };
  const columns = [
    { name: "Name", width: "9rem", cell: (key) => html`<strong class="strong clip" title=${key.name}>${key.name}</strong>` },
    { name: "Id", width: "7.5rem", mute: true, cell: (key) => html`<code>${key.id}</code>` },
    { name: "Kind", width: "5rem", cell: (key) => key.kind },
    { name: "May", wide: true, cell: (key) => html`<span class="clip" title=${key.scopes.join(", ")}>${key.scopes.join(", ")}</span>` },
    { name: "Queues", width: "8rem", cell: (key) => html`<span class="clip" title=${key.queues.join(", ")}>${key.queues.join(", ")}</span>` },
    { name: "State", width: "6.5rem", cell: (key) => html`<${Standing} of=${key} />` },
    { name: "Last used", width: "6.5rem", num: true, mute: true, cell: (key) => html`<${Ago} at=${key.last_used_at} />` },
    { name: "", width: "12rem", wide: true, cell: (key) => html`<${Actions} of=${key} onDialog=${setDialog} />` },
  ];
  const Shown = dialog && DIALOGS[dialog.what];
  return html`
    <header class="page-head"><h1>Keys</h1><div class="actions"><button type="button" class="main" onClick=${() => setDialog({ what: "create" })}>New key…</button></div></header>
    <${Trouble} error=${error} again=${reload} />
    <section class="card flush"><${Table} columns=${columns} rows=${data && data.items} rowKey=${(key) => key.id} label="API keys" empty=${html`<${Nobody} />`} /></section>
    ${Shown && html`<${Shown} of=${dialog.of} onClose=${close} />`}`;
}

const DIALOGS = { create: CreateDialog, rotate: RotateDialog, revoke: RevokeDialog };

const past = (at) => at !== null && Date.parse(at) <= now.value;
const ended = (key) => past(key.revoked_at) || past(key.expires_at);

function Standing({ of }) {
  if (past(of.revoked_at)) return html`<span class="state mute">revoked</span>`;
  if (past(of.expires_at)) return html`<span class="state mute">expired</span>`;
  const end = of.revoked_at ?? of.expires_at; // rotated with an overlap: it is good until then
  return html`<span class="state ${of.revoked_at ? "warn" : "good"}">${of.revoked_at ? "ending" : "good"}</span>${end && html` <span class="mute clip">ends <${Ago} at=${end} /></span>`}`;
}

function Actions({ of, onDialog }) {
  if (ended(of)) return null;
  return html`
    <span class="actions">
      ${!of.revoked_at && html`<button type="button" class="small" aria-label=${`Rotate ${of.name}`} onClick=${() => onDialog({ what: "rotate", of })}>Rotate…</button>`}
      <button type="button" class="small" aria-label=${`Revoke ${of.name}`} onClick=${() => onDialog({ what: "revoke", of })}>Revoke…</button>
    </span>`;
}

const Nobody = () => html`
  <p><strong>No key was made yet.</strong> Until one is, only this machine may ask, and it may do all.</p>
  <p>From the first one on, everybody needs a key: make one of kind admin for yourself first.</p>`;

function RevokeDialog({ of, onClose }) {
  const revoke = async () => {
    await attempt(() => remove(path("keys", of.id)), `${of.name} is revoked; within seconds it opens nothing.`);
    onClose();
  };
  return html`
    <${Dialog} title="Revoke a key" onClose=${onClose}>
      <p>Whoever uses <strong>${of.name}</strong> (<code>${of.id}</code>) is refused from now on. This cannot be undone.</p>
      <${Choice} onClose=${onClose} leave="Leave"><button type="button" class="danger" onClick=${revoke}>Revoke</button><//>
    <//>`;
}
