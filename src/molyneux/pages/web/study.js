import { html, useEffect } from "./vendor/htm-preact.js";
import { address } from "./address.js";
import { alone, useData } from "./data.js";
import { Figure } from "./figure.js";
import { Failure, Loading, Scroll, Table } from "./parts.js";
import { Record } from "./record.js";
import { count, known } from "./text.js";

const place = (experiment) => `result-${experiment}`;

function tone(verdict) {
  const text = String(verdict ?? "").toLowerCase();
  if (/^(holds|yes|confirmed|agrees)/.test(text)) return "holds";
  return /^(does not|fails|falls|no\b|not |refuted|differs)/.test(text) ? "fails" : "open";
}

// A number with its interval and the photos behind it; a text as it is.
export function Cell({ cell }) {
  if (!known(cell)) return "–";
  if (typeof cell !== "object") return String(cell);
  if (!known(cell.value)) return html`<span class="hint">${cell.why ?? "–"}</span>`;
  return html`${cell.value}${known(cell.low) && known(cell.high) && html` <span class="interval">[${cell.low}, ${cell.high}]</span>`}
    ${known(cell.n) && html` <span class="interval">n = ${cell.n}${cell.few ? ", few" : ""}</span>`}`;
}

function VerdictRows({ rows, label, to = null }) {
  return html`<${Scroll} label=${label}><table class="claims-table">
    <thead><tr>${to && html`<th scope="col"><span class="visually-hidden">experiment</span></th>`}
      <th scope="col">claim</th><th scope="col">here</th><th scope="col">control</th><th scope="col">paper</th><th scope="col">verdict</th></tr></thead>
    <tbody>${rows.map((one, n) => html`<tr key=${n}>
      ${to && html`<td class="of-result"><a href=${to(one.experiment)}>${one.experiment}</a></td>`}
      <th scope="row">${one.claim}</th><td data-label="here"><${Cell} cell=${one.here} /></td><td data-label="control"><${Cell} cell=${one.control} /></td>
      <td data-label="paper">${one.paper ?? "–"}</td><td data-label="verdict"><span class=${`verdict-mark ${tone(one.verdict)}`}>${one.verdict ?? "–"}</span></td>
    </tr>`)}</tbody>
  </table></${Scroll}>`;
}

// What a study found: each claim beside its control and the paper, the first thing one reads.
export function Verdicts({ run, claims, title = "What the study found", said = [] }) {
  if (!claims?.length) return null;
  return html`<section class="verdicts" aria-labelledby="verdicts">
    <h2 id="verdicts">${title}</h2>
    <${VerdictRows} rows=${claims} label="Claims, controls and verdicts" to=${run.results ? (experiment) => address(`${run.id}/study`, { at: experiment }) : null} />
    <${Notes} notes=${said} />
  </section>`;
}

function Notes({ notes }) {
  return notes.length > 0 && html`<ul class="notes">${notes.map((note, n) => html`<li key=${n}>${note}</li>`)}</ul>`;
}

function Result({ result }) {
  return html`<section class="part result-of" id=${place(result.experiment)} tabindex="-1" aria-label=${`${result.experiment} ${result.title}`}>
    <h2><span class="key">${result.experiment}</span> ${result.title}</h2>
    <${Notes} notes=${result.notes} />
    ${result.verdicts.length > 0 && html`<${VerdictRows} rows=${result.verdicts} label=${`What ${result.experiment} found`} />`}
    ${result.figures.length > 0 && html`<div class="figures">${result.figures.map((figure) => html`<${Figure} key=${figure.name} figure=${figure} />`)}</div>`}
    ${result.tables.map((table) => html`<details key=${table.name} class="result-table"><summary><b>${table.title}</b> <code>${table.name}</code></summary>
      <${Table} caption=${table.title} columns=${table.columns} rows=${table.rows.map((row) => row.map((cell) => html`<${Cell} cell=${cell} />`))} kind="results" />
      <${Notes} notes=${table.said} /></details>`)}
  </section>`;
}

export function StudyView({ run, asked }) {
  const { value, error } = useData(`study/${run.id}`);
  useEffect(() => {
    // After the view's own beginning was scrolled to.
    const timer = value && asked.at && setTimeout(() => {
      const there = document.getElementById(place(asked.at));
      there?.scrollIntoView();
      there?.focus({ preventScroll: true });
    });
    return () => clearTimeout(timer);
  }, [Boolean(value), asked.at]);
  if (error) return html`<${Failure}>${error}</${Failure}>`;
  if (!value) return html`<${Loading} what="the study's results" />`;
  const { written, bad } = value;
  return html`<article class="study">
    <header class="view-head">
      <h1>${value.title}</h1>
      <p class="lede">${run.model.language_model}, ${run.model.sees}. ${value.model}</p>
      <p class="lede">Every number stands with its 95 % bootstrap interval over photos and the photos behind it, beside its control and, where there is one, the paper's number.</p>
    </header>
    ${value.few && html`<p class="note">Warning: ${value.few}</p>`}
    ${bad.length > 0 && html`<div class="note"><p>${count(bad.length, "photo", "photos")} could not be read and ${bad.length > 1 ? "are" : "is"} in no number:</p>
      <ul class="bad">${bad.map(([id, why]) => html`<li key=${id}>${id}: ${why}</li>`)}</ul></div>`}
    ${value.verdicts && html`<${Verdicts} run=${run} claims=${value.verdicts.rows} title=${value.verdicts.title} said=${value.verdicts.said} />`}
    <nav class="contents" aria-label="Results">${value.results.map((one) => html`<a key=${one.experiment} href=${address(`${run.id}/study`, { at: one.experiment })}>${one.experiment} ${one.title}</a>`)}</nav>
    <details class="written"><summary>${value.photos === 1 ? "The photo, and what was written of it" : `The ${value.photos} photos, and what was written of them`}</summary>
      ${written.length < value.photos && html`<p class="hint">The first ${written.length}; the table <code>photos</code> has all.</p>`}
      <${Table} caption="Captions" columns=${["photo", "the model", "the first of its people"]} rows=${written} kind="texts" />
      ${!alone && html`<p class="links"><a href=${address(run.id)}>Every photo, and what was measured of it</a></p>`}
    </details>
    ${value.results.map((result) => html`<${Result} key=${result.experiment} result=${result} />`)}
    <section class="honest" aria-labelledby="honest"><h2 id="honest">Before this convinces you</h2><ul>
      <li>Intervals say how far a number would move with other photos of this kind, not with another model, projection or data set.</li>
      <li>There are many rows here and few photos. What a table was not made to test is a lead, not a finding.</li>
      <li>A score is a first-order prediction; E6 is what really happens, and zeroing a unit may take the model where it never goes by itself.</li>
      ${value.limits.map((limit) => html`<li key=${limit}>${limit}</li>`)}
    </ul></section>
    <${Record} run=${run.id} />
  </article>`;
}
