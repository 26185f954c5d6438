import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { address, photoAddress, unitAddress } from "./address.js";
import { unitOf } from "./atlas.js";
import { exported, useData } from "./data.js";
import { Frame } from "./frame.js";
import { Term } from "./glossary.js";
import { Failure, Loading } from "./parts.js";
import { count, known, percent, rounded, signed } from "./text.js";
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

// What a unit's output row favours through one lens, either way that it may be active.
function Writes({ lens, tokens, suppressed, words, suppressedWords, chance }) {
  const passes = (flag) => known(flag) && html` <span class="hint" title=${chance}>${flag ? "· 7 of 10 are words" : "· not words"}</span>`;
  return html`<div class="lens">${lens && html`<h3><${Term} name="lens">${LENSES[lens] ?? lens}</${Term}></h3>`}
    <dl><div><dt>active positively, it raises${passes(words)}</dt><dd><${Tokens} list=${tokens} /></dd></div>
      <div><dt>active negatively, it raises${passes(suppressedWords)}</dt><dd><${Tokens} list=${suppressed} /></dd></div></dl></div>`;
}

const LENSES = { none: "straight through the head", norm: "through the head, with the final norm", jacobian: "through the Jacobian lens" };

function FactList({ facts }) {
  return html`<dl class="rows">${facts.filter(([, value]) => known(value)).map(([name, value, meaning]) => html`<div key=${name}><dt>${name}</dt>
    <dd>${value}${meaning && html` <span class="hint">${meaning}</span>`}</dd></div>`)}</dl>`;
}

// Numbers on one axis through zero, each with its interval: [name, mean, low, high, n, tone].
function Effects({ rows }) {
  const reach = Math.max(...rows.flatMap(([, mean, low, high]) => [mean, low, high].filter(known).map(Math.abs)), 1e-9);
  const x = (value) => 50 + (45 * value) / reach;
  return html`<ul class="effects">${rows.map(([name, mean, low, high, n, tone]) => html`<li key=${name}>
    <span class="effect-word">${name}</span>
    <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><line class="zero" x1="50" x2="50" y1="0" y2="10" />
      ${known(low) && html`<rect class="span" x=${x(low)} width=${Math.max(x(high) - x(low), 0.4)} y="4" height="2" />`}
      <rect class=${tone} x=${x(mean) - 0.8} width="1.6" y="0" height="10" /></svg>
    <span class="effect-number">${signed(mean, 3)} <span class="hint">${known(low) ? `[${signed(low, 3)}, ${signed(high, 3)}] ` : ""}n = ${n}</span></span>
  </li>`)}</ul>`;
}

// What switching one unit off took from words, exactly, beside what must be less of it.
function Measured({ measured, fake }) {
  const row = (name, taken, tone) => (taken ? [name, taken.mean, taken.low, taken.high, taken.n, tone] : null);
  const rows = [
    row("its photos' words, without it", measured.effect, "own"),
    row("the same words, without other photos' units", measured.mismatched_effect, "other"),
    row("other photos' words, without it", measured.elsewhere_effect, "other"),
    row("its fake's photos' words, without the fake", fake?.effect, "other"),
  ].filter(Boolean);
  const words = measured.words.filter(({ effect }) => known(effect));
  return html`
    ${rows.length > 0 && html`<p class="hint">Logits that words lost with one unit off, exactly; mean and 95 % interval over photos. The first is the unit's; the others are controls.</p><${Effects} rows=${rows} />`}
    ${words.length > 0 && html`<h3>By word</h3><${Effects} rows=${words.slice(0, 8).map(({ word, effect, n_effect: n }) => [word, effect, null, null, n, "own"])} />`}
    <${FactList} facts=${[
      ["in the top 100 of", count(measured.n_top, "photo", "photos"), fake ? `its fake: ${fake.n_top}` : ""],
      ["in the specific 100 of", count(measured.n_specific, "photo", "photos"), fake ? `its fake: ${fake.n_specific}` : ""],
      ["fits a mask", known(measured.iou) ? `IoU ${rounded(measured.iou)}` : null, known(measured.random_iou) ? `the best of as many random units: ${rounded(measured.random_iou)}; ${count(measured.n_iou, "mask", "masks")}` : ""],
      ["selective", known(measured.selective) ? (measured.selective ? `for ${measured.selective_for.join(", ")}` : "no") : null, known(measured.control_selective) ? `random units in its place are in ${percent(measured.control_selective)} of cases` : ""],
    ]} />`;
}

// How often chance passes for a word: [of ten random tokens, of random directions].
function chanceOf(chance) {
  const tokens = chance?.random_tokens;
  return typeof tokens === "number" ? `at least 7 of 10 are dictionary words; ten random tokens are in ${percent(tokens)} of draws` : "whether at least 7 of 10 are dictionary words";
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
    entry.peak_patch ??= row.peak_patch;
    entry.lists.push(`${listName(row.ranking)} ${row.rank + 1}`);
    found.set(key, entry);
  }
  return [...found.values()].sort((a, b) => a.rank - b.rank);
}

function verdictOf(seen, atlas, layer, layers) {
  const counted = seen.words ?? [];
  const best = grouped(seen.photos ?? [])[0];
  const listed = counted.length
    ? `In this run it is listed for ${counted.slice(0, 3).map(({ word, count: n }) => `“${word}” in ${n === 1 ? "one photo" : `${n} photos`}`).join(", ")}; at best ${best.rank + 1} of those ranked by ${listName(best.ranking)}.`
    : "It stands in no list of this run.";
  const { effect, mismatched_effect: control } = atlas?.measured ?? {};
  if (!effect || !control) return listed;
  const apart = known(effect.low) && effect.low > control.mean;
  return `Switched off, it takes ${rounded(effect.mean)} logits from its photos' words (${count(effect.n, "photo", "photos")}), ${apart ? "more than" : "no more than chance lets"} other photos' units do: ${rounded(control.mean)}. ${listed}`;
}

// A unit that no list of an export has: what it writes is in the atlas, if that came along.
function Unlisted({ run, name, runs }) {
  const [found, setFound] = useState(null);
  const [, layer, unit] = /^L(\d+)\.u(\d+)/.exec(name).map(Number);
  useEffect(() => {
    setFound(null);
    (runs.atlas ? unitOf(layer, unit) : Promise.resolve(null)).then((one) => setFound(one ?? false), () => setFound(false));
  }, [name]);
  if (found === null) return html`<${Loading} what=${name} />`;
  return html`<article class="unit-page">
    <header class="view-head"><p class="hint"><${Term} name="unit">Unit</${Term}> of layer ${layer}</p><h1 class="mono">${name}</h1>
      ${found && html`<${Stack} layer=${layer} layers=${run.model?.layers} />`}
      <p class="note">${found ? "It stands in no list of this export's runs; this is from the atlas of the model." : "This export holds the units that its runs list, and this is none of them."}</p></header>
    ${found && html`<section class="part first" aria-labelledby="writes"><h2 id="writes">What it writes</h2>
      <${Writes} lens=${found.lens} tokens=${found.tokens} suppressed=${found.suppressed} />
      <${FactList} facts=${[["output norm", rounded(found.norm, 3), "of what it writes at activation 1"]]} />
      ${known(found.effect) && html`<${Effects} rows=${[["its photos' words, without it", found.effect, found.low, found.high, found.n, "own"], ["the same words, without other photos' units", found.mismatched, null, null, found.n, "other"]].filter(([, mean]) => known(mean))} />`}
    </section>`}
  </article>`;
}

export function UnitView({ run, unit: name, runs }) {
  const { value, error } = useData(`unit/${run.id}/${name}`);
  if (error && exported) return html`<${Unlisted} run=${run} name=${name} runs=${runs} />`;
  if (error) return html`<div><h1 class="mono">${name}</h1><${Failure}>${error}</${Failure}></div>`;
  if (!value) return html`<${Loading} what=${name} />`;
  const { atlas, in_run: seen = {} } = value;
  const layer = value.layer ?? Number(/^L(\d+)/.exec(name)?.[1]);
  const photos = grouped(seen.photos ?? []);
  const counted = seen.words ?? [];
  const best = photos[0];
  const raised = seen.sign < 0 ? [seen.suppressed, seen.tokens] : [seen.tokens, seen.suppressed];
  return html`<article class="unit-page">
    <header class="view-head">
      <p class="hint"><${Term} name="unit">Unit</${Term}> of layer ${layer}${run.model?.layers ? `, of ${run.model.layers} counted from 0` : ""}</p>
      <h1 class="mono">${name}</h1>
      <${Stack} layer=${layer} layers=${run.model?.layers} />
      <p class="verdict">${verdictOf(seen, atlas)}</p>
      ${runs.live && html`<p><a class="pill" href=${address("live", { set: "named", units: name, photo: best ? `${run.id}.${best.n}` : null, word: best?.word })}>Switch it off in a photo</a></p>`}
    </header>
    <div class="columns">
      <section class="part first" aria-labelledby="writes"><h2 id="writes">What it writes</h2>
        ${atlas ? html`
          ${[...atlas.writes].reverse().map((one) => html`<${Writes} key=${one.lens} lens=${one.lens} tokens=${one.tokens} suppressed=${one.suppressed} words=${one.words} suppressedWords=${one.suppressed_words} chance=${chanceOf(atlas.chance)} />`)}
          <${FactList} facts=${[["output norm", rounded(atlas.output_norm, 3), "of what it writes at activation 1"]]} />`
          : known(seen.tokens) ? html`<${Writes} tokens=${raised[0]} suppressed=${raised[1]} />`
          : html`<p class="note">No atlas of this model is at hand, and the run lists no tokens of it.</p>`}
      </section>
      <section class="part first" aria-labelledby="changes"><h2 id="changes">What switching it off changes</h2>
        ${atlas?.measured ? html`<${Measured} measured=${atlas.measured} fake=${atlas.fake_measured} />`
          : html`<p class="hint">Not measured for this unit alone${runs.live ? ": try it live." : "."}</p>`}
        ${counted.length > 0 && html`<h3>Words it was listed for</h3><p class="chips">${counted.slice(0, 24).map(({ word, count: n }) => html`<span key=${word} class="chip">${word} <span class="hint">${n}</span></span>`)}</p>`}
      </section>
    </div>
    <section class="part" aria-labelledby="photos"><h2 id="photos">Strongest photos</h2>
      ${photos.length ? html`<p class="hint">Framed: the patch where it peaks. Beside each list's name, its rank there.</p><ol class="peaks">${photos.slice(0, 24).map((one, at) => html`<li key=${at}>
        <a href=${photoAddress(run.id, one.n, { word: one.word, unit: name, list: one.ranking })}>
          <${PeakPhoto} one=${one} grid=${run.model?.patches} />
          <span>“${one.word}” <span class="hint">${one.lists.join(", ")}; score ${rounded(one.score)}</span></span></a></li>`)}</ol>`
        : html`<p class="hint">It stands in no photo's list of this run.</p>`}
    </section>
    ${atlas && html`<div class="columns">
      <section class="part" aria-labelledby="near"><h2 id="near">Its neighbours</h2>
        <p class="hint">Units that write in the nearest directions, with the cosine between what they write.</p>
        <ol class="near">${atlas.neighbours.map((one) => html`<li key=${one.unit}><a class="mono" href=${unitAddress(run.id, one.unit.replace(/-$/, ""))}>${one.unit}</a>
          <span class="number">${rounded(one.cosine)}</span>${atlas.neighbour_tokens?.[one.unit] && html`<${Tokens} list=${atlas.neighbour_tokens[one.unit]} most=${5} />`}</li>`)}</ol>
      </section>
      <section class="part" aria-labelledby="fake"><h2 id="fake">Beside it, a fake</h2>
        ${atlas.fake ? html`<p>The other unit of its layer that is nearest in output norm, and has nothing else to do with it: <a class="mono" href=${unitAddress(run.id, atlas.fake)}>${atlas.fake}</a>.
          What is said of this unit should not hold of that one.</p>
          ${atlas.fake_measured ? html`<${Measured} measured=${atlas.fake_measured} />` : html`<p class="hint">Not measured: no run that is joined to the atlas lists it.</p>`}`
          : html`<p class="hint">It is alone in its layer.</p>`}
      </section>
    </div>`}
  </article>`;
}

function PeakPhoto({ one, grid }) {
  if (!grid || !known(one.peak_patch)) return html`<${Frame} src=${one.photo} alt="" grid=${null} small=${true} />`;
  const [rows, columns] = grid;
  const [row, column] = [Math.floor(one.peak_patch / columns), one.peak_patch % columns];
  return html`<span class="peaked"><${Frame} src=${one.photo} alt="" grid=${null} small=${true} />
    <svg viewBox=${`0 0 ${columns} ${rows}`} preserveAspectRatio="none" aria-hidden="true"><rect x=${column} y=${row} width="1" height="1" /></svg></span>`;
}
