// An action on everything that a filter finds: counted first by a dry run, then done in steps, with progress.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { count, plural } from "../base/format.js";
import { post } from "../base/api.js";
import { Choice, Dialog } from "./dialog.js";

const STEP = 200;
const MOST_STEPS = 10_000;

/**
 * *path* is posted {filter, limit, dry_run} until nothing remains. *verb* "Retry", *noun* "dead letter";
 * *says* describes the filter; *warning* what cannot be undone.
 */
export function Bulk({ path, filter, verb, noun, says, warning, danger = false, onClose }) {
  const [run, setRun] = useState({ phase: "counting" });
  const stopped = useRef(false);
  const close = () => {
    stopped.current = true;
    onClose(run.phase === "done" || run.phase === "doing");
  };

  useEffect(() => {
    post(path, { filter, limit: STEP, dry_run: true })
      .then((found) => setRun({ phase: "asking", found }))
      .catch((error) => setRun({ phase: "failed", error, done: 0, failed: {} }));
    return () => {
      stopped.current = true;
    };
  }, []);

  const begin = () => work({ path, filter, found: run.found, stopped, setRun });
  return html`
    <${Dialog} title=${`${verb} ${noun}s`} onClose=${close}>
      <p class="mute">${says}</p>
      <div class="bulk" aria-live="polite"><${Phase} run=${run} verb=${verb} noun=${noun} warning=${warning} /></div>
      <${Choice} onClose=${close} leave=${run.phase === "doing" ? "Stop" : run.phase === "asking" ? "Leave" : "Close"}>
        ${run.phase === "asking" && run.found.matched > 0 && html`
          <button type="button" class=${danger ? "danger" : "main"} onClick=${begin}>${verb} ${many(run.found)}</button>`}
      <//>
    <//>`;
}

async function work({ path, filter, found, stopped, setRun }) {
  let done = 0;
  let failed = {};
  let total = found.matched;
  setRun({ phase: "doing", found, done, failed, total });
  try {
    for (let step = 0; step < MOST_STEPS && !stopped.current; step += 1) {
      const told = await post(path, { filter, limit: STEP });
      done += told.done;
      failed = { ...failed, ...told.failed };
      total = Math.max(total, done + told.remaining);
      const moved = told.done > 0;
      setRun({ phase: "doing", found, done, failed, total });
      if (told.remaining === 0 || !moved) break;
    }
    setRun({ phase: "done", done, failed, total });
  } catch (error) {
    setRun({ phase: "failed", error, done, failed, total });
  }
}

function Phase({ run, verb, noun, warning }) {
  const { phase, found, done, total, error } = run;
  if (phase === "counting") return html`<p>Counting…</p>`;
  if (phase === "asking") {
    if (!found.matched) return html`<p>Nothing matches; there is nothing to do.</p>`;
    return html`<p><strong>${many(found)} ${found.matched === 1 ? noun : `${noun}s`}</strong> ${found.matched === 1 && !found.more_than ? "matches" : "match"}.</p>
      ${warning && html`<p class="warning">${warning}</p>`}`;
  }
  return html`
    <progress max=${Math.max(total ?? 0, 1)} value=${done} aria-label=${`${verb} ${noun}s`}></progress>
    <p>${count(done)} of ${count(total ?? done)} ${phase === "done" ? "done" : phase === "doing" ? "…" : ""}</p>
    ${error && html`<p class="warning" role="alert">Stopped: ${error.message}</p>`}
    <${Failures} failed=${run.failed} />`;
}

function Failures({ failed }) {
  const all = Object.entries(failed);
  if (!all.length) return null;
  return html`
    <details class="fold" open>
      <summary>${plural(all.length, "was", "were")} left as they are</summary>
      <ul class="failures">${all.slice(0, 50).map(([id, why]) => html`<li key=${id}><code>${id}</code> ${why}</li>`)}</ul>
    </details>`;
}

const many = ({ matched, more_than: more }) => (more ? `more than ${count(matched)}` : count(matched));
