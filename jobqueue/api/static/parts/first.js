// What to do when there is nothing to be seen yet.

import { html } from "../vendor/preact.js";
import { Copy } from "./copy.js";

export function FirstSchedule() {
  const lines = [
    `@registry.cron("0 9 * * mon-fri", timezone="Europe/Madrid")`,
    `jobqueue cron add digest "0 9 * * mon-fri" digest.send --timezone Europe/Madrid`,
  ];
  return html`
    <div class="first">
      <p><strong>No schedule yet.</strong> Make a first one: in code, above a task, or in a shell:</p>
      ${lines.map((line) => html`<div key=${line} class="code"><${Copy} text=${line} what="line" /><pre tabindex="0">${line}</pre></div>`)}
      <p class="mute">Ticks fire while a <code>jobqueue scheduler</code> runs.</p>
    </div>`;
}

export function FirstJob() {
  const address = new URL("api/v1/jobs", document.baseURI).href.split("#")[0];
  const lines = [
    `jobqueue enqueue hello '{"name": "Ada"}'`,
    `curl ${address} -H 'Content-Type: application/json' -d '{"type": "hello", "payload": {"name": "Ada"}}'`,
  ];
  return html`
    <div class="first">
      <p><strong>No job yet.</strong> Enqueue a first one, in a shell or over HTTP:</p>
      ${lines.map((line) => html`<div class="code"><${Copy} text=${line} what="command" /><pre tabindex="0">${line}</pre></div>`)}
      <p class="mute">Where keys are needed, curl wants one, too: <code>-H "Authorization: Bearer $KEY"</code>.</p>
    </div>`;
}
