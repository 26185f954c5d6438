import { html } from "./vendor/htm-preact.js";
import { address, photoAddress, unitAddress } from "./address.js";
import { useData } from "./data.js";
import { Frame } from "./frame.js";
import { Term } from "./glossary.js";
import { Failure, Loading } from "./parts.js";
import { known, rounded, signed } from "./text.js";
import { Tokens } from "./tokens.js";

// Where in the stack: one tick a layer, this one's marked.
function Stack({ layer, layers }) {
  if (!layers) return null;
  const place = (n) => (100 * (n + 0.5)) / layers;
  return html`<svg class="stack" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label=${`Layer ${layer} of ${layers}, counted from 0`}>
    ${Array.from({ length: layers }, (_, n) => html`<rect key=${n} class=${n === layer ? "here" : ""} x=${(100 * n) / layers + 0.2} width=${100 / layers - 0.4} y=${n === layer ? 0 : 3} height=${n === layer ? 12 : 6} />`)}
    <title>${place(layer).toFixed(0)} % of the way up</title>
  </svg>`;
}

function Writes({ lens, top, bottom }) {
  return html`<div class="lens"><h3>${lens}</h3>
    <dl><div><dt>active positively, it raises</dt><dd><${Tokens} list=${top} /></dd></div>
      <div><dt>active negatively, it raises</dt><dd><${Tokens} list=${bottom} /></dd></div></dl></div>`;
}

function FactList({ facts }) {
  return html`<dl class="rows">${facts.map(([name, value, meaning]) => html`<div key=${name}><dt>${name}</dt>
    <dd>${typeof value === "number" ? rounded(value, 3) : String(value)}${meaning && html` <span class="hint">${meaning}</span>`}</dd></div>`)}</dl>`;
}

function Effects({ effects }) {
  const rows = Array.isArray(effects) ? effects : Object.entries(effects).map(([word, value]) => (typeof value === "object" ? { word, ...value } : { word, nats: value }));
  if (!rows.length) return null;
  const reach = Math.max(...rows.flatMap(({ nats, low, high }) => [nats, low, high].filter(known).map(Math.abs)), 1e-9);
  const x = (value) => 50 + (45 * value) / reach;
  return html`<ul class="effects">${rows.map(({ word, nats, low, high, n }) => html`<li key=${word}>
    <span class="effect-word">${word}</span>
    <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><line class="zero" x1="50" x2="50" y1="0" y2="10" />
      ${known(low) && html`<rect class="span" x=${x(low)} width=${Math.max(x(high) - x(low), 0.4)} y="4" height="2" />`}
      <rect class=${nats > 0 ? "gives" : "takes"} x=${x(nats) - 0.8} width="1.6" y="0" height="10" /></svg>
    <span class="effect-number">${signed(nats, 3)} nats ${known(low) && html`<span class="hint">[${signed(low, 3)}, ${signed(high, 3)}]</span>`}${known(n) && html`<span class="hint"> n = ${n}</span>`}</span>
  </li>`)}</ul>`;
}

const LIST_NAMES = { patches: "", last: " where the word is written" };

function listName(ranking) {
  const [name, view] = String(ranking ?? "").split(".");
  return `${name}${LIST_NAMES[view] ?? ""}`;
}

// One picture for each photo and word, with the places the unit has in their lists, the best first.
function grouped(rows) {
  const found = new Map();
  for (const row of rows) {
    const key = `${row.n} ${row.word}`;
    const entry = found.get(key) ?? { ...row, lists: [] };
    if (row.rank < entry.rank) Object.assign(entry, row);
    if (!entry.peak_patch) entry.peak_patch = row.peak_patch;
    entry.lists.push(`${listName(row.ranking)} ${row.rank + 1}`);
    found.set(key, entry);
  }
  return [...found.values()].sort((a, b) => a.rank - b.rank);
}

export function UnitView({ run, unit: name, runs }) {
  const { value, error } = useData(`unit/${run.id}/${name}`);
  if (error) return html`<${Failure}>${error}</${Failure}>`;
  if (!value) return html`<${Loading} what=${name} />`;
  const { atlas, in_run: seen = {}, neighbours = [], fake, effects } = { ...value, effects: value.in_run?.effects ?? value.atlas?.effects };
  const layer = value.layer ?? Number(/^L(\d+)/.exec(name)?.[1]);
  const lenses = Object.entries(atlas?.lenses ?? {});
  const photos = grouped(seen.photos ?? []);
  const counted = seen.words ?? [];
  const best = photos[0];
  const told = counted.length
    ? `In this run it is listed for ${counted.slice(0, 3).map(({ word, count }) => `“${word}” in ${count === 1 ? "one photo" : `${count} photos`}`).join(", ")}${best ? `; at best ${best.rank + 1} of those ranked by ${listName(best.ranking)}` : ""}.`
    : "It stands in no list of this run.";
  return html`<article class="unit-page">
    <header class="view-head">
      <p class="hint"><${Term} name="unit">Unit</${Term}> of layer ${layer}${run.model?.layers ? ` of ${run.model.layers}` : ""}</p>
      <h1 class="mono">${name}</h1>
      <${Stack} layer=${layer} layers=${run.model?.layers} />
      <p class="verdict">${told}</p>
      ${runs.live && html`<p><a class="pill" href=${address("live", { units: name, photo: best ? `${run.id}.${best.n}` : null, word: best?.word })}>Switch it off in a photo</a></p>`}
    </header>
    <div class="columns">
      <section class="part first" aria-labelledby="writes"><h2 id="writes">What it writes</h2>
        ${lenses.length > 0 ? lenses.map(([lens, { top, bottom }]) => html`<${Writes} key=${lens} lens=${lens} top=${top} bottom=${bottom} />`)
          : known(seen.tokens) ? html`<${Writes} lens="in this run's lists" top=${seen.sign < 0 ? seen.suppressed : seen.tokens} bottom=${seen.sign < 0 ? seen.tokens : seen.suppressed} />`
          : html`<p class="note">No atlas of this model is at hand, and the run lists no tokens of it.</p>`}
        ${atlas?.facts?.length > 0 && html`<${FactList} facts=${atlas.facts} />`}
      </section>
      <section class="part first" aria-labelledby="changes"><h2 id="changes">What switching it off changes</h2>
        ${effects && (Array.isArray(effects) ? effects.length : Object.keys(effects).length)
          ? html`<p class="hint">Log-probability that the word loses with the unit off, with its 95 % interval where it was measured over photos.</p><${Effects} effects=${effects} />`
          : html`<p class="hint">Not measured for this unit alone${runs.live ? ": try it live." : "."}</p>`}
        ${counted.length > 0 && html`<h3>Words it was listed for</h3><p class="chips">${counted.slice(0, 24).map(({ word, count }) => html`<span key=${word} class="chip">${word} <span class="hint">${count}</span></span>`)}</p>`}
      </section>
    </div>
    <section class="part" aria-labelledby="photos"><h2 id="photos">Strongest photos</h2>
      ${photos.length ? html`<p class="hint">Framed: the patch where it peaks. Beside each list's name, its rank there.</p><ol class="peaks">${photos.slice(0, 24).map((one, at) => html`<li key=${at}>
        <a href=${photoAddress(run.id, one.n, { word: one.word, unit: name, list: one.ranking?.includes(".") ? one.ranking : `${one.ranking}.patches` })}>
          <${PeakPhoto} one=${one} grid=${value.grid ?? run.model?.patches} />
          <span>“${one.word}” <span class="hint">${one.lists.join(", ")}; score ${rounded(one.score)}</span></span></a></li>`)}</ol>`
        : html`<p class="note">It stands in no photo's list of this run.</p>`}
    </section>
    <div class="columns">
      <section class="part" aria-labelledby="near"><h2 id="near">Its neighbours</h2>
        ${neighbours.length ? html`<p class="hint">Units that write in the nearest directions; the cosine between their output rows.</p>
          <ol class="near">${neighbours.map((one) => html`<li key=${one.unit}><a class="mono" href=${unitAddress(run.id, one.unit.replace(/-$/, ""))}>${one.unit}</a>
            <span class="number">${rounded(one.cosine)}</span><${Tokens} list=${one.tokens} most=${5} /></li>`)}</ol>` : html`<p class="hint">Not known without an atlas of this model.</p>`}
      </section>
      <section class="part" aria-labelledby="fake"><h2 id="fake">Beside it, a fake</h2>
        ${fake ? html`<p class="hint">${fake.what}</p>${fake.unit && html`<p><a class="mono" href=${unitAddress(run.id, fake.unit)}>${fake.unit}</a></p>`}
          ${fake.tokens && html`<p><${Tokens} list=${fake.tokens} /></p>`}${fake.facts && html`<${FactList} facts=${fake.facts} />`}`
          : html`<p class="hint">None is at hand: a fake comes with the atlas.</p>`}
      </section>
    </div>
  </article>`;
}

function PeakPhoto({ one, grid }) {
  if (!grid || !one.peak_patch) return html`<${Frame} src=${one.photo} alt="" grid=${null} small=${true} />`;
  const [rows, columns] = grid;
  const [row, column] = one.peak_patch;
  return html`<span class="peaked"><${Frame} src=${one.photo} alt="" grid=${null} small=${true} />
    <svg viewBox=${`0 0 ${columns} ${rows}`} preserveAspectRatio="none" aria-hidden="true"><rect x=${column} y=${row} width="1" height="1" /></svg></span>`;
}
