// What went wrong while loading, where the answer would have stood.

import { html } from "../vendor/preact.js";

const BANNER_TELLS = new Set(["unreachable", "broker-unavailable", "repository-unavailable"]);

export function Trouble({ error, again }) {
  if (!error || BANNER_TELLS.has(error.slug)) return null;
  return html`
    <div class="trouble" role="alert">
      <p><strong>${error.title}.</strong> ${error.message}</p>
      ${again && html`<button type="button" onClick=${again}>Try again</button>`}
    </div>`;
}
