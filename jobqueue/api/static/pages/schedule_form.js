// Making and changing a schedule; beside it, what the expression means, while it is typed.

import { html, useState } from "../vendor/preact.js";
import { get, path, post, put, reasons } from "../base/api.js";
import { queueNames } from "../base/live.js";
import { useLoad } from "../base/load.js";
import { go, href } from "../base/route.js";
import { useTasks } from "../base/tasks.js";
import { zones } from "../base/tick.js";
import { Field, Select } from "../parts/field.js";
import { say } from "../parts/toast.js";
import { Trouble } from "../parts/trouble.js";
import { parsed } from "./job_actions.js";
import { SchedulePreview } from "./schedule_preview.js";

const MISFIRES = { once: "The newest of them fires for all.", all: "Each of them fires, up to the most.", skip: "None of them fires." };
const OVERLAPS = { allow: "A tick fires all the same.", skip: "A tick is skipped.", queue: "A tick waits for it to end." };
const PRIORITIES = ["critical", "high", "medium", "low"];
const EMPTY = { expression: "", timezone: "UTC", seconds: false, misfire: "once", overlap: "allow", type: "", payload: {}, queue: "", priority: "" };
const MORE = [
  { name: "grace", label: "Missed after", hint: "1m: so late, and nobody had decided the tick." },
  { name: "max_catchup", label: "Made up for at most", hint: "1 to 1000 ticks; 100 if left empty.", whole: true },
  { name: "jitter", label: "Jitter", hint: "Due up to so much after the tick: 30s" },
  { name: "max_retries", label: "Max retries", hint: "0 to 1000; else the task's.", whole: true },
  { name: "timeout", label: "Timeout", hint: "5m; else the task's." },
  { name: "expires", label: "Expires", hint: "Dropped when it has not started by then." },
  { name: "result_ttl", label: "Keep the result for", hint: "1h" },
];
const LABELS = {
  name: "Name",
  expression: "Expression",
  timezone: "Time zone",
  type: "Task",
  payload: "Payload, JSON",
  queue: "Queue",
  ...Object.fromEntries(MORE.map(({ name, label }) => [name, label])),
};

/** With a *name*, the schedule of it is changed; else one is made. */
export function ScheduleForm({ name }) {
  const { data, error, reload } = useLoad((abort) => (name ? get(path("schedules", name), {}, abort) : Promise.resolve(null)), [name]);
  const before = name ? href(["schedules", name]) : href("schedules");
  const locked = data && !data.can.includes("change");
  return html`
    <p class="trail"><a href=${before}>${name ?? "Schedules"}</a></p>
    <header class="page-head"><h1>${name ? `Edit ${name}` : "New schedule"}</h1></header>
    <${Trouble} error=${error} again=${reload} />
    ${locked && html`<p class="notice">It cannot be changed here: it is defined in code, or your key may not.</p>`}
    ${(name ? data && !locked : true) && html`<${Form} name=${name} initial=${data ? data.definition : EMPTY} before=${before} />`}`;
}

function Form({ name, initial, before }) {
  const [chosen, setChosen] = useState(name ?? "");
  const [fields, setFields] = useState({ ...initial, payload: JSON.stringify(initial.payload, null, 2) });
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const set = (field) => (value) => setFields((old) => ({ ...old, [field]: value }));

  const submit = async (event) => {
    event.preventDefault();
    const [payload, fault] = parsed(fields.payload);
    setWrong(fault);
    if (fault) return;
    setBusy(true);
    try {
      const body = { ...given(fields), payload };
      const made = await (name ? put(path("schedules", name), body) : post("schedules", { name: chosen.trim(), ...body }));
      say(name ? `${name} is changed, from its next tick on.` : `${made.name} is made.`);
      go(["schedules", made.name]);
    } catch (error) {
      setWrong(reasons(error, LABELS));
      setBusy(false);
    }
  };
  return html`
    <div class="halves">
      <form class="card form" aria-label="Schedule" onSubmit=${submit}>
        ${!name && html`<${Text} label="Name" value=${chosen} onValue=${setChosen} required=${true} maxlength="64" placeholder="digest" />`}
        <${When} fields=${fields} set=${set} />
        <${What} fields=${fields} set=${set} />
        <${More} fields=${fields} set=${set} />
        <p class="warning" role="alert">${wrong}</p>
        <div class="choice"><a class="button" href=${before}>Leave</a><button class="main" disabled=${busy}>${name ? "Change it" : "Make it"}</button></div>
      </form>
      <section class="card" aria-label="What it means" aria-live="polite"><${SchedulePreview} expression=${fields.expression} timezone=${fields.timezone} seconds=${fields.seconds} /></section>
    </div>`;
}

const When = ({ fields, set }) => html`
  <${Text} label="Expression" value=${fields.expression} onValue=${set("expression")} required=${true} maxlength="100" placeholder="0 9 * * mon-fri"
    hint=${fields.seconds ? "second minute hour day month weekday" : "minute hour day month weekday, or @hourly, @daily, …"} />
  <${Text} label="Time zone" value=${fields.timezone} onValue=${set("timezone")} required=${true} maxlength="64" suggest=${zones()} hint="The expression is about the wall clock there." />
  <label class="check"><input type="checkbox" checked=${fields.seconds} onChange=${(event) => set("seconds")(event.target.checked)} /> With seconds: six fields</label>`;

function What({ fields, set }) {
  const tasks = useTasks();
  const task = tasks.find((each) => each.name === fields.type);
  const takes = task && Object.keys(task.parameters.properties ?? {}).join(", ");
  return html`
    <${Text} label="Task" value=${fields.type} onValue=${set("type")} required=${true} maxlength="64" placeholder="its name" suggest=${tasks.map((each) => each.name)} />
    <${Field} label="Payload, JSON" hint=${`${takes ? `It takes: ${takes}. ` : ""}A field that stands as *** is masked; left so, it keeps its value.`}>
      ${(id) => html`<textarea id=${id} rows="4" spellcheck=${false} value=${fields.payload} onInput=${(event) => set("payload")(event.target.value)}></textarea>`}
    <//>
    <div class="pairs">
      <${Text} label="Queue" value=${fields.queue} onValue=${set("queue")} maxlength="64" suggest=${queueNames.value} hint="Else that of the task." />
      <${Select} label="Priority" value=${fields.priority} any="the task's" options=${PRIORITIES} onChange=${set("priority")} />
      <${Select} label="Missed ticks" value=${fields.misfire} options=${Object.keys(MISFIRES)} hint=${MISFIRES[fields.misfire]} onChange=${set("misfire")} />
      <${Select} label="While the job before runs" value=${fields.overlap} options=${Object.keys(OVERLAPS)} hint=${OVERLAPS[fields.overlap]} onChange=${set("overlap")} />
    </div>`;
}

const More = ({ fields, set }) => html`
  <details class="fold">
    <summary>Options</summary>
    <div class="pairs">${MORE.map(({ name, label, hint }) => html`<${Text} key=${name} label=${label} hint=${hint} value=${String(fields[name] ?? "")} onValue=${set(name)} />`)}</div>
  </details>`;

function given(fields) {
  const whole = new Set(MORE.filter((each) => each.whole).map((each) => each.name));
  const entries = Object.entries(fields).map(([name, value]) => [name, typeof value === "string" ? value.trim() : value]);
  const left = entries.filter(([, value]) => value !== "" && value !== null);
  return Object.fromEntries(left.map(([name, value]) => [name, whole.has(name) && /^\d+$/.test(value) ? Number(value) : value]));
}

const Text = ({ label, value, onValue, hint, suggest = [], ...rest }) => html`
  <${Field} label=${label} hint=${hint}>${(id) => html`
    <input id=${id} value=${value} autocomplete="off" spellcheck=${false} list=${suggest.length ? `${id}-list` : undefined} onInput=${(event) => onValue(event.target.value)} ...${rest} />
    ${suggest.length > 0 && html`<datalist id=${`${id}-list`}>${suggest.map((each) => html`<option key=${each} value=${each} />`)}</datalist>`}`}<//>`;
