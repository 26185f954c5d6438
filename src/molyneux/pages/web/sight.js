import { html } from "./vendor/htm-preact.js";
import { Term } from "./glossary.js";
import { Bars, Table } from "./parts.js";
import { known, rounded, sentence, signed } from "./text.js";

// What this photo adds, in one look: the first two bars are the photo's, the rest their controls.
export function Adds({ word, bars }) {
  if (!bars?.length || word.warning) return null;
  const rows = bars.map(([name, value, text], n) => [name, value, `${text} nats`, n < 2 ? "own" : "other"]);
  return html`<div class="adds"><h2>What this photo adds to “${word.word}” <span class="hint">in nats of log-probability</span></h2><${Bars} rows=${rows} /></div>`;
}

export function SightBlock({ word, told, lead }) {
  const { sight } = word;
  if (!sight) {
    return word.sight_note ? html`<p class="note">${sentence(word.sight_note)}</p>` : null;
  }
  const change = sight.sets.find((one) => one.set === "change");
  const lines = told?.sight ?? [];
  return html`<section class="part" aria-labelledby="carries">
    <h2 id="carries">What carries it</h2>
    ${change && known(change.transplant_caption) && html`<dl class="rewrites transplanted">
      <div class="rewrite"><dt>another photo as it is<span class="hint">the first partner</span></dt><dd><span class="lead">${lead} </span>${sight.partner_caption}</dd></div>
      <div class="rewrite"><dt>with this photo's values<span class="hint"><${Term} name="transplant" /> of ${Math.round(100 * change.fraction_of_units)} % of units</span></dt>
        <dd><span class="lead">${lead} </span><b>${change.transplant_caption}</b></dd></div>
    </dl>`}
    ${lines.map((line) => html`<p key=${line} class="told">${sentence(line)}</p>`)}
    <p class="small"><${Term} name="mediated">Mediated</${Term}>: what the word loses where a set's values are replaced by other photos' mean.${" "}
      <${Term} name="transplant">Transplant</${Term}>: what it gains behind other photos into whose patches this photo's values of the set are put.
      Standard error of what the photo adds: ${rounded(sight.standard_error)} over ${sight.partners} other photos.</p>
    ${told?.sight_table?.rows.length > 0 && html`<details><summary>Every set, beside words that are not named</summary>
      <${Table} caption="In nats. Units at the patches, chosen without a word" columns=${told.sight_table.columns}
        rows=${told.sight_table.rows.map(([name, cells]) => [name, ...cells])} />
      <p class="small">Not named, as likely behind the other photos: ${sight.absent.map(({ word: other }) => other).join(", ")}.
        That something of the photo gets into the word does not say that the word is true of it.</p>
    </details>`}
  </section>`;
}

export function WhyBlock({ why, record, src, grid }) {
  if (!why) return null;
  const patches = record?.patches;
  const largest = Math.max(...(patches ?? []).flat().map(Math.abs), 1e-9);
  return html`<section class="part" aria-labelledby="why">
    <h2 id="why">${why.title}</h2>
    <div class="why">
      <div>${why.lines.map((line) => html`<p key=${line} class="told">${sentence(line)}</p>`)}</div>
      ${patches && html`<figure class="pushing"><div class="frame">${src && html`<img src=${src} alt="" />`}
        <svg viewBox=${`0 0 ${grid[1]} ${grid[0]}`} preserveAspectRatio="none" role="img" aria-label="What each patch gives the word">
          ${patches.flatMap((row, y) => row.map((value, x) => html`<rect key=${`${y}-${x}`} x=${x} y=${y} width="1" height="1"
            class=${value > 0 ? "gives" : "takes"} fill-opacity=${(Math.abs(value) / largest).toFixed(3)}><title>row ${y + 1}, column ${x + 1}: ${signed(value)}</title></rect>`))}
        </svg></div>
        <figcaption>What all units give the word at each patch: <b class="gives">more</b>, or <b class="takes">less</b>; to first order.</figcaption></figure>`}
    </div>
    ${why.rows?.length > 0 && html`<details><summary>Each number, with how far it is spread</summary>
      <${Table} caption="Mean ± standard deviation over reference photos. By chance: with labels exchanged"
        columns=${["", ...why.columns]} rows=${why.rows.map(([name, cells]) => [name, ...cells])} /></details>`}
  </section>`;
}
