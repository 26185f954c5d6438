import { html, useState } from "./vendor/htm-preact.js";
import { useData } from "./data.js";
import { Failure, Loading } from "./parts.js";
import { known } from "./text.js";

function Value({ value }) {
  if (!known(value)) return "–";
  if (Array.isArray(value)) {
    if (!value.some((one) => one !== null && typeof one === "object")) return value.map((one) => String(one ?? "–")).join(", ");
    return value.map((one, n) => html`<${Value} key=${n} value=${one} />`);
  }
  if (typeof value !== "object") return String(value);
  return html`<dl class="rows record">${Object.entries(value).map(([name, inner]) => html`<div key=${name}><dt>${name}</dt><dd><${Value} value=${inner} /></dd></div>`)}</dl>`;
}

// How a run was made, and of what file a photo is: read when it is opened.
export function Record({ run, image = null }) {
  const [open, setOpen] = useState(false);
  const { value, error } = useData(open ? `record/${run}` : null);
  const facts = value && {
    made: `${value.made ?? "–"}${value.version ? `, molyneux ${value.version}` : ""}`,
    command: value.command && html`<code>molyneux ${value.command}</code>`,
    "reference photos": value.reference ?? "none: no specific ranking, no other photo's units",
    ...(image && { file: image.path, sha256: image.sha256 }),
  };
  return html`<details class="where-from" onToggle=${(event) => setOpen(event.target.open)}><summary>Where this comes from</summary>
    ${error ? html`<${Failure}>${error}</${Failure}>` : open && !value ? html`<${Loading} />` : value && html`
      <dl class="rows record">${Object.entries(facts).map(([name, said]) => html`<div key=${name}><dt>${name}</dt><dd>${said ?? "–"}</dd></div>`)}</dl>
      <${Value} value=${value.parts} />`}
  </details>`;
}
