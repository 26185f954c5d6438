import { html } from "./vendor/htm-preact.js";
import { photoAddress, restate } from "./address.js";
import { Caption } from "./caption.js";
import { useData } from "./data.js";
import { Frame, Scale } from "./frame.js";
import { useGallery } from "./gallery.js";
import { fieldOf } from "./heat.js";
import { Choice, Failure, Loading } from "./parts.js";
import { listOf, wordOf } from "./photo.js";
import { percent, probability, rounded, sentence, unitKey, unitName } from "./text.js";
import { Tokens } from "./tokens.js";
import { orderedBy } from "./units.js";

const ROWS = 12;

function split(name) {
  const found = /^(r\d+)\.(\d+)$/.exec(name ?? "");
  return found ? { run: found[1], n: Number(found[2]) } : null;
}

function ChoosePhoto({ side, place, runs }) {
  const gallery = useGallery(place?.run).value;
  const other = side === "a" ? "Left" : "Right";
  return html`<div class="choose">
    ${runs.runs.length > 1 && html`<label>${other} run <select value=${place?.run} onChange=${(event) => restate({ [side]: `${event.target.value}.${place?.n ?? 0}` })}>
      ${runs.runs.map((run) => html`<option key=${run.id} value=${run.id}>${run.name}</option>`)}</select></label>`}
    <label>${other} photo <select value=${String(place?.n)} onChange=${(event) => restate({ [side]: `${place.run}.${event.target.value}` })}>
      ${(gallery?.cards ?? []).map((card) => html`<option key=${card.n} value=${String(card.n)}>${card.n + 1}: ${card.caption || card.name}</option>`)}</select></label>
  </div>`;
}

function Side({ side, place, data, run, asked, shared, runs }) {
  const image = data?.value?.image;
  const body = () => {
    if (data.error) return html`<${Failure}>${data.error}</${Failure}>`;
    if (!data.value) return html`<${Loading} />`;
    if (!image) return html`<${Frame} src=${data.value.photo} alt="" grid=${null} /><p class="caption small-caption">${data.value.row?.caption}</p>`;
    if (image.error) return html`<${Failure}>${image.error}</${Failure}>`;
    const wanted = asked[`word_${side}`] ?? asked.word;
    const { word, place: at } = wordOf(image, wanted);
    const { ranking, view } = listOf(word, asked.list);
    const units = word?.rankings?.[ranking]?.[view] ?? [];
    const values = fieldOf(data.value.fields, `${at}.${ranking}.${view}.set`, 0);
    const field = orderedBy(ranking);
    return html`<${Frame} src=${data.value.photo} grid=${image.grid} values=${values} sinks=${image.sink_patches ?? []} mapped="the set" alt=${`${image.path}. The model wrote: ${image.caption}`} />
      ${values && html`<${Scale} values=${values} />`}
      <${Caption} level=${2} lead=${data.value.lead ?? ""} caption=${image.caption} words=${image.words} chosen=${word?.word} onChoose=${(next) => restate({ [`word_${side}`]: next })} />
      ${word && html`<p class="verdict">${sentence(data.value.verdicts?.[word.word] ?? "")}</p>
        <p class="hint">“${word.word}”: probability ${probability(word.probability)}${word.sight ? `; this photo adds ${rounded(word.sight.gain)} nats to it` : ""}</p>
        <table class="ranked"><thead><tr><th scope="col" class="rank">#</th><th scope="col">writes</th><th scope="col">unit</th><th scope="col" class="number">${field}</th></tr></thead>
          <tbody>${units.slice(0, ROWS).map((unit, n) => html`<tr key=${n} class=${shared.has(unitKey(unit)) ? "row pinned" : "row"}><td class="rank">${n + 1}</td><td class="writes"><${Tokens} list=${unit.tokens} most=${4} /></td>
            <td class="named"><a class="mono" href=${photoAddress(place.run, place.n, { word: word.word, list: `${ranking}.${view}`, unit: unitKey(unit) })}>${unitName(unit)}</a></td><td class="number">${rounded(unit[field])}</td></tr>`)}</tbody></table>`}`;
  };
  return html`<section class="side" aria-label=${side === "a" ? "Left" : "Right"}>
    <${ChoosePhoto} side=${side} place=${place} runs=${runs} />
    <p class="hint">${run?.name}${run?.model?.language_model ? ` · ${run.model.language_model}` : ""}</p>
    ${body()}
    ${place && html`<p class="links"><a href=${photoAddress(place.run, place.n)}>Open this photo</a></p>`}
  </section>`;
}

function unitsOf(data, side, asked) {
  const image = data.value?.image;
  if (!image?.words?.length) return { keys: new Set(), word: null };
  const { word } = wordOf(image, asked[`word_${side}`] ?? asked.word);
  const { ranking, view } = listOf(word, asked.list);
  return { keys: new Set((word?.rankings?.[ranking]?.[view] ?? []).map(unitKey)), word: word?.word, ranking, view };
}

// Two photos, or the same photos of two runs: of two models, projections or checkpoints.
export function Compare({ asked, runs }) {
  const explained = runs.runs;
  const first = explained[0]?.id;
  const second = explained[1]?.id;
  const a = split(asked.a) ?? (first && { run: first, n: 0 });
  const b = split(asked.b) ?? (second ? { run: second, n: a?.n ?? 0 } : first && { run: first, n: explained[0].photos > 1 ? 1 : 0 });
  const left = useData(a ? `photo/${a.run}/${a.n}` : null);
  const right = useData(b ? `photo/${b.run}/${b.n}` : null);
  const runOf = (place) => runs.runs.find((run) => run.id === place?.run);
  const [one, two] = [unitsOf(left, "a", asked), unitsOf(right, "b", asked)];
  const sameModel = runOf(a)?.model?.language_model === runOf(b)?.model?.language_model;
  const shared = new Set(sameModel ? [...one.keys].filter((key) => two.keys.has(key)) : []);
  const rankings = one.word && listOf(wordOf(left.value.image, asked.word_a ?? asked.word).word, asked.list).rankings;
  const smaller = Math.min(one.keys.size, two.keys.size);
  return html`<article class="compare">
    <header class="view-head"><h1>Side by side</h1>
      ${one.word && two.word && html`<p class="verdict">${sameModel
        ? `Of the first ${smaller} units (${one.ranking}, ${one.view}) for “${one.word}” and “${two.word}”, ${shared.size} are the same${smaller ? `: ${percent(shared.size / smaller)}` : ""}.`
        : "Two language models: their units are not the same things and cannot be matched by name."}</p>`}</header>
    ${rankings && html`<div class="controls"><${Choice} legend="ranked by" name="compare-ranking" value=${one.ranking} options=${rankings.map((name) => [name, name])} onChange=${(next) => restate({ list: `${next}.${one.view}` })} /></div>`}
    <div class="two"><${Side} side="a" place=${a} data=${left} run=${runOf(a)} asked=${asked} shared=${shared} runs=${runs} />
      <${Side} side="b" place=${b} data=${right} run=${runOf(b)} asked=${asked} shared=${shared} runs=${runs} /></div>
    ${shared.size > 0 && html`<p class="small">Shaded: units that stand in both lists.</p>`}
  </article>`;
}
