import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { Ablations, Rewrites } from "./ablation.js";
import { address, photoAddress, restate } from "./address.js";
import { Caption } from "./caption.js";
import { alone, useData } from "./data.js";
import { Frame, Scale, placeName } from "./frame.js";
import { useGallery } from "./gallery.js";
import { fieldOf } from "./heat.js";
import { Choice, Failure, Loading, Table } from "./parts.js";
import { PatchCard, SaidByLayers } from "./patch.js";
import { Record } from "./record.js";
import { withToken } from "./server.js";
import { Adds, SightBlock, WhyBlock } from "./sight.js";
import { capital, count, known, probability, sentence, unitKey, unitName } from "./text.js";
import { Token } from "./tokens.js";
import { UnitList, meaning } from "./units.js";

const RANKINGS = ["total", "specific", "raw", "contrast", "change"];
const VIEWS = [["patches", "patches"], ["last", "last position"]];

const lists = (word, ranking, view) => word?.rankings?.[ranking]?.[view] ?? [];
const hasRanking = (word, ranking) => VIEWS.some(([view]) => lists(word, ranking, view).length > 0);

// The list that an address names, or the nearest that the word has.
export function listOf(word, asked) {
  const [wanted, view] = (asked ?? "").split(".");
  const rankings = [...RANKINGS, ...Object.keys(word?.rankings ?? {}).filter((name) => !RANKINGS.includes(name))];
  const ranking = word && hasRanking(word, wanted) ? wanted : rankings.find((name) => word && hasRanking(word, name)) ?? "total";
  const other = lists(word, ranking, view).length ? view : VIEWS.map(([name]) => name).find((name) => lists(word, ranking, name).length);
  return { ranking, view: other ?? "patches", rankings: rankings.filter((name) => word && hasRanking(word, name)) };
}

export function wordOf(image, asked) {
  const place = Math.max(0, image.words.findIndex(({ word }) => word === asked));
  return { word: image.words[place] ?? null, place };
}

function patchOf(asked, grid) {
  if (!asked || !grid) return null;
  const [row, column] = asked.split(",").map(Number);
  const inside = row >= 0 && row < grid[0] && column >= 0 && column < grid[1];
  return inside ? row * grid[1] + column : null;
}

function Facts({ word }) {
  const { trust } = word;
  return html`<dl class="facts">
    <div><dt>probability of the word here</dt><dd>${probability(word.probability)}</dd></div>
    <div><dt>its token</dt><dd><${Token} text=${word.token} />${word.n_tokens > 1 ? html` <span class="hint">the first of ${word.n_tokens}</span>` : ""}</dd></div>
    <div><dt>predicted at position</dt><dd title="counted from the start of the input, patches included">${word.position}</dd></div>
    ${trust && known(trust.rate) && !word.warning && html`<div><dt>such a word is right</dt>
      <dd>${Math.round(100 * trust.rate)} % <span class="hint">[${Math.round(100 * trust.low)}, ${Math.round(100 * trust.high)}] of ${trust.photos} photos</span></dd></div>`}
  </dl>`;
}

// A photo that was explained: of a run, or of a live computation.
export function PhotoPage({ data, asked, run = null, name, live }) {
  const { image } = data;
  const about = data; // lead, score, sinks, words_by_chance, limits
  const { word, place } = wordOf(image, asked.word);
  const { ranking, view, rankings } = listOf(word, asked.list);
  const units = lists(word, ranking, view);
  const chosen = asked.unit?.replace(/-$/, "") ?? null;
  const patch = patchOf(asked.patch, image.grid);
  const [pointed, setPointed] = useState(null);
  const [pointedPatch, setPointedPatch] = useState(null);
  const all = asked.all === "1" || units.findIndex((unit) => unitKey(unit) === chosen) >= 20;
  const mapOff = asked.map === "off";

  const chosenPlace = units.findIndex((unit) => unitKey(unit) === chosen);
  const shownPlace = pointed ?? (chosenPlace >= 0 ? chosenPlace : null);
  const unit = shownPlace === null ? null : units[shownPlace];
  const field = `${place}.${ranking}.${view}`;
  const setField = `${field}.set`;
  const values = useMemo(
    () => (mapOff ? null : shownPlace === null ? fieldOf(data.fields, setField, 0) : fieldOf(data.fields, field, shownPlace)),
    [data, field, shownPlace, mapOff]);
  const sinks = useMemo(() => new Set((image.sink_patches ?? []).map(([row, column]) => row * image.grid[1] + column)), [image]);
  const said = data.said ?? {};
  const cells = image.grid && {
    grid: image.grid,
    chosen: patch,
    label: (at) => {
      const says = said.patches?.[at]?.map(([text]) => text).join(", ");
      return `${placeName(at, image.grid)}${sinks.has(at) ? ", a sink patch" : ""}${says ? `: ${says}` : ""}`;
    },
    onChoose: (at) => restate({ patch: at === patch ? null : `${Math.floor(at / image.grid[1])},${at % image.grid[1]}` }),
    onPoint: setPointedPatch,
  };
  useEffect(() => {
    const escape = (event) => event.key === "Escape" && restate({ unit: null, patch: null });
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, []);

  const verdict = word && data.verdicts?.[word.word];
  const told = data.told?.[place];
  const src = data.photo;
  // On a phone the photo is out of sight beside its units: the open one brings its own.
  const mapOf = (at) => {
    const own = fieldOf(data.fields, field, at);
    return own && html`<${Frame} src=${src} alt="" grid=${image.grid} values=${own} peak=${units[at].peak_patch} mapped=${unitName(units[at])} />`;
  };
  const notes = data.lines?.map((line) => html`<p key=${line} class="line">${sentence(line)}</p>`);
  return html`<article class="photo" aria-label=${`The photo ${name}`}>
    <div class="bench">
      <div class="sight-side">
        <figure class="see">
          <${Frame} src=${src} grid=${image.grid} values=${values} sinks=${image.sink_patches ?? []} peak=${unit?.peak_patch} cells=${cells}
            mapped=${unit ? unitName(unit) : "the set"} alt=${`${name}, as the encoder sees it. The model wrote: ${about?.lead ?? ""} ${image.caption}`} />
          <figcaption>
            <p class="shown"><span>${mapOff ? "The photo as the encoder sees it" : !values ? "No heat map of this list is kept"
              : unit ? `${unitName(unit)}: activation × sign` : `The list's ${units.length} units together`}</span>
              ${values && html`<button type="button" class="pill" aria-pressed="false" onClick=${() => restate({ map: "off" })}>Hide map</button>`}
              ${mapOff && html`<button type="button" class="pill" onClick=${() => restate({ map: null })}>Show map</button>`}</p>
            ${values && html`<${Scale} values=${values} />`}
            ${values && view === "last" && html`<p class="hint">Ranked where the word is written; the map shows the activation over the photo.</p>`}
            ${values && about.localises?.map((limit) => html`<p key=${limit} class="hint localises">${limit}</p>`)}
            <p class="hint pointed" aria-live="polite">${pointedPatch !== null
              ? `${capital(placeName(pointedPatch, image.grid))}${said.patches?.[pointedPatch] ? `: ${said.patches[pointedPatch].slice(0, 3).map(([text]) => text).join(", ")}` : ""}`
              : image.grid ? "Choose a patch for what it says, and a unit for its map." : ""}</p>
          </figcaption>
        </figure>
        ${patch !== null && html`<${PatchCard} image=${image} said=${said} n=${patch} sinks=${sinks}
          onClose=${() => restate({ patch: null })}
          onUnit=${(one, of) => restate({ unit: unitKey(one), word: of.word, list: `${of.ranking}.patches` })} />`}
        <p class="credit">${name}${image.credit ? html` · photo: ${image.credit}` : ""}</p>
      </div>

      <div class="say">
        <${Caption} lead=${about?.lead ?? ""} caption=${image.caption} words=${image.words} chosen=${word?.word}
          onChoose=${(next) => restate({ word: next, unit: null })} />
        ${word ? html`
          ${verdict && html`<p class="verdict">${sentence(verdict)}</p>`}
          ${word.warning && html`<p class="note under-floor">${sentence(word.warning)}</p>`}
          <${Facts} word=${word} />
          ${word.note && html`<p class="hint">${sentence(word.note)}</p>`}
          ${notes}
          <${Adds} word=${word} bars=${told?.bars} />
          <${Rewrites} word=${word} caption=${image.caption} lead=${about?.lead} />

          <section class="part first" aria-labelledby="units">
            <h2 id="units">The units behind “${word.word}”</h2>
            <div class="controls">
              <${Choice} legend="ranked by" name="ranking" value=${ranking} options=${rankings.map((one) => [one, one])}
                onChange=${(next) => restate({ list: `${next}.${view}`, unit: null })} />
              <${Choice} legend="seen at" name="view" value=${view}
                options=${VIEWS.map(([one, label]) => [one, label, !lists(word, ranking, one).length])}
                onChange=${(next) => restate({ list: `${ranking}.${next}`, unit: null })} />
            </div>
            <p class="lede explains">${meaning(ranking, view, about, word.rankings[ranking]?.[`others_in_${view}`])}</p>
            <${UnitList} units=${units} ranking=${ranking} view=${view} about=${about} run=${run} grid=${image.grid} word=${word.word}
              chosen=${chosen} all=${all} live=${live} map=${mapOf} onPoint=${setPointed}
              onChoose=${(next) => restate({ unit: next })} onAll=${() => restate({ all: all ? null : "1", unit: null })} />
          </section>
          <${SightBlock} word=${word} told=${told} lead=${about.lead} />
          <${WhyBlock} why=${told?.why} record=${word.why} src=${withToken(src)} grid=${image.grid} />
          <${Ablations} word=${word} told=${told} about=${about} />`
        : html`<p class="note">There is no word here to explain. Ask for one with <code>--word</code>.</p>${notes}`}
        ${said.layers?.length > 0 && html`<section class="part" aria-labelledby="said">
          <h2 id="said">What the patches say, by layer</h2>
          <p class="lede">Before any word is asked for: what the units that this photo changes most${said.share ? `, ${said.share} of all,` : ""} write at its patches beyond what they
            write at other photos, summed and read through the Jacobian lens. Only everyday nouns of one token are read.</p>
          <${SaidByLayers} layers=${said.layers} compared=${said.layers.some((one) => one.places.length || one.up.length)} />
        </section>`}
        <details class="honest"><summary>Before this convinces you</summary><ul>
          <li>One photo is an illustration, not a measurement. The effect over many photos, with its interval, is in the project's documentation.</li>
          <li>A score is a first-order prediction; what switching off leaves is what really happens.</li>
          <li>A unit is switched off by setting it to zero, which may take the model where it never goes by itself. That is why every curve has its controls.</li>
          <li>A unit's tokens are what its output row alone favours in the direction in which it acted. That it causes a word does not mean that it spells it.</li>
          ${about.limits?.map((limit) => html`<li key=${limit}>${limit}</li>`)}
        </ul></details>
      </div>
    </div>
    ${run && html`<${Record} run=${run} image=${image} />`}
  </article>`;
}

function Value({ value }) {
  if (!Array.isArray(value)) return html`<span>${String(value)}</span>`;
  if (!value.some((one) => String(one).includes(" "))) return html`<span>${value.join(", ")}</span>`;
  return html`<ul>${value.map((one, at) => html`<li key=${at}>${String(one)}</li>`)}</ul>`;
}

// A photo of a study: what people and the model say of it, and its small tables.
function StudyPhoto({ data, name, lead }) {
  const { row, facts = [], tables = [] } = data;
  const said = html`<div class="say">
    <h1 class="caption"><span class="lead">${lead ? `${lead} ` : ""}</span>${row?.caption ?? name}</h1>
    <dl class="rows">${facts.map(([key, value]) => html`<div key=${key}><dt>${key}</dt><dd><${Value} value=${value} /></dd></div>`)}</dl>
    ${tables.map((table) => html`<details key=${table.title}><summary>${table.title} <span class="hint">· ${count(table.rows.length, "row", "rows")}${table.more ? ` of ${table.rows.length + table.more}` : ""}</span></summary>
      <${Table} caption=${table.title} columns=${table.columns} rows=${table.rows.map((one) => (Array.isArray(one) ? one : table.columns.map((column) => one[column])))} /></details>`)}
  </div>`;
  if (!data.photo) return html`<article class="photo">${said}</article>`;
  return html`<article class="photo"><div class="bench">
    <div class="sight-side"><${Frame} src=${data.photo} alt=${name} grid=${null} /><p class="credit">${name}</p></div>${said}
  </div></article>`;
}

// The photos before and after, in the order of the gallery once all its cards are here.
function Neighbours({ run, n, total, cards }) {
  if (total === 1 && alone) return null;
  const order = cards?.length === total ? cards.map((card) => card.n) : Array.from({ length: total }, (_, at) => at);
  const at = Math.max(0, order.indexOf(n));
  const step = (to, text, label) => (to >= 0 && to < total
    ? html`<a href=${photoAddress(run, order[to])} aria-label=${label}>${text}</a>` : null);
  return html`<nav class="steps" aria-label="Photos of the run">
    <a href=${address(run)}>All photos</a>
    ${step(at - 1, "← before", "The photo before")} <span class="hint">${at + 1} of ${total}</span> ${step(at + 1, "next →", "The next photo")}
    ${total > 1 && html`<a href=${address("compare", { a: `${run}.${n}`, b: `${run}.${order[at + 1] ?? order[0]}` })}>Compare with the next</a>`}
  </nav>`;
}

export function PhotoView({ run, n, asked, runs }) {
  const { value, error } = useData(`photo/${run.id}/${n}`);
  const gallery = useGallery(run.id).value;
  const card = gallery?.cards.find((one) => one.n === n);
  const name = card?.name ?? `photo ${n + 1}`;
  const live = runs.live && ((units, word, list) => address("live", { photo: `${run.id}.${n}`, units: units.join(","), word, list }));
  return html`<div>
    <${Neighbours} run=${run.id} n=${n} total=${gallery?.total ?? run.photos} cards=${gallery?.cards} />
    ${error ? html`<${Failure}>${error}</${Failure}>` : !value ? html`<${Loading} />`
      : value.image?.error ? html`<h1 class="name">${name}</h1><${Failure}>This photo was not explained. ${value.image.error}</${Failure}>`
      : value.image ? html`<${PhotoPage} data=${value} asked=${asked} run=${run.id} name=${value.name ?? name} live=${live} />`
      : html`<${StudyPhoto} data=${value} name=${name} lead=${run.lead} />`}
  </div>`;
}
