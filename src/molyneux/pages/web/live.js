import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { restate } from "./address.js";
import { Changed } from "./caption.js";
import { Frame } from "./frame.js";
import { Term } from "./glossary.js";
import { JobLine } from "./job.js";
import { Choice, words } from "./parts.js";
import { PhotoPage } from "./photo.js";
import { Picker, photoOf, photoTitle, photoUrl, useChoices } from "./picker.js";
import { useJob } from "./server.js";
import { count, percent, probability } from "./text.js";
import { ProbabilityTable } from "./transplant.js";
import { Token } from "./tokens.js";

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const SETS = [
  ["change", "changed most by this photo"], ["total", "largest totals for a word"], ["specific", "most specific for a word"],
  ["raw", "highest scores for a word"], ["contrast", "largest contrast for a word"], ["random", "random (control)"], ["named", "units by name"],
];
const OF_A_WORD = new Set(["total", "specific", "raw", "contrast"]);
const VALUES = [["0", "off"], ["mean", "their mean"], ["scale", "scaled"]];

function specOf(asked, word) {
  const set = asked.set ?? (asked.units ? "named" : "change");
  const units = set === "named" ? (asked.units ?? "").split(/[\s,]+/).filter(Boolean)
    : { set, view: asked.list?.split(".")[1] ?? "patches", top: Number(asked.top ?? 100), ...(word && { word }) };
  const value = asked.value === "mean" ? "mean" : asked.value === "scale" ? { scale: Number(asked.scale ?? 2) } : 0;
  return { units, value, positions: asked.at ?? "all" };
}

function told(result, spec) {
  const strip = (text) => (text ?? "").trim().replace(/\.$/, "");
  const how = spec.value === 0 ? "off" : spec.value === "mean" ? "at their mean" : `scaled by ${spec.value.scale}`;
  const number = result.units.length;
  const units = `With ${count(number, "unit", "units")} ${how}`;
  const random = result.random && strip(result.random.caption);
  if (strip(result.caption) === strip(result.before)) return `${units} the caption stays as it was.`;
  const beside = random === undefined || random === null ? ""
    : random === strip(result.before) ? "; with as many random ones it stays as it was"
    : random === strip(result.caption) ? ", and as many random ones do the same: no evidence" : `; as many random ones make it “${random}”`;
  return `${units}, “${strip(result.before)}” becomes “${strip(result.caption) || "nothing"}”${beside}.`;
}

function NextTokens({ next }) {
  if (!next) return null;
  const side = (rows, title) => html`<div><h4>${title}</h4><ol class="next">${rows.map(([token, chance], n) => html`<li key=${n}><${Token} text=${token} /><span class="number">${percent(chance)}</span></li>`)}</ol></div>`;
  return html`<details open><summary>What it would write next, after ${"“a picture of a”"}</summary><div class="next-pair">${side(next.before, "before")}${side(next.after, "after")}</div></details>`;
}

// A photo, units, and what becomes of the caption without them.
export function Live({ asked, runs }) {
  const choices = useChoices(runs);
  const reading = useJob();
  const editing = useJob();
  const explaining = useJob();
  const [caption, setCaption] = useState(null);
  const [results, setResults] = useState([]); // what was tried, the newest last
  const [explained, setExplained] = useState(null);
  const photo = asked.photo ?? choices?.[0]?.name ?? null;
  const lead = runs.live?.lead ?? "A picture of";
  const url = choices?.find(({ name }) => name === photo)?.url ?? photoUrl(photo);
  const word = asked.word || caption?.words?.[0]?.word || "";
  const set = asked.set ?? (asked.units ? "named" : "change");
  const step = Math.max(0, STEPS.findIndex((top) => top >= Number(asked.top ?? 100)));
  const [top, setTop] = useState(step);
  const asks = useRef(null);
  useEffect(() => setTop(step), [step]);

  useEffect(() => {
    setCaption(null);
    setResults([]);
    setExplained(null);
    if (photo) reading.start({ kind: "caption", photo: photoOf(photo) }).then((found) => found && setCaption(found));
  }, [photo]);

  async function apply(change = {}) {
    restate(change);
    const now = { ...asked, ...change };
    const spec = specOf(now, now.word || word);
    const ask = [...new Set([...words(now.ask ?? ""), ...(caption?.words ?? []).map((one) => one.word)])];
    const found = await editing.start({ kind: "change", photo: photoOf(photo), ...spec, ask });
    if (found) setResults((all) => [...all, { result: found, spec, asked: { ...now } }]);
  }
  function undo() {
    const rest = results.slice(0, -1);
    setResults(rest);
    const last = rest.at(-1)?.asked;
    if (last) restate(Object.fromEntries(["set", "top", "units", "value", "scale", "at", "word"].map((name) => [name, last[name] ?? null])));
  }
  async function explain() {
    const found = await explaining.start({ kind: "explain", photo: photoOf(photo), words: words(asked.ask ?? "") });
    if (found) setExplained(found);
  }
  const newest = results.at(-1);
  return html`<article class="live">
    <header class="view-head"><h1>Switch units off, and read again</h1>
      <p class="lede">Choose a photo and some of the model's <${Term} name="unit">units</${Term}>; it writes the caption anew with them off, scaled, or at their mean.</p></header>
    <div class="bench">
      <div class="sight-side"><${Picker} label="a photo" choices=${choices} onPick=${(name) => restate({ photo: name, word: null, units: null, unit: null, patch: null })}>
        <${Frame} src=${url} alt=${`The photo, ${photoTitle(photo)}`} grid=${null} /></${Picker}></div>
      <div class="say">
        ${caption ? html`<h2 class="caption"><span class="lead">${lead} </span>${caption.caption}</h2>
          <p class="chips"><span class="hint">Probability where the first noun is due:</span> ${caption.words.map((one) => html`<button key=${one.word} type="button" class="chip" aria-pressed=${String(one.word === word)} onClick=${() => restate({ word: one.word })}>${one.word} <span class="hint">${probability(one.probability)}</span></button>`)}</p>`
          : html`<${JobLine} job=${reading} />`}
        <form class="panel" onSubmit=${(event) => { event.preventDefault(); apply({ ask: asks.current.value || null }); }}>
          <label>Which units <select value=${set} onChange=${(event) => restate({ set: event.target.value, units: event.target.value === "named" ? asked.units ?? "" : null })}>
            ${SETS.map(([key, label]) => html`<option key=${key} value=${key}>${label}</option>`)}</select></label>
          ${OF_A_WORD.has(set) && html`<label>For the word <input type="text" value=${word} onChange=${(event) => restate({ word: event.target.value })} /></label>`}
          ${set === "named" ? html`<label class="wide">Their names <input type="text" class="mono" value=${asked.units ?? ""} placeholder="L12.u905, L20.u764" onChange=${(event) => restate({ units: event.target.value, set: "named" })} /></label>`
            : html`<label class="wide">How many: <output>${STEPS[top].toLocaleString("en")}</output>
              <input type="range" min="0" max=${STEPS.length - 1} step="1" value=${top} aria-valuetext=${`${STEPS[top]} units`}
                onInput=${(event) => setTop(Number(event.target.value))} onChange=${(event) => apply({ top: String(STEPS[Number(event.target.value)]), set })} /></label>`}
          <${Choice} legend="set them" name="value" options=${VALUES} value=${asked.value ?? "0"} onChange=${(value) => restate({ value })} />
          ${asked.value === "scale" && html`<label>Times <input type="number" step="0.5" value=${asked.scale ?? "2"} onChange=${(event) => restate({ scale: event.target.value })} /></label>`}
          <${Choice} legend="at" name="at" options=${[["all", "all positions"], ["patches", "the patches"]]} value=${asked.at ?? "all"} onChange=${(at) => restate({ at })} />
          <label class="wide">Ask for words <input type="text" ref=${asks} value=${asked.ask ?? ""} placeholder="dog, water" /></label>
          <div class="actions">
            <button type="submit" class="go" disabled=${!photo || editing.busy}>${(asked.value ?? "0") === "0" ? "Switch off" : "Change"}</button>
            <button type="button" class="pill" disabled=${!results.length} onClick=${undo}>Undo</button>
            <${JobLine} job=${editing} />
          </div>
        </form>
        ${newest && html`<section class="part first" aria-labelledby="then"><h2 id="then">What it writes then</h2>
          <p class="verdict" role="status">${told(newest.result, newest.spec)}</p>
          <dl class="rewrites">
            <div class="rewrite"><dt>before</dt><dd><span class="lead">${lead} </span>${newest.result.before}</dd></div>
            <div class="rewrite strong"><dt>after<span class="hint">${count(newest.result.units.length, "unit", "units")}</span></dt><dd><${Changed} lead=${lead} caption=${newest.result.caption} before=${newest.result.before} /></dd></div>
            ${newest.result.random && html`<div class="rewrite"><dt>as many random units<span class="hint">control, of the same layers</span></dt><dd><${Changed} lead=${lead} caption=${newest.result.random.caption} before=${newest.result.before} /></dd></div>`}
          </dl>
          ${newest.result.probabilities?.length > 0 && html`<${ProbabilityTable} rows=${newest.result.probabilities} columns=${[["before", "before"], ["after", "after"], ["random", "random"]]} />`}
          <${NextTokens} next=${newest.result.next} />
          ${results.length > 1 && html`<details><summary>What was tried before</summary><ol class="tried">${[...results].slice(0, -1).reverse().map(({ result, spec }, n) => html`<li key=${n}>${told(result, spec)}</li>`)}</ol></details>`}
        </section>`}
        <section class="part" aria-labelledby="why-so"><h2 id="why-so">What wrote it</h2>
          <p><button type="button" class="pill" disabled=${!photo || explaining.busy} onClick=${explain}>Explain this photo</button> <span class="hint">scores every unit for every noun: some seconds</span></p>
          <${JobLine} job=${explaining} /></section>
      </div>
    </div>
    ${explained && html`<${PhotoPage} data=${explained} asked=${asked} name=${photoTitle(photo)}
      live=${(units, of, list) => `#/live?${new URLSearchParams({ photo, units: units.join(","), set: "named", word: of ?? "", list: list ?? "" })}`} />`}
  </article>`;
}
