// A form out of a task's JSON schema: plain kinds become controls, everything else is typed as JSON. Pure.

/** [{name, kind, required, initial, hint, options?}]; kinds: text, number, integer, boolean, choice, date, json. */
export function fieldsOf(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, property]) => field(name, property, required.has(name), schema));
}

/** [payload, {name: what is wrong}] of what was typed; a field left empty is left out. */
export function payloadOf(fields, typed) {
  const payload = {};
  const wrong = {};
  for (const { name, kind, required, options } of fields) {
    const text = typed[name] ?? "";
    if (text === "" && !(required && kind === "text")) {
      if (required) wrong[name] = "It must be given.";
      continue;
    }
    try {
      payload[name] = value(kind, text, options);
    } catch (error) {
      wrong[name] = error.message;
    }
  }
  return [payload, wrong];
}

function field(name, property, required, schema) {
  const { of, optional } = plain(property, schema);
  const kind = kindOf(of);
  const initial = property.default === undefined || property.default === null ? "" : shown(kind, property.default);
  const hint = [of.description ?? property.description, bounds(of), !required && optional ? "May be left empty." : ""].filter(Boolean).join(" ");
  return { name, kind, required, initial, hint, options: of.enum };
}

function kindOf({ type, enum: options, format }) {
  if (options) return "choice";
  if (type === "string") return format === "date" ? "date" : "text";
  return ["number", "integer", "boolean"].includes(type) ? type : "json";
}

// Follows one reference, and takes the null out of "this or null".
function plain(property, schema) {
  const named = property.$ref?.startsWith("#/$defs/") ? schema.$defs?.[property.$ref.slice(8)] : property;
  const choices = (named?.anyOf ?? []).filter((each) => each.type !== "null");
  if (named?.anyOf && choices.length === 1) return { of: plain(choices[0], schema).of, optional: true };
  return { of: named ?? {}, optional: false };
}

function bounds({ minimum, maximum, minLength, maxLength, format }) {
  const parts = [
    minimum !== undefined && `at least ${minimum}`, maximum !== undefined && `at most ${maximum}`,
    minLength > 0 && `${minLength} characters or more`, maxLength !== undefined && `${maxLength} characters or less`, format && format !== "date" && format,
  ].filter(Boolean);
  return parts.length ? `${parts.join(", ")}.` : "";
}

const shown = (kind, initial) => (kind === "json" || kind === "choice" ? JSON.stringify(initial) : String(initial));

function value(kind, text, options) {
  switch (kind) {
    case "number": return number(text);
    case "integer": return integer(text);
    case "boolean": return text === "true";
    case "choice": return options.find((option) => JSON.stringify(option) === text);
    case "json": return json(text);
    default: return text;
  }
}

function number(text) {
  const found = Number(text);
  if (!Number.isFinite(found)) throw new Error("It must be a number.");
  return found;
}

function integer(text) {
  const found = number(text);
  if (!Number.isSafeInteger(found)) throw new Error("It must be a whole number; write it as JSON where it is very large.");
  return found;
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('It must be JSON: ["a", "b"], {"a": 1}, "text".');
  }
}
