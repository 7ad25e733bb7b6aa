// Short messages on what was done, read out by screen readers.

import { html, signal } from "../vendor/preact.js";

const STAY_MS = 6_000;
const messages = signal([]);
let number = 0;

/** Tell what came of an action; *tone* "good" or "bad". */
export function say(text, tone = "good") {
  const id = (number += 1);
  messages.value = [...messages.value.slice(-2), { id, text: String(text), tone }];
  setTimeout(() => {
    messages.value = messages.value.filter((each) => each.id !== id);
  }, STAY_MS);
}

/** Run an action; tell what came of it. Its result, or undefined when it failed. */
export async function attempt(action, done) {
  try {
    const result = await action();
    if (done) say(typeof done === "function" ? done(result) : done);
    return result;
  } catch (error) {
    say(error.message, "bad");
    return undefined;
  }
}

export const Toasts = () => html`
  <div class="toasts" role="status" aria-live="polite">
    ${messages.value.map(({ id, text, tone }) => html`<p key=${id} class=${`toast ${tone}`}>${text}</p>`)}
  </div>`;
