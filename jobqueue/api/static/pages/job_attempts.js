// Every attempt that the history knows, with its traceback.

import { html } from "../vendor/preact.js";
import { get, path } from "../base/api.js";
import { useLoad } from "../base/load.js";
import { instant, span } from "../base/format.js";
import { may } from "../base/session.js";
import { Trace } from "../parts/json.js";
import { State } from "../parts/state.js";

export function Attempts({ job }) {
  if (!job.attempts.length) return job.state === "dead" && may("dlq:read") ? html`<${FromLetter} id=${job.id} />` : null;
  const newest = [...job.attempts].reverse();
  return html`
    <section class="card" aria-labelledby="attempts">
      <h2 id="attempts">Attempts</h2>
      <ol class="attempts">${newest.map((attempt, i) => html`<${Attempt} key=${`${attempt.generation}-${attempt.attempt}-${attempt.outcome}`} of=${attempt} open=${i === 0} />`)}</ol>
    </section>`;
}

const Attempt = ({ of, open }) => html`
  <li>
    <p class="attempt-head"><strong>${of.attempt ? `Attempt ${of.attempt}` : "Ended without a run"}</strong> <${State} of=${of.outcome} />
      ${of.generation > 0 && html`<span class="tag">requeued ${of.generation}×</span>`}
      <span class="mute">${instant(of.started_at ?? of.finished_at)}${of.attempt ? `, ran ${span(of.duration_ms)}, on ${of.worker || "an unknown worker"}` : ""}</span></p>
    ${of.error_class && html`<p class="failure"><strong>${of.error_class}</strong> ${of.error_message}</p>`}
    ${of.traceback && html`<${Trace} text=${of.traceback} open=${open} />`}
  </li>`;

// Without history, the dead letter has the last traceback.
function FromLetter({ id }) {
  const { data } = useLoad((abort) => get(path("dlq", id), {}, abort), [id]);
  if (!data?.traceback) return null;
  return html`<section class="card" aria-label="Last attempt"><${Trace} text=${data.traceback} title="Traceback of the last attempt" open=${true} /></section>`;
}
