// What to do when there is nothing to be seen yet.

import { html } from "../vendor/preact.js";
import { Copy } from "./copy.js";

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
