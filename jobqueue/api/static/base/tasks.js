// The tasks that the API process knows; asked for once.

import { signal, useEffect } from "../vendor/preact.js";
import { get } from "./api.js";
import { may } from "./session.js";

const tasks = signal([]);
let asked = false;

/** [{name, queue, priority, parameters}]; empty until known, and when the API was started without an app. */
export function useTasks() {
  useEffect(() => {
    if (asked || !may("jobs:read")) return;
    asked = true;
    get("tasks").then(({ items }) => (tasks.value = items), () => (asked = false));
  }, []);
  return tasks.value;
}
