// Labelled controls of forms and filters.

import { html, useEffect, useId, useRef, useState } from "../vendor/preact.js";

const PAUSE_MS = 300;

export function Field({ label, hint, children }) {
  const id = useId();
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children(id)}
      ${hint && html`<p class="hint">${hint}</p>`}
    </div>`;
}

export function Select({ label, value, options, onChange, any, hint }) {
  return html`<${Field} label=${label} hint=${hint}>${(id) => html`
    <select id=${id} value=${value} onChange=${(event) => onChange(event.target.value)}>
      ${any && html`<option value="">${any}</option>`}
      ${options.map((option) => html`<option key=${option} value=${option} selected=${option === value}>${option}</option>`)}
    </select>`}<//>`;
}

/** Text that is told once typing pauses; *suggest* offers known values. */
export function Typed({ label, value = "", onChange, suggest = [], search = false, placeholder = "" }) {
  const [text, setText] = useState(value);
  const timer = useRef(0);
  const list = useId();
  useEffect(() => setText(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const tell = (now) => {
    clearTimeout(timer.current);
    if (now.trim() !== value) onChange(now.trim());
  };
  const typed = (event) => {
    const now = event.target.value;
    setText(now);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => tell(now), PAUSE_MS);
  };
  return html`<${Field} label=${label}>${(id) => html`
    <input id=${id} type=${search ? "search" : "text"} value=${text} placeholder=${placeholder} autocomplete="off" spellcheck=${false}
      data-search=${search || undefined} list=${suggest.length ? list : undefined}
      onInput=${typed} onChange=${() => tell(text)} onKeyDown=${(event) => event.key === "Enter" && tell(text)} />
    ${suggest.length > 0 && html`<datalist id=${list}>${suggest.map((each) => html`<option key=${each} value=${each} />`)}</datalist>`}`}<//>`;
}
