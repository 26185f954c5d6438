import { html } from "./vendor/htm-preact.js";

function said({ state, place, note, fraction, error }) {
  if (state === "waiting") return place > 0 ? `Waiting: ${place} ahead` : "Waiting for its turn";
  if (state === "running") {
    const part = fraction ? ` · ${Math.round(100 * fraction)} %` : "";
    return `${note || "Computing"}${part}`;
  }
  if (state === "cancelled") return "Cancelled";
  if (state === "failed") return error;
  return "";
}

// Where a computation stands: its place in the queue, what it does, and a button that ends it.
export function JobLine({ job }) {
  return html`<div class=${`job ${job.state}`} role="status">
    ${job.busy && html`<span class="pulse" aria-hidden="true"></span>`}
    <span>${said(job)}</span>
    ${job.busy && html`<button type="button" class="pill" onClick=${job.stop}>Cancel</button>`}
  </div>`;
}
