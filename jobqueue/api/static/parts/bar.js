// A share of a whole, as a bar.

import { html } from "../vendor/preact.js";

export function Bar({ share, label }) {
  const percent = Math.round(Math.min(Math.max(share, 0), 1) * 100);
  return html`
    <span class="bar" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${percent}>
      <span class=${percent >= 100 ? "full" : ""} style=${{ width: `${percent}%` }}></span>
    </span>`;
}
