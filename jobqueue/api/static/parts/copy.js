// A button that copies text.

import { html, useState } from "../vendor/preact.js";
import { say } from "./toast.js";

export function Copy({ text, what = "text" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 1_500);
    } catch {
      say("The browser did not allow copying here; select the text and copy it.", "bad");
    }
  };
  return html`<button type="button" class="quiet copy" onClick=${copy} aria-label=${`Copy ${what}`}>${done ? "Copied" : "Copy"}</button>`;
}
