import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { restate } from "./address.js";
import { Changed } from "./caption.js";
import { Frame, placeName } from "./frame.js";
import { Term } from "./glossary.js";
import { JobLine } from "./job.js";
import { Picker, photoOf, photoTitle, photoUrl, useChoices } from "./picker.js";
import { words } from "./parts.js";
import { useJob } from "./server.js";
import { capital, count, known, probability, rounded, times } from "./text.js";
import { Token } from "./tokens.js";

const names = (places, columns) => [...places].sort((a, b) => a - b).map((n) => `${Math.floor(n / columns)}.${n % columns}`).join(",");

function placesOf(asked, grid) {
  if (!asked || !grid) return new Set();
  return new Set(asked.split(",").map((one) => one.split(".").map(Number))
    .filter(([row, column]) => row >= 0 && row < grid[0] && column >= 0 && column < grid[1]).map(([row, column]) => row * grid[1] + column));
}

// How many times as likely the first photo's own words become, and in the controls.
function gainOf(result) {
  const said = new Set((result.from ?? "").toLowerCase().match(/\p{L}+/gu) ?? []);
  const ratio = (row, key) => (known(row[key]) && row.before > 0 ? row[key] / row.before : null);
  const rows = (result.probabilities ?? []).filter((row) => said.has(row.word.toLowerCase()) && known(row.after))
    .map((row) => ({ word: row.word, after: ratio(row, "after"), random: ratio(row, "random"), third: ratio(row, "third") }));
  return rows.find(({ after }) => after !== null) ?? null;
}


// What the result says, before its numbers: did the photo's own values do what controls do not?
export function verdictOf(result) {
  const clean = (text) => (text ?? "").trim().toLowerCase().replace(/\.$/, "");
  const [before, after, random, third] = [result.before, result.caption, result.random?.caption, result.third?.caption].map(clean);
  const gain = gainOf(result);
  const controls = gain && [["random units", gain.random], ["a third photo's values", gain.third]].filter(([, ratio]) => ratio !== null);
  const likely = gain && `“${gain.word}” becomes ${rounded(gain.after)} times as likely${controls.length
    ? ` (${controls.map(([name, ratio]) => `${name}: ${rounded(ratio)}`).join(", ")})` : ""}`;
  const carries = gain && gain.after > 1 && controls.every(([, ratio]) => gain.after > ratio);
  if (after !== before) {
    const same = [result.random && random === after && "as many random units", result.third && third === after && "a third photo's values"].filter(Boolean);
    if (same.length) return `“${before}” becomes “${after}”, but ${same.join(" and ")} do the same: not evidence that it was carried from the first photo.`;
    return `With the first photo's values in its patches, “${before}” becomes “${after}”; no control makes it say this.${likely ? ` ${capital(likely)}.` : ""}`;
  }
  if (!gain) return "The caption stays as it was.";
  return `The caption stays as it was; ${likely}${carries ? ": these units carry some of it, not enough to be said" : ": no more than controls do, not evidence"}.`;
}

function Row({ name, hint, caption, before, lead, norm, strong }) {
  return html`<div class=${strong ? "rewrite strong" : "rewrite"}><dt>${name}<span class="hint">${hint}</span></dt>
    <dd><${Changed} lead=${lead} caption=${caption} before=${before} />
      ${known(norm) && html`<span class="hint norm" title="how much the edit changes what the units write into the residual stream"> edit of ${rounded(norm, 3)}</span>`}</dd></div>`;
}

export function ProbabilityTable({ rows, columns }) {
  const largest = Math.max(...rows.flatMap((row) => columns.map(([key]) => row[key] ?? 0)), 1e-12);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Probabilities of the words asked for"><table class="numbers probabilities">
    <caption>Probability of each word where the first noun is due</caption>
    <thead><tr><th scope="col">word</th>${columns.map(([key, label]) => html`<th key=${key} scope="col">${label}</th>`)}<th scope="col">after : before</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.word}><th scope="row">${row.word}${row.token && html` <span class="hint">its first token, <${Token} text=${row.token} /></span>`}</th>
      ${columns.map(([key]) => html`<td key=${key} class=${key}><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect width=${(100 * (row[key] ?? 0)) / largest} height="8" /></svg>${probability(row[key])}</td>`)}
      <td>${times(row.before, row.after)}</td></tr>`)}</tbody></table></div>`;
}

// Two photos: what one photo's patches hold is put into the other's, and the caption read again.
export function Transplant({ asked, runs }) {
  const choices = useChoices(runs);
  const job = useJob();
  const [result, setResult] = useState(null);
  const [grid, setGrid] = useState(null);
  const [ask, setAsk] = useState(asked.ask ?? "");
  const from = asked.from ?? choices?.[0]?.name ?? null;
  const into = asked.into ?? choices?.[1]?.name ?? from;
  const chosen = placesOf(asked.patches, grid);
  const lead = runs.live?.lead ?? "A picture of";
  const urls = Object.fromEntries((choices ?? []).map(({ name, url }) => [name, url]));
  const urlOf = (name) => urls[name] ?? photoUrl(name);
  useEffect(() => {
    const patches = runs.live?.grid ?? runs.runs.find((run) => run.model?.patches)?.model.patches;
    if (patches) setGrid(patches);
  }, [runs]);
  useEffect(() => setResult(null), [from, into, asked.patches]);

  async function start() {
    restate({ from, into });
    const found = await job.start({
      kind: "transplant", from: photoOf(from), into: photoOf(into), units: "change",
      patches: chosen.size ? [...chosen].sort((a, b) => a - b) : null, ask: words(ask),
    });
    if (!found) return;
    if (found.grid) setGrid(found.grid);
    setResult(found);
  }
  const cells = grid && {
    grid, several: true, chosen,
    label: (n) => placeName(n, grid),
    onChoose: (n) => {
      const next = new Set(chosen);
      if (!next.delete(n)) next.add(n);
      restate({ patches: names(next, grid[1]) || null });
    },
  };
  return html`<article class="transplant">
    <header class="view-head"><h1>Put what one photo holds into another</h1>
      <p class="lede">The <${Term} name="unit">units</${Term}> that the first photo <${Term} name="change">changes</${Term}> most, chosen without any word, take the values they had there,${" "}
        <${Term} name="patch">patch</${Term}> by patch, inside the second. Then the model writes its caption anew. No word was picked: if the caption turns to the first photo, and it does not with random units or a third photo’s values, these units carried it.</p></header>
    <div class="pair">
      <section aria-labelledby="from-photo"><h2 id="from-photo">From this photo</h2>
        <${Picker} label="the first photo" choices=${choices} onPick=${(name) => restate({ from: name })}>
          <${Frame} src=${urlOf(from)} alt=${`The first photo, ${photoTitle(from)}`} grid=${grid} cells=${cells} /></${Picker}>
        ${grid && html`<p class="hint">${chosen.size ? html`${chosen.size} of ${grid[0] * grid[1]} patches are taken. <button type="button" class="pill" onClick=${() => restate({ patches: null })}>Take all</button>`
          : "All patches are taken; click some to take only those."}</p>`}
      </section>
      <div class="swap"><button type="button" class="pill" aria-label="Exchange the two photos" onClick=${() => restate({ from: into, into: from })}>⇄</button></div>
      <section aria-labelledby="into-photo"><h2 id="into-photo">Into this one</h2>
        <${Picker} label="the second photo" choices=${choices} onPick=${(name) => restate({ into: name })}>
          <${Frame} src=${urlOf(into)} alt=${`The second photo, ${photoTitle(into)}`} grid=${grid} /></${Picker}>
      </section>
      <section class="result" aria-labelledby="result"><h2 id="result">What it writes then</h2>
        <form class="ask" onSubmit=${(event) => { event.preventDefault(); start(); }}>
          <label>Words to ask for <input type="text" value=${ask} placeholder="cat, dog" onInput=${(event) => setAsk(event.target.value)} onChange=${(event) => restate({ ask: event.target.value })} /></label>
          <button type="submit" class="go" disabled=${!from || !into || job.busy}>Transplant</button>
        </form>
        <${JobLine} job=${job} />
        ${result ? html`
          <p class="verdict" role="status">${capital(verdictOf(result))}</p>
          <dl class="rewrites">
            <${Row} name="as it is" hint="the second photo" caption=${result.before} before=${result.before} lead=${lead} />
            <${Row} name="with the first photo's values" hint=${count(result.units, "unit", "units")} caption=${result.caption} before=${result.before} lead=${lead} norm=${result.edit_norm} strong=${true} />
            ${result.random && html`<${Row} name="as many random units" hint="control, of the same layers" caption=${result.random.caption} before=${result.before} lead=${lead} norm=${result.random.edit_norm} />`}
            ${result.third && html`<${Row} name="a third photo's values" hint=${`control: its own caption is “${result.third.shows}”`} caption=${result.third.caption} before=${result.before} lead=${lead} norm=${result.third.edit_norm} />`}
          </dl>
          ${known(result.random?.edit_norm) && result.random.edit_norm < 0.8 * result.edit_norm && html`<p class="hint">The random units' edit is a smaller one:
            ${rounded(result.random.edit_norm, 3)} beside ${rounded(result.edit_norm, 3)}. The third photo's values change the same units.</p>`}
          ${result.probabilities?.length > 0 && html`<${ProbabilityTable} rows=${result.probabilities} columns=${[["before", "as it is"], ["after", "first photo's"], ["random", "random"], ["third", "third photo's"]].filter(([key]) => result.probabilities.some((row) => known(row[key])))} />`}`
        : !job.busy && html`<p class="hint">Beside it stand as many random units, and a third photo's values: what they do as well is no evidence.</p>`}
      </section>
    </div>
  </article>`;
}
