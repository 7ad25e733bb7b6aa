// A key, in exchange for a session.

import { html, useState } from "../vendor/preact.js";
import { signIn } from "../base/session.js";
import { Field } from "../parts/field.js";

export function SignIn() {
  const [key, setKey] = useState("");
  const [state, setState] = useState({ busy: false, error: null });
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    try {
      await signIn(key.trim());
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`
    <form class="card sign-in" onSubmit=${submit}>
      <h1>jobqueue</h1>
      <${Field} label="API key" hint=${html`Made by <code>jobqueue keys create</code>. It is sent once; the browser keeps a session cookie instead.`}>
        ${(id) => html`<input id=${id} type="password" required autofocus autocomplete="current-password" spellcheck=${false} maxlength="200" placeholder="jq_…" value=${key} onInput=${(event) => setKey(event.target.value)} />`}
      <//>
      <p class="warning" role="alert">${state.error?.message}</p>
      <button class="main" disabled=${state.busy}>Sign in</button>
    </form>`;
}
