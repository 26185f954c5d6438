import { html } from "./vendor/htm-preact.js";
import { Term } from "./glossary.js";
import { placeName } from "./frame.js";
import { rounded, unitKey, unitName } from "./text.js";
import { Tokens } from "./tokens.js";

const LAYERS_SHOWN = 12;

// The units of any list whose peak is at a patch, each with the words and rankings it is listed
// for, in the order of their layers.
export function unitsAt(image, n) {
  const [, columns] = image.grid;
  const found = new Map();
  for (const word of image.words) {
    for (const [ranking, lists] of Object.entries(word.rankings)) {
      (lists.patches ?? []).forEach((unit, rank) => {
        if (!unit.peak_patch || unit.peak_patch[0] * columns + unit.peak_patch[1] !== n) return;
        const entry = found.get(unitKey(unit)) ?? { unit, best: Infinity, of: new Map() };
        const kept = entry.of.get(word.word);
        if (!kept || rank < kept.rank) entry.of.set(word.word, { word: word.word, ranking, rank, total: unit.total });
        entry.best = Math.min(entry.best, rank);
        found.set(unitKey(unit), entry);
      });
    }
  }
  return [...found.values()];
}

// What a patch says of each part of the layers, each a set of its own.
function SaidInParts({ parts, n, explained }) {
  return html`<h4>Layer by layer</h4>
    <table class="by-layer patch-parts">
      <thead><tr><th scope="col">units of</th><th scope="col">say here</th></tr></thead>
      <tbody>${parts.map(({ layers, patches }) => html`<tr key=${layers}><th scope="row">${layers}</th>
        <td>${patches[n].map(([word, score], place) => html`${place ? ", " : ""}<span title=${`${rounded(score)} logits`}>${explained.has(word)
          ? html`<mark>${word}</mark>` : word}</span>`)}</td></tr>`)}</tbody>
    </table>
    <p class="hint">Each part’s own units that change most: the rows add up to no total.</p>`;
}

// What one patch says, and which units wrote which words from there.
export function PatchCard({ image, said, n, sinks, onUnit, onClose }) {
  const entries = unitsAt(image, n);
  const strongest = [...entries].sort((a, b) => a.best - b.best).slice(0, LAYERS_SHOWN)
    .sort((a, b) => a.unit.layer - b.unit.layer);
  const here = said?.patches?.[n];
  return html`<section class="card patch-card" aria-label="The chosen patch">
    <div class="card-head"><h3>The <${Term} name="patch" /> in ${placeName(n, image.grid)}</h3>
      <button type="button" class="pill" onClick=${onClose}>Let go</button></div>
    ${sinks.has(n) && html`<p class="hint">A sink patch: it has huge activations about nothing and counts in no sum.</p>`}
    ${here ? html`<p class="hint">It says, before any word is asked for (logits, to first order):</p>
      <ol class="at-patch">${here.map(([word, score]) => html`<li key=${word}>${word}<span class="hint">${rounded(score)}</span></li>`)}</ol>`
      : html`<p class="hint">What single patches say was not read in this run.</p>`}
    ${said?.parts?.length > 0 && html`<${SaidInParts} parts=${said.parts} n=${n}
      explained=${new Set(image.words.filter(({ warning }) => !warning).map(({ word }) => word))} />`}
    ${entries.length > 0
      ? html`<h4>From here, by layer</h4>
        <p class="hint">${entries.length === 1 ? "One listed unit has" : `${entries.length} listed units have`} their peak here${entries.length > LAYERS_SHOWN ? `; the ${LAYERS_SHOWN} that rank highest` : ""}.</p>
        <ol class="by-layer-units">${strongest.map(({ unit, of }) => html`<li key=${unitKey(unit)}>
          <button type="button" class="unit" onClick=${() => onUnit(unit, [...of.values()][0])}>${unitName(unit)}</button>${" "}
          <${Tokens} list=${unit.tokens} most=${3} />
          <span class="hint">for ${[...of.values()].map(({ word, ranking, rank }) => `“${word}” (${ranking} ${rank + 1})`).join(", ")}</span>
        </li>`)}</ol>`
      : html`<p class="hint">No listed unit has its peak here.</p>`}
  </section>`;
}

export function SaidByLayers({ layers, compared }) {
  return html`<table class="by-layer">
    <thead><tr><th scope="col">units of</th><th scope="col">say, the first first</th><th scope="col">give, take (nats)</th></tr></thead>
    <tbody>${layers.map((one) => html`<tr key=${one.layers}><th scope="row">${one.layers}</th>
      <td>${one.words.map(([text, marked], n) => html`${n ? ", " : ""}${marked ? html`<mark>${text}</mark>` : text}`)}
        ${one.places.length > 0 && html`<p class="hint">${one.places.map(([text, here, there]) =>
          `${text}: above ${here} of the nouns, in other photos ${there}`).join("; ")}</p>`}</td>
      <td>${[...one.up, ...one.down].length
        ? [...one.up, ...one.down].map(([text, nats], n) => html`${n ? ", " : ""}<span class="effect">${text} ${nats}</span>`)
        : "–"}</td></tr>`)}</tbody>
  </table>
  <p class="small">Marked: words that are explained. ${compared
    ? "A noun may stand high in every photo: below the nouns is where each explained word stands here, and in the mean over other photos. Give and take are exact: what a noun gains or loses when the set is put to what other photos have, patch by patch."
    : "A noun may stand high in every photo; how high it stands in others was not measured."}</p>`;
}
