// Navigation, and whether the numbers are live.

import { html, useEffect, useRef } from "../vendor/preact.js";
import { helpShown } from "../base/keyboard.js";
import { link, overview } from "../base/live.js";
import { count } from "../base/format.js";
import { href } from "../base/route.js";
import { may, session, signOut } from "../base/session.js";
import { theme, turn } from "../base/theme.js";
import { attempt } from "./toast.js";

const LINK = { connecting: ["mute", "connecting"], live: ["good", "live"], paused: ["mute", "paused"], lost: ["bad", "not up to date"] };
const THEME = { auto: "system", light: "light", dark: "dark" };

export function Side({ pages, at }) {
  const nav = useRef(null);
  // On a narrow screen the pages are a strip that scrolls.
  useEffect(() => nav.current.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [at]);
  return html`
    <header class="side">
      <a class="brand" href=${href("overview")}>jobqueue</a>
      <nav ref=${nav} aria-label="Pages">
        <ul>${pages.map((page) => html`<li key=${page.name}><a href=${href(page.name)} aria-current=${page.name === at ? "page" : undefined}>${page.title}<${Mark} of=${page.name} /></a></li>`)}</ul>
      </nav>
      <div class="foot">
        ${may("queues:read") && html`<p class=${`link ${LINK[link.value][0]}`} role="status">${LINK[link.value][1]}</p>`}
        <button type="button" class="quiet" onClick=${turn}><span class="roomy">Theme: </span>${THEME[theme.value]}</button>
        <button type="button" class="quiet keys-button" onClick=${() => (helpShown.value = true)}>Shortcuts <kbd>?</kbd></button>
        ${!session.value.open && html`<button type="button" class="quiet" onClick=${() => attempt(signOut)}>Sign out <span class="roomy mute">${session.value.key}</span></button>`}
        <p class="version mute">${session.value.version}</p>
      </div>
    </header>`;
}

function Mark({ of }) {
  const dead = overview.value?.dead;
  return of === "dead" && dead ? html` <span class="mark">${count(dead)}</span>` : null;
}
