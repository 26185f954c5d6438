import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { default as MiniSearch } from "./vendor/minisearch.js";
import { photoAddress, restate, unitAddress } from "./address.js";
import { searchAtlas } from "./atlas.js";
import { load } from "./data.js";
import { Failure, Loading } from "./parts.js";
import { isSeen, known, signed } from "./text.js";
import { Tokens } from "./tokens.js";

const SHOWN = 40;
const CHUNK = 1000; // rows that are indexed in one go
const SHORTEST = 2; // letters: one stands at the beginning of half of all tokens
const PAUSE = 150; // milliseconds after the last key until the server is asked

function layersOf(text) {
  const [from, to] = (text ?? "").split("-").map((one) => (one === "" ? NaN : Number(one)));
  return [Number.isFinite(from) ? from : 0, Number.isFinite(to) ? to : Number.isFinite(from) && !(text ?? "").includes("-") ? from : Infinity];
}

const layerOf = (unit) => Number(/^L(\d+)/.exec(unit)?.[1] ?? -1);

// The units and photos of the runs, indexed in the page: piece by piece, so that it stays at hand,
// and once, however often one comes back.
const made = new Map();

async function makeIndex(runs) {
  const units = new MiniSearch({ fields: ["tokens", "words"], storeFields: ["run", "unit", "shown", "words"], idField: "key" });
  const photos = new MiniSearch({ fields: ["caption", "words"], storeFields: ["run", "n", "caption"], idField: "key" });
  const named = [];
  for (const run of runs) {
    const { units: rows = [], photos: pictures = [] } = await load(`search/${run.id}`);
    const found = rows.map((row) => ({ key: `${run.id}/${row.id}`, run: run.id, unit: row.id, shown: row.tokens ?? [],
      tokens: (row.tokens ?? []).filter(isSeen).join(" "), words: (row.words ?? []).join(" ") }));
    named.push(...found.map((row) => ({ ...row, id: row.key })));
    await units.addAllAsync(found, { chunkSize: CHUNK });
    await photos.addAllAsync(pictures.map((row) => ({ key: `${run.id}/${row.n}`, run: run.id, n: row.n, caption: row.caption ?? "", words: (row.words ?? []).join(" ") })), { chunkSize: CHUNK });
  }
  return { units, photos, named };
}

function useIndex(runs) {
  const [index, setIndex] = useState({ value: null, error: null });
  const key = runs.map(({ id, finished }) => `${id}:${finished}`).join();
  useEffect(() => {
    let wanted = true;
    if (!made.has(key)) made.set(key, makeIndex(runs));
    made.get(key).then(
      (value) => wanted && setIndex({ value, error: null }),
      (error) => { made.delete(key); if (wanted) setIndex({ value: null, error: error.message }); });
    return () => { wanted = false; };
  }, [key]);
  return index;
}

// A unit's name, or the beginning of one, names units; anything else is a word that they write.
function unitsLike(index, text) {
  if (/^L\d+(\.u\d*)?$/i.test(text)) {
    const start = text.toLowerCase();
    const whole = start.includes(".") ? "" : ".";
    return index.named.filter(({ unit }) => unit.toLowerCase().startsWith(start + whole))
      .sort((a, b) => a.unit.length - b.unit.length);
  }
  return index.units.search(text, { prefix: true, combineWith: "AND", boost: { tokens: 2 } });
}

// What the atlas of the whole model finds.
function useAtlas(asked, on) {
  const [state, setState] = useState({ rows: null, error: null, busy: false });
  const { q = "", layer = "", by = "", sign = "" } = asked;
  useEffect(() => {
    if (!on || !q.trim()) {
      setState({ rows: null, error: null, busy: false });
      return undefined;
    }
    let wanted = true;
    setState((now) => ({ ...now, busy: true }));
    const timer = setTimeout(() => {
      searchAtlas({ q, layer, by, sign, limit: SHOWN }).then(
        (rows) => wanted && setState({ rows, error: null, busy: false }),
        (error) => wanted && setState({ rows: null, error: error.message, busy: false }));
    }, PAUSE);
    return () => { wanted = false; clearTimeout(timer); };
  }, [q, layer, by, sign, on]);
  return state;
}

function AtlasRow({ row, run, sought }) {
  return html`<li><a class="mono" href=${unitAddress(run, row.unit.replace(/-$/, ""))}>${row.unit}</a><${Tokens} list=${row.tokens} most=${8} sought=${sought} />
    ${known(row.effect) && html`<span class="hint">takes ${signed(row.effect, 3)}${known(row.effect_low) ? ` [${signed(row.effect_low, 3)}, ${signed(row.effect_high, 3)}]` : ""} logits, n = ${row.n_effect}${known(row.mismatched_effect) ? `; other photos' units ${signed(row.mismatched_effect, 3)}` : ""}</span>`}</li>`;
}

export function Find({ asked, runs }) {
  const { value: index, error } = useIndex(runs.runs);
  const atlas = useAtlas(asked, Boolean(runs.atlas));
  const text = (asked.q ?? "").trim();
  const [from, to] = layersOf(asked.layer);
  const found = useMemo(() => {
    if (!index || text.length < SHORTEST) return null;
    const units = unitsLike(index, text).filter(({ unit }) => layerOf(unit) >= from && layerOf(unit) <= to);
    return { units: asked.by === "layer" ? units.sort((a, b) => layerOf(a.unit) - layerOf(b.unit)) : units, photos: index.photos.search(text, { prefix: true, combineWith: "AND" }) };
  }, [index, text, from, to, asked.by]);
  const run = runs.runs[0]?.id;
  const named = /^L\d+\.u\d+$/i.test(text) && run ? `L${text.slice(1).toLowerCase()}` : null;
  return html`<div class="find">
    <header class="view-head"><h1>Find units and photos</h1>
      <p class="lede">By a word a unit writes, the beginning of one, a unit's name, or a photo's caption.</p></header>
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <label class="wide">Word <input type="search" value=${asked.q ?? ""} placeholder="water, wat, L12.u905" onInput=${(event) => restate({ q: event.target.value })} /></label>
      <label>Layers <input type="text" inputmode="numeric" size="6" value=${asked.layer ?? ""} placeholder="5-12" onInput=${(event) => restate({ layer: event.target.value })} /></label>
      <label>Sorted by <select value=${asked.by ?? ""} onChange=${(event) => restate({ by: event.target.value })}>
        <option value="">how well it fits</option><option value="layer">layer</option>${runs.atlas && html`<option value="effect">causal effect</option>`}</select></label>
      ${runs.atlas && html`<label>Sign <select value=${asked.sign ?? ""} onChange=${(event) => restate({ sign: event.target.value })}>
        <option value="">either</option><option value="1">writes positively</option><option value="-1">writes negatively</option></select></label>`}
    </form>
    ${error && html`<${Failure}>${error}</${Failure}>`}
    ${!index && !error && html`<${Loading} what="the units of the runs" />`}
    ${named && html`<p>The unit <a class="mono" href=${unitAddress(run, named)}>${named}</a></p>`}
    ${text && !named && atlas.rows && html`<section class="part first" aria-labelledby="in-atlas"><h2 id="in-atlas">In the atlas of the model <span class="hint">${atlas.rows.length} shown</span></h2>
      ${atlas.rows.length ? html`<ol class="near">${atlas.rows.map((row, n) => html`<${AtlasRow} key=${n} row=${row} run=${run} sought=${text.toLowerCase()} />`)}</ol>` : html`<p class="hint">No unit of the model writes it among its first tokens.</p>`}</section>`}
    ${text && atlas.busy && !atlas.rows && html`<${Loading} what="the atlas of the model" />`}
    ${text && atlas.error && html`<p class="hint">The atlas: ${atlas.error}</p>`}
    ${found && html`
      <section class="part first" aria-labelledby="in-runs"><h2 id="in-runs">Units in the runs' lists <span class="hint" role="status">${found.units.length} found</span></h2>
        ${found.units.length ? html`<ol class="near found-units">${found.units.slice(0, SHOWN).map((row) => html`<li key=${row.id}>
          <a class="mono" href=${unitAddress(row.run, row.unit)}>${row.unit}</a><${Tokens} list=${row.shown} most=${8} sought=${text.toLowerCase()} />
          ${row.words && html`<span class="hint">listed for ${row.words.split(" ").slice(0, 6).join(", ")}</span>`}</li>`)}</ol>` : html`<p class="hint">No listed unit writes it.</p>`}</section>
      <section class="part" aria-labelledby="in-photos"><h2 id="in-photos">Photos <span class="hint">${found.photos.length} found</span></h2>
        ${found.photos.length ? html`<ol class="near photos-found">${found.photos.slice(0, SHOWN).map((row) => html`<li key=${row.id}><a href=${photoAddress(row.run, row.n)}>${row.caption}</a></li>`)}</ol>` : html`<p class="hint">No caption says it.</p>`}</section>`}
    ${!text && index && html`<p class="hint">${index.units.documentCount.toLocaleString("en")} listed units and ${index.photos.documentCount.toLocaleString("en")} photos can be searched here.</p>`}
  </div>`;
}
