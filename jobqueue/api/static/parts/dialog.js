// A modal dialog: the browser's own, which keeps the focus inside and closes on Escape.

import { html, useEffect, useId, useRef } from "../vendor/preact.js";

export function Dialog({ title, onClose, children, wide = false }) {
  const element = useRef(null);
  const heading = useId();
  useEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    return () => before?.isConnected && before.focus();
  }, []);
  const outside = (event) => event.target === element.current && onClose();
  return html`
    <dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby=${heading} onClose=${onClose} onMouseDown=${outside}>
      <div class="dialog">
        <h2 id=${heading}>${title}</h2>
        ${children}
      </div>
    </dialog>`;
}

/** The last line of a dialog: leave, or go on. */
export function Choice({ onClose, children, leave = "Close" }) {
  return html`<div class="choice"><button type="button" onClick=${onClose}>${leave}</button>${children}</div>`;
}
