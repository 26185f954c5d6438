import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { address, photoAddress, restate } from "./address.js";
import { useData } from "./data.js";
import { Failure, Loading } from "./parts.js";
import { Record } from "./record.js";
import { withToken } from "./server.js";
import { Verdicts } from "./study.js";
import { count, known } from "./text.js";

const AT_FIRST = 60;
const SOON = 0.15; // seconds until more of a long run is asked for
const RELOAD = 5; // seconds, while a study runs

function Progress({ finished = 0, total = 0 }) {
  if (finished >= total) return null;
  return html`<p class="progress" role="status"><progress max=${total} value=${finished} aria-label="Photos finished"></progress>
    <span>${finished} of ${count(total, "photo", "photos")} finished</span></p>`;
}

function matches(card, asked) {
  const text = (asked.q ?? "").trim().toLowerCase();
  if (text) {
    const held = [card.name, card.caption, card.error, ...(card.words ?? []), ...(card.says ?? [])];
    if (!held.some((one) => one?.toLowerCase().includes(text))) return false;
  }
  if (asked.word && card.noun !== asked.word) return false;
  if (asked.trust && !(known(card.trust?.value) && card.trust.value >= Number(asked.trust))) return false;
  return true;
}

function Card({ run, card, pictures }) {
  return html`<li><a class="photo-card" href=${photoAddress(run.id, card.n)}>
    ${card.photo ? html`<img src=${withToken(card.photo)} alt="" loading="lazy" />` : pictures && html`<span class="no-photo" aria-hidden="true">×</span>`}
    <span class="card-text">
      <span class="card-caption">${card.error ? "not read" : html`<span class="lead">${run.lead ?? ""} </span>${card.caption}`}</span>
      ${card.error && html`<span class="hint">${card.error}</span>`}
      ${card.agrees === false && html`<span class="hint otherwise">people see something else</span>`}
      ${card.trust && html`<span class="hint">${card.trust.text}</span>`}
      ${card.found && html`<span class="hint">${card.found}</span>`}
      ${card.says?.length > 0 && html`<span class="says"><span class="hint">patches say</span> ${card.says.slice(0, 5).map((word) => html`<span key=${word} class=${card.words?.includes(word) ? "say-word both" : "say-word"}>${word}</span>`)}</span>`}
      ${!pictures && card.words?.length > 0 && html`<span class="hint">people: ${card.words.slice(0, 6).join(", ")}</span>`}
      <span class="name">${card.name}</span>
    </span>
  </a></li>`;
}

// A run's cards: {value, error, behind}. A long run is read a moment at a time, and asked for at
// once again until all its cards are here; one that goes on, now and then.
export function useGallery(id) {
  const [wait, setWait] = useState(null);
  const { value, error } = useData(id && `gallery/${id}`, wait);
  const behind = Boolean(value && value.cards.length < (value.finished ?? 0));
  const going = Boolean(value && (value.finished ?? 0) < (value.total ?? 0));
  useEffect(() => setWait(behind ? SOON : going ? RELOAD : null), [behind, going]);
  return { value, error, behind };
}

export function Gallery({ run, asked }) {
  const { value, error, behind } = useGallery(run.id);
  const [more, setMore] = useState(AT_FIRST);
  if (error) return html`<${Failure}>${error}</${Failure}>`;
  if (!value) return html`<${Loading} />`;
  const nouns = [...value.cards.reduce((all, { noun }) => (noun ? all.set(noun, (all.get(noun) ?? 0) + 1) : all), new Map())]
    .sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
  const cards = value.cards.filter((card) => matches(card, asked));
  const pictures = value.cards.some(({ photo }) => photo); // a study may keep none
  const hasTrust = value.cards.some(({ trust }) => known(trust?.value));
  return html`<div>
    <header class="view-head">
      <h1>${run.name}</h1>
      <p class="lede">${count(value.total ?? value.cards.length, "photo", "photos")}${behind ? `, ${value.cards.length} read so far` : ""} · ${run.model?.language_model ?? run.model?.name}${run.model?.sees ? `, ${run.model.sees}` : ""}
        ${run.model?.layers ? ` · ${run.model.layers} layers, ${count(run.model.units, "unit", "units")}` : ""}</p>
      ${value.order === "surest" && value.cards.length > 1 && html`<p class="hint">The photos whose first noun the model is surest of come first.</p>`}
      <${Progress} finished=${value.finished} total=${value.total} />
    </header>
    <${Verdicts} run=${run} claims=${run.claims} />
    ${run.results > 0 && html`<p class="links to-study"><a href=${address(`${run.id}/study`)}>All figures and tables of the study</a></p>`}
    ${value.pictures?.without > 0 && html`<p class="note">Not shown: ${count(value.pictures.without, "photo", "photos")} of which ${value.pictures.of} has no file with the same bytes.</p>`}
    <form class="filters" role="search" aria-label="Filter the photos" onSubmit=${(event) => event.preventDefault()}>
      <label>Text <input type="search" value=${asked.q ?? ""} placeholder="caption, name, what patches say" onInput=${(event) => restate({ q: event.target.value })} /></label>
      <label>First noun <select value=${asked.word ?? ""} onChange=${(event) => restate({ word: event.target.value })}>
        <option value="">any</option>${nouns.map(([noun, n]) => html`<option key=${noun} value=${noun}>${noun} (${n})</option>`)}</select></label>
      ${hasTrust && html`<label>Right at least <select value=${asked.trust ?? ""} onChange=${(event) => restate({ trust: event.target.value })}>
        <option value="">any</option>${[0.3, 0.5, 0.7, 0.9].map((rate) => html`<option key=${rate} value=${rate}>${100 * rate} % of the time</option>`)}</select></label>`}
      <span class="hint" role="status">${cards.length === value.cards.length ? `${cards.length} shown` : `${cards.length} of ${value.cards.length}`}</span>
    </form>
    ${cards.length ? html`<ol class=${pictures ? "cards" : "cards texts"}>${cards.slice(0, more).map((card) => html`<${Card} key=${card.n} run=${run} card=${card} pictures=${pictures} />`)}</ol>`
      : html`<p class="note">No photo is like that. <button type="button" class="pill" onClick=${() => restate({ q: null, word: null, trust: null })}>Show all</button></p>`}
    ${cards.length > more && html`<button type="button" class="pill more" onClick=${() => setMore(more + 4 * AT_FIRST)}>Show more</button>`}
    <${Record} run=${run.id} />
  </div>`;
}
