// What cannot be reached; goes by itself when it can.

import { html } from "../vendor/preact.js";
import { down } from "../base/api.js";

const TEXT = {
  api: ["The API does not answer.", "What you see is what it said last. Trying again."],
  redis: ["Redis cannot be reached.", "Nothing can be enqueued, and nothing here is up to date. Jobs in it are safe. Trying again."],
  postgres: ["Postgres cannot be reached.", "Jobs go on; their history waits in Redis, and is not shown meanwhile. Trying again."],
};

export function Banner() {
  const what = ["api", "redis", "postgres"].find((each) => down.value[each]);
  return html`
    <div role="alert">
      ${what && html`<p class="banner"><strong>${TEXT[what][0]}</strong> ${TEXT[what][1]}</p>`}
    </div>`;
}
