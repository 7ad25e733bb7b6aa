// What an expression means: in words, and in its next ticks. Asked for once typing pauses.

import { html, useEffect, useState } from "../vendor/preact.js";
import { get } from "../base/api.js";
import { Coming } from "../parts/tick.js";

const PAUSE_MS = 250;
const SHOWN = 5;

export function SchedulePreview({ expression, timezone, seconds }) {
  const [told, setTold] = useState({ preview: null, error: null });
  const asked = { expression: expression.trim(), timezone: timezone.trim(), seconds: String(seconds), count: SHOWN };

  useEffect(() => {
    if (!asked.expression || !asked.timezone) {
      setTold({ preview: null, error: null });
      return undefined;
    }
    const abort = new AbortController();
    const ask = () => get("cron", asked, abort.signal).then(
      (preview) => setTold({ preview, error: null }),
      (error) => error.name !== "AbortError" && setTold({ preview: null, error }),
    );
    const timer = setTimeout(ask, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [JSON.stringify(asked)]);

  const { preview, error } = told;
  return html`
    <div class="preview">
      <h2 class="words">${preview ? preview.description : "What it means"}</h2>
      ${error && html`<p class="warning" role="alert">${error.message}</p>`}
      ${!preview && !error && html`<p class="mute">Type an expression: its next ticks are shown here.</p>`}
      ${preview && html`<${Coming} ticks=${preview.ticks} zone=${preview.timezone} rows=${SHOWN} never=${preview.never} />`}
    </div>`;
}
