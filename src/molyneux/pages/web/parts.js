// Small pieces that several views share.
import { html } from "./vendor/htm-preact.js";

export function Failure({ children }) {
  return html`<p class="error" role="alert">${children}</p>`;
}

export function Loading({ what = "the run's files" }) {
  return html`<p class="loading" role="status">Reading ${what} …</p>`;
}

export function Scroll({ label, children }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>${children}</div>`;
}

// A row of numbers as bars of one length: [name, value, text, tone].
export function Bars({ rows }) {
  const largest = Math.max(...rows.map(([, value]) => value), 1e-9);
  return html`<div class="bars">
    ${rows.map(([name, value, text, tone]) => html`<div key=${name} class=${`bar ${tone}`}>
      <span class="bar-name">${name}</span>
      <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect width=${value > 0 ? Math.max(0.6, (100 * value) / largest) : 0} height="10" /></svg>
      <b>${text}</b>
    </div>`)}
  </div>`;
}

export function Choice({ legend, name, options, value, onChange }) {
  return html`<fieldset>
    <legend>${legend}</legend>
    ${options.map(([key, label, disabled]) => html`<label key=${key}>
      <input type="radio" name=${name} value=${key} checked=${key === value} disabled=${disabled}
        onChange=${() => onChange(key)} /><span>${label}</span>
    </label>`)}
  </fieldset>`;
}

// `kind`: numbers in columns; texts; or results, which may be either.
export function Table({ caption, columns, rows, kind = "" }) {
  return html`<${Scroll} label=${caption}>
    <table class=${`numbers ${kind}`.trim()}>
      <caption>${caption}</caption>
      <thead><tr>${columns.map((name, n) => html`<th key=${n} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${rows.map((row, n) => html`<tr key=${n}>
        ${row.map((cell, place) => (place ? html`<td key=${place}>${cell ?? "–"}</td>` : html`<th key=${place} scope="row">${cell ?? "–"}</th>`))}
      </tr>`)}</tbody>
    </table>
  </${Scroll}>`;
}

export function words(text) {
  return text.split(/[\s,;]+/).map((word) => word.trim()).filter(Boolean);
}
