// The time of the API's machine, as far as the last answer told it, so that ages are right on a wrong clock.

import { effect, signal } from "../vendor/preact.js";
import { overview } from "./live.js";

let ahead = 0;

/** Ms since the epoch; moves once a second while the page is seen. */
export const now = signal(Date.now());

effect(() => {
  if (overview.value) ahead = Date.parse(overview.value.at) - Date.now();
});

setInterval(() => {
  if (!document.hidden) now.value = Date.now() + ahead;
}, 1_000);
