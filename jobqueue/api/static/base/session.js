// Who the caller is, and what may be shown.

import { signal } from "../vendor/preact.js";
import { ask, get, post } from "./api.js";

/** The API's `Session`; null until it has told. */
export const session = signal(null);

export const may = (scope) => Boolean(session.value?.scopes.includes(scope));

export const signedOut = () => session.value !== null && !session.value.open && !session.value.signed_in;

export async function load() {
  session.value = await get("session");
}

export async function signIn(key) {
  session.value = await post("session", { key });
}

export async function signOut() {
  await ask("DELETE", "session");
  await load();
}
