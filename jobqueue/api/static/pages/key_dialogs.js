// Making and rotating a key. The secret is shown once, here.

import { html, useState } from "../vendor/preact.js";
import { path, post, reasons } from "../base/api.js";
import { Copy } from "../parts/copy.js";
import { Choice, Dialog } from "../parts/dialog.js";
import { Field, Select } from "../parts/field.js";

const KINDS = ["client", "worker", "admin"];
const SCOPES = [
  "jobs:enqueue", "jobs:read", "jobs:cancel", "jobs:retry", "dlq:read", "dlq:write", "queues:read", "queues:write",
  "schedules:read", "schedules:write",   "workers:read", "workers:lease", "metrics:read", "audit:read", "keys:admin",
];

export function CreateDialog({ onClose }) {
  const [form, setForm] = useState({ name: "", kind: "client", queues: "*", expires: "", rate: "", scopes: [] });
  const set = (name) => (value) => setForm((old) => ({ ...old, [name]: value }));
  const turn = (scope) => set("scopes")(form.scopes.includes(scope) ? form.scopes.filter((each) => each !== scope) : [...form.scopes, scope]);
  const make = () => post("keys", body(form));
  return html`
    <${Making} title="New key" verb="Make the key" make=${make} onClose=${onClose}>
      <${Text} label="Name" value=${form.name} onValue=${set("name")} required=${true} placeholder="shop" />
      <${Select} label="Kind" value=${form.kind} options=${KINDS} onChange=${set("kind")} />
      <details class="fold">
        <summary>Scopes (else those of its kind)</summary>
        <div class="pairs">${SCOPES.map((scope) => html`<label key=${scope} class="check"><input type="checkbox" checked=${form.scopes.includes(scope)} onChange=${() => turn(scope)} /> ${scope}</label>`)}</div>
      </details>
      <${Text} label="Queues" value=${form.queues} onValue=${set("queues")} hint="Names, or beginnings with *, separated by commas." />
      <div class="pairs">
        <${Text} label="Expires after" value=${form.expires} onValue=${set("expires")} placeholder="never" hint="90d, 12h" />
        <${Text} label="Requests a second" value=${form.rate} onValue=${set("rate")} placeholder="no limit" />
      </div>
    <//>`;
}

export function RotateDialog({ of, onClose }) {
  const [overlap, setOverlap] = useState("1h");
  const make = () => post(path("keys", of.id, "rotate"), { overlap: overlap.trim() || "0s" });
  return html`
    <${Making} title="Rotate a key" verb="Make a new secret" make=${make} onClose=${onClose}>
      <p><strong>${of.name}</strong> gets a new secret; the old one stays good for a while.</p>
      <${Text} label="The old secret stays good for" value=${overlap} onValue=${setOverlap} hint="0s, 30m, 1h, 7d" />
    <//>`;
}

function body({ name, kind, queues, expires, rate, scopes }) {
  const made = { name: name.trim(), kind, queues: queues.split(",").map((each) => each.trim()).filter(Boolean) };
  if (scopes.length) made.scopes = scopes;
  if (expires.trim()) made.expires = expires.trim();
  if (rate.trim()) made.rate = Number(rate);
  return made;
}

function Making({ title, verb, make, onClose, children }) {
  const [made, setMade] = useState(null);
  const [wrong, setWrong] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    try {
      setMade(await make());
    } catch (error) {
      setWrong(reasons(error));
    }
  };
  if (made) return html`<${Dialog} title=${title} onClose=${onClose}><${Secret} of=${made} /><${Choice} onClose=${onClose} /><//>`;
  return html`
    <${Dialog} title=${title} onClose=${onClose}>
      <form class="form" onSubmit=${submit}>
        ${children}
        <p class="warning" role="alert">${wrong}</p>
        <${Choice} onClose=${onClose} leave="Leave"><button class="main">${verb}</button><//>
      </form>
    <//>`;
}

const Secret = ({ of }) => html`
  <p>This is the secret of <strong>${of.name}</strong>. It is shown once: only its hash is kept.</p>
  <div class="code secret"><${Copy} text=${of.secret} what="secret" /><pre tabindex="0">${of.secret}</pre></div>`;

const Text = ({ label, value, onValue, hint, ...rest }) => html`
  <${Field} label=${label} hint=${hint}>${(id) => html`<input id=${id} value=${value} autocomplete="off" spellcheck=${false} onInput=${(event) => onValue(event.target.value)} ...${rest} />`}<//>`;
