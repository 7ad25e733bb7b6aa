// The frame around the pages.

import { html, render, useEffect } from "./vendor/preact.js";
import { refused } from "./base/api.js";
import { watchKeys } from "./base/keyboard.js";
import { listen, overview } from "./base/live.js";
import { concerns } from "./base/health.js";
import { href, route } from "./base/route.js";
import { load, may, session, signedOut } from "./base/session.js";
import { Banner } from "./parts/banner.js";
import { Help } from "./parts/help.js";
import { Side } from "./parts/side.js";
import { Toasts } from "./parts/toast.js";
import { PAGES } from "./pages/all.js";
import { SignIn } from "./pages/signin.js";

const AGAIN_MS = 2_000;

function App() {
  useEffect(() => keepTrying(load), [refused.value]);
  if (!session.value) return html`<main class="alone"><${Banner} /><p class="mute" role="status">Loading…</p></main>`;
  if (signedOut()) return html`<main class="alone"><${Banner} /><${SignIn} /></main>`;
  return html`<${Frame} />`;
}

function Frame() {
  const [name, ...rest] = route.value.parts;
  const shown = PAGES.filter((page) => may(page.scope));
  const page = PAGES.find((each) => each.name === name);
  useEffect(() => (may("queues:read") ? listen() : undefined), [session.value]);
  useEffect(() => {
    document.querySelector("main")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [route.value.parts.join("/")]);
  useEffect(() => {
    const marks = overview.value && concerns(overview.value).some((each) => each.level === "bad") ? "(!) " : "";
    document.title = `${marks}${page?.title ?? "Not found"} · jobqueue`;
  }, [page, overview.value]);
  return html`
    <a class="skip" href="#main" onClick=${skip}>To the content</a>
    <${Side} pages=${shown} at=${name} />
    <main id="main" tabindex="-1">
      <${Banner} />
      ${content(page, rest, shown)}
    </main>
    <${Toasts} />
    <${Help} />`;
}

function content(page, rest, shown) {
  if (!page) return html`<h1>Not found</h1><p>There is no such page. <a href=${href("overview")}>To the overview</a></p>`;
  if (may(page.scope)) return html`<${page.view} key=${page.name} rest=${rest} />`;
  const others = shown.map((each) => html`<li key=${each.name}><a href=${href(each.name)}>${each.title}</a></li>`);
  return html`<h1>${page.title}</h1><p>Your key does not have the scope <code>${page.scope}</code>.</p>${others.length > 0 && html`<ul>${others}</ul>`}`;
}

function skip(event) {
  event.preventDefault();
  document.querySelector("main").focus();
}

// The session is asked for until the API answers; the banner tells meanwhile that it does not.
function keepTrying(action) {
  let timer = 0;
  const once = () => action().catch(() => (timer = setTimeout(once, AGAIN_MS)));
  once();
  return () => clearTimeout(timer);
}

watchKeys();
render(html`<${App} />`, document.getElementById("app"));
