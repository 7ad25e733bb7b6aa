// The form of a new job: fields from the task's schema, or its payload as JSON; and the options of a job.

import { html, useMemo, useState } from "../vendor/preact.js";
import { post, reasons } from "../base/api.js";
import { queueNames } from "../base/live.js";
import { fieldsOf, payloadOf } from "../base/schema.js";
import { Field } from "../parts/field.js";
import { say } from "../parts/toast.js";
import { parsed } from "./job_actions.js";

const OPTIONS = [
  { name: "queue", hint: "Else that of the task." }, { name: "priority", hint: "critical, high, medium, low or 0 to 9" },
  { name: "delay", hint: "30s, 1h30m" }, { name: "timeout", hint: "5m" }, { name: "max_retries", hint: "0 to 1000", whole: true },
  { name: "expires", hint: "Dropped when it has not started by then." }, { name: "unique_key", hint: "Only one such job waits at a time." },
  { name: "result_ttl", hint: "Keep the result for so long." },
];

export function SubmitForm({ type, task, onQueued }) {
  const fields = useMemo(() => (task ? fieldsOf(task.parameters) : []), [task]);
  const [asJson, setAsJson] = useState(false);
  const [typed, setTyped] = useState({});
  const [text, setText] = useState("{}");
  const [options, setOptions] = useState({});
  const [wrong, setWrong] = useState({});
  const [busy, setBusy] = useState(false);
  const raw = asJson || !fields.length;
  const values = { ...Object.fromEntries(fields.map((field) => [field.name, field.initial])), ...typed };

  const submit = async (event) => {
    event.preventDefault();
    const [payload, faults] = raw ? ofText(text) : payloadOf(fields, values);
    setWrong(faults);
    if (Object.keys(faults).length) return;
    setBusy(true);
    try {
      const { idempotency_key: key, ...rest } = given(options);
      const job = await post("jobs", { type, payload, ...rest }, key ? { "Idempotency-Key": key } : {});
      say("Enqueued.");
      onQueued(job.id);
      document.querySelector("[data-watched]").scrollIntoView({ block: "nearest" });
    } catch (error) {
      setWrong({ "": reasons(error) });
    }
    setBusy(false);
  };
  const toText = () => {
    setText(JSON.stringify(payloadOf(fields, values)[0], null, 2));
    setAsJson(true);
  };
  return html`
    <form class="form" onSubmit=${submit}>
      ${raw
        ? html`<${JsonField} text=${text} onText=${setText} wrong=${wrong.payload} />`
        : fields.map((field) => html`<${Control} key=${field.name} field=${field} value=${values[field.name]} wrong=${wrong[field.name]} onValue=${(now) => setTyped((old) => ({ ...old, [field.name]: now }))} />`)}
      ${fields.length > 0 && html`<p><button type="button" class="inline" onClick=${raw ? () => setAsJson(false) : toText}>${raw ? "As a form" : "As JSON"}</button></p>`}
      <${Options} options=${options} onOption=${(name, now) => setOptions((old) => ({ ...old, [name]: now }))} />
      <p class="warning" role="alert">${wrong[""]}</p>
      <p><button class="main" disabled=${busy}>Enqueue</button></p>
    </form>`;
}

function ofText(text) {
  const [payload, fault] = parsed(text);
  return [payload, fault ? { payload: fault } : {}];
}

function given(options) {
  const entries = Object.entries(options).filter(([, text]) => text.trim() !== "");
  return Object.fromEntries(entries.map(([name, text]) => [name, name === "max_retries" || (name === "priority" && /^\d$/.test(text)) ? Number(text) : text.trim()]));
}

const JsonField = ({ text, onText, wrong }) => html`
  <${Field} label="Payload, JSON">${(id) => html`
    <textarea id=${id} rows="8" spellcheck=${false} aria-invalid=${String(Boolean(wrong))} value=${text} onInput=${(event) => onText(event.target.value)}></textarea>
    <p class="warning" role="alert">${wrong}</p>`}<//>`;

function Control({ field, value, wrong, onValue }) {
  const { name, kind, required, hint, options } = field;
  const tell = (event) => onValue(event.target.value);
  const pick = (all) => (id) => html`<select id=${id} value=${value} onChange=${tell}>
    ${(!required || value === "") && html`<option value="" selected=${value === ""}>–</option>`}${all.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}</select>`;
  const controls = {
    boolean: pick([["true", "true"], ["false", "false"]]),
    choice: pick((options ?? []).map((option) => [JSON.stringify(option), String(option)])),
    json: (id) => html`<textarea id=${id} rows="3" spellcheck=${false} value=${value} onInput=${tell}></textarea>`,
    date: (id) => html`<input id=${id} type="date" value=${value} onInput=${tell} />`,
  };
  const plain = (id) => html`<input id=${id} inputmode=${kind === "text" ? "text" : "decimal"} autocomplete="off" value=${value} aria-invalid=${String(Boolean(wrong))} onInput=${tell} />`;
  return html`
    <div>
      <${Field} label=${`${name}${required ? "" : " (optional)"}`} hint=${hint}>${controls[kind] ?? plain}<//>
      ${wrong && html`<p class="warning" role="alert">${wrong}</p>`}
    </div>`;
}

const Options = ({ options, onOption }) => html`
  <details class="fold">
    <summary>Options</summary>
    <div class="pairs">
      ${[...OPTIONS, { name: "idempotency_key", hint: "The same key and job again: the first answer again." }].map(({ name, hint }) => html`
        <${Field} key=${name} label=${name.replace("_", " ")} hint=${hint}>${(id) => html`
          <input id=${id} autocomplete="off" spellcheck=${false} value=${options[name] ?? ""} list=${name === "queue" ? `${id}-list` : undefined} onInput=${(event) => onOption(name, event.target.value)} />
          ${name === "queue" && html`<datalist id=${`${id}-list`}>${queueNames.value.map((each) => html`<option key=${each} value=${each} />`)}</datalist>`}`}<//>`)}
    </div>
  </details>`;
