// An instant as an age, with the full time on hover; only this text is drawn anew each second.

import { html } from "../vendor/preact.js";
import { now } from "../base/clock.js";
import { ago, instant } from "../base/format.js";

export function Ago({ at }) {
  if (!at) return html`<span class="none">–</span>`;
  return html`<time datetime=${at} title=${instant(at)}>${ago(at, now.value)}</time>`;
}
