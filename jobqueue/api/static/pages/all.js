// The pages, in the order of the navigation, each with the scope that it needs.

import { Jobs } from "./jobs.js";
import { Overview } from "./overview.js";

export const PAGES = [
  { name: "overview", title: "Overview", scope: "queues:read", view: Overview },
  { name: "jobs", title: "Jobs", scope: "jobs:read", view: Jobs },
];
