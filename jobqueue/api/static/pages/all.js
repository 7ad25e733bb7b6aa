// The pages, in the order of the navigation, each with the scope that it needs.

import { Audit } from "./audit.js";
import { Dead } from "./dead.js";
import { JobPage } from "./job.js";
import { Jobs } from "./jobs.js";
import { Keys } from "./keys.js";
import { Overview } from "./overview.js";
import { Playground } from "./playground.js";
import { Queues } from "./queues.js";
import { Schedules } from "./schedules.js";
import { Workers } from "./workers.js";
import { html } from "../vendor/preact.js";

const JobsOrOne = ({ rest }) => (rest.length ? html`<${JobPage} key=${rest[0]} id=${rest[0]} />` : html`<${Jobs} />`);

export const PAGES = [
  { name: "overview", title: "Overview", scope: "queues:read", view: Overview },
  { name: "jobs", title: "Jobs", scope: "jobs:read", view: JobsOrOne },
  { name: "queues", title: "Queues", scope: "queues:read", view: Queues },
  { name: "dead", title: "Dead letters", scope: "dlq:read", view: Dead },
  { name: "schedules", title: "Schedules", scope: "schedules:read", view: Schedules },
  { name: "workers", title: "Workers", scope: "workers:read", view: Workers },
  { name: "playground", title: "Playground", scope: "jobs:enqueue", view: Playground },
  { name: "keys", title: "Keys", scope: "keys:admin", view: Keys },
  { name: "audit", title: "Audit", scope: "audit:read", view: Audit },
];
