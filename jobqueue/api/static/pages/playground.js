// Enqueue a job by hand and watch it.

import { html, useEffect, useState } from "../vendor/preact.js";
import { useJob } from "../base/job.js";
import { filter, href, route } from "../base/route.js";
import { useTasks } from "../base/tasks.js";
import { may } from "../base/session.js";
import { Field } from "../parts/field.js";
import { State } from "../parts/state.js";
import { Timeline } from "../parts/timeline.js";
import { Json, Trace } from "../parts/json.js";
import { Trouble } from "../parts/trouble.js";
import { Actions } from "./job_actions.js";
import { Missing } from "./job.js";
import { SubmitForm } from "./playground_form.js";

export function Playground() {
  const tasks = useTasks();
  const { type = "", job = "" } = route.value.query;
  const task = tasks.find((each) => each.name === type);
  return html`
    <header class="page-head"><h1>Playground</h1></header>
    <div class="halves">
      <section class="card form" aria-label="New job">
        <${TaskField} type=${type} tasks=${tasks} />
        ${type && html`<${SubmitForm} key=${type} type=${type} task=${task} onQueued=${(id) => filter({ job: id })} />`}
      </section>
      <section class="card" aria-label="The job" aria-live="polite" data-watched>
        ${job && may("jobs:read") ? html`<${Watched} key=${job} id=${job} />` : html`<p class="mute">A job that you enqueue here is shown here while it runs.</p>`}
      </section>
    </div>`;
}

function TaskField({ type, tasks }) {
  const [text, setText] = useState(type);
  useEffect(() => setText(type), [type]);
  const tell = (event) => filter({ type: event.target.value.trim(), job: "" });
  // What was typed before the names had come is known now.
  useEffect(() => { if (text !== type && tasks.some((task) => task.name === text)) filter({ type: text, job: "" }); }, [tasks]);
  const choose = (name) => { setText(name); filter({ type: name, job: "" }); };
  return html`<${Field} label="Task" hint=${hintOf(type, tasks)}>${(id) => html`
    <input id=${id} value=${text} list=${`${id}-tasks`} placeholder="its name" autocomplete="off" spellcheck=${false} data-search maxlength="64"
      onInput=${(event) => { setText(event.target.value); if (tasks.some((task) => task.name === event.target.value)) tell(event); }} onChange=${tell} />
    <datalist id=${`${id}-tasks`}>${tasks.map((task) => html`<option key=${task.name} value=${task.name} />`)}</datalist>`}<//>
    ${!type && tasks.length > 0 && html`<ul class="names" aria-label="Known tasks">${tasks.map((task) => html`<li key=${task.name}><button type="button" class="inline" onClick=${() => choose(task.name)}>${task.name}</button></li>`)}</ul>`}`;
}

function hintOf(type, tasks) {
  if (!tasks.length) return "The API was started without an app, so it knows no tasks: type any that a worker knows.";
  if (type && !tasks.some((task) => task.name === type)) return "The API does not know this task, so its payload is checked only when it runs. It waits for a worker that does, some 35 minutes.";
  return "One that the API knows, or any other that a worker knows.";
}

function Watched({ id }) {
  const { job, error, reload } = useJob(id);
  if (error?.status === 404) return html`<${Missing} id=${id} seen=${Boolean(job)} />`;
  const failed = job?.attempts.findLast((attempt) => attempt.traceback);
  return html`
    <${Trouble} error=${error} again=${reload} />
    <div class="card-head">
      <div class="titled"><h2>${job ? job.type : "…"}</h2>${job && html`<${State} of=${job.state} />`}</div>
      <div class="actions">${job && html`<${Actions} job=${job} reload=${reload} />`}</div>
    </div>
    <p><a href=${href(["jobs", id])}><code>${id}</code></a></p>
    ${job && html`
      <${Timeline} job=${job} />
      ${job.progress !== null && html`<${Json} title="Progress" value=${job.progress} />`}
      ${job.result !== null && html`<${Json} title="Result" value=${job.result} />`}
      ${job.last_error && html`<p class="failure"><strong>${job.last_error}</strong> ${job.error_message}</p>`}
      ${failed && html`<${Trace} text=${failed.traceback} />`}`}`;
}
