// Requests to the API. Addresses are relative to the page, so that the dashboard works under any prefix.

import { signal } from "../vendor/preact.js";

const PREFIX = "api/v1/";

/** What cannot be reached now: "api", "redis" or "postgres". The banner shows it; the next good answer clears it. */
export const down = signal({ api: false, redis: false, postgres: false });

/** Counts answers that said: sign in first. */
export const refused = signal(0);

/** An answer of RFC 9457, or the lack of any answer (`unreachable`). */
export class Problem extends Error {
  constructor({ slug, status = 0, detail, title, errors = null, job_id = null }) {
    super(detail || title || "The API did not say why.");
    Object.assign(this, { slug, status, title: title || "Error", errors, jobId: job_id });
  }
}

/** Why it was refused, a line each; *labels* are what the form calls the fields. */
export function reasons(error, labels = {}) {
  if (!error.errors?.length) return error.message;
  return error.errors.map(({ loc, msg }) => line([loc].flat().slice(1), msg, labels)).join("\n");
}

const line = ([first, ...rest], msg, labels) => (first === undefined ? msg : `${[labels[first] ?? first, ...rest].join(".")}: ${msg}`);

/** Ask the API; the parsed answer, or null where there is none. Throws `Problem`. */
export async function ask(method, path, { query, body, headers = {}, signal: abort } = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, signal: abort, credentials: "same-origin" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const response = await send(PREFIX + path + search(query), options);
  if (!response.ok) throw await problem(response);
  reached("api");
  return response.status === 204 ? null : response.json();
}

export const get = (path, query, abort) => ask("GET", path, { query, signal: abort });
export const post = (path, body = {}, headers = undefined) => ask("POST", path, { body, headers });
export const put = (path, body) => ask("PUT", path, { body });
export const remove = (path) => ask("DELETE", path);

/** A path of parts that may hold any character. */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

export function lost(what) {
  if (!down.value[what]) down.value = { ...down.value, [what]: true };
}

export function reached(what) {
  if (down.value[what]) down.value = { ...down.value, [what]: false };
}

async function send(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost("api");
    throw new Problem({ slug: "unreachable", title: "No answer", detail: "The API cannot be reached." });
  }
}

async function problem(response) {
  const told = await response.json().catch(() => ({}));
  const slug = String(told.type || "").split("/").pop() || `http-${response.status}`;
  if (slug === "broker-unavailable") lost("redis");
  if (slug === "repository-unavailable") lost("postgres");
  if (response.status === 401) refused.value += 1;
  return new Problem({ ...told, slug, status: response.status });
}

function search(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
