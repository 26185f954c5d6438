import { html, useRef } from "./vendor/htm-preact.js";
import { Term } from "./glossary.js";
import { alone } from "./data.js";
import { unitAddress } from "./address.js";
import { known, patchName, percent, rounded, unitKey, unitName } from "./text.js";
import { Tokens } from "./tokens.js";

const FIRST_ROWS = 20;
// The field of a unit that a ranking orders by.
const ORDERED_BY = { raw: "score" };

export function orderedBy(ranking) {
  return ORDERED_BY[ranking] ?? ranking;
}

// What a ranking's number means, in one sentence.
export function meaning(ranking, view, about, others) {
  const score = about?.score ?? "gradient × activation";
  const sentences = {
    total: `Ordered by total: ${score}${view === "patches" ? ", summed over the patches" : ""}; to first order, what switching the unit off takes from the word.`,
    specific: "Ordered by how far the unit's score exceeds what it scores on the reference photos, in standard deviations.",
    raw: `Ordered by score: ${score}, ${view === "patches" ? "the largest over the patches" : "where the word is written"}. Units that score high in every photo are here, too.`,
    contrast: "Ordered by contrast: how far the unit's total exceeds its mean total for the same word after the same text, behind other photos.",
    change: "Ordered by change: how far the unit's mean activation over the patches is from what it is at the reference photos, in standard deviations either way. The word has no part in it.",
  };
  const passing = known(others)
    ? ` Of other photos' lists, ${percent(others)} of the units are in this one as well.`
    : " How many of another photo's units would be in it was not measured.";
  const read = about?.reads?.[view] ? ` What they write is read through ${about.reads[view]}.` : "";
  return (sentences[ranking] ?? "") + passing + read;
}

function Badges({ unit, about }) {
  return html`${unit.sink && html`<span class="badge sink" title=${about?.sinks ?? "near the top for at least half of the reference photos"}>sink</span>`}
    ${unit.sign < 0 && html`<span class="badge" title="it writes negatively: its tokens are those its output row lowers">−</span>`}`;
}

// Everything that the run holds of one unit of one word.
function Detail({ unit, about, run, grid, word, list, live, map }) {
  const fact = (name, term, value) => html`<div><dt><${Term} name=${term}>${name}</${Term}></dt><dd>${value}</dd></div>`;
  const chance = known(about?.words_by_chance) ? `; ten random tokens: in ${percent(about.words_by_chance)} of draws` : "";
  return html`<tr class="of-unit"><td colspan="5">
    ${map && html`<div class="detail-map" aria-hidden="true">${map}</div>`}
    <dl>
      ${fact("writes", "", html`<${Tokens} list=${unit.tokens} />`)}
      ${fact("suppresses", "", html`<${Tokens} list=${unit.suppressed} />`)}
      ${fact("7 of 10 words", "", `${unit.interpretable ? "yes" : "no"}${chance}`)}
      ${fact("score", "score", `${rounded(unit.score)}`)}
      ${fact("total", "total", rounded(unit.total))}
      ${known(unit.specific) && fact("specific", "specific", `${rounded(unit.specific)} standard deviations above its score on the reference photos`)}
      ${known(unit.contrast) && fact("contrast", "contrast", `${rounded(unit.contrast)} more than behind other photos`)}
      ${known(unit.change) && fact("change", "change", `${rounded(unit.change)} standard deviations from its mean activation at the reference photos`)}
      ${fact("share", "share", known(unit.share) ? `${rounded(100 * unit.share)} % of all units' summed scores` : "–")}
      ${fact("sign", "sign", unit.sign < 0 ? "acts negatively" : unit.sign > 0 ? "acts positively" : "does not act")}
      ${unit.peak_patch && fact("peak", "patch", `${patchName(unit.peak_patch)} of ${grid?.join(" × ")} patches`)}
    </dl>
    <p class="links">
      ${alone && html`<span class="hint">Look it up: <code>molyneux decode ${unitName(unit)}</code></span>`}
      ${run && !alone && html`<a href=${unitAddress(run, unitKey(unit))}>All about ${unitKey(unit)}</a>`}
      ${live && html`<a href=${live([unitKey(unit)], word, list)}>Switch it off</a>`}
    </p>
  </td></tr>`;
}

// A list of units, ordered. `chosen` and `pointed` are places in it.
export function UnitList({ units, ranking, view, about, run, grid, word, chosen, all, onChoose, onPoint, onAll, live, map }) {
  const field = orderedBy(ranking);
  const past = useRef(null);
  if (!units.length) return html`<p class="note">The run lists no units here.</p>`;
  const shown = all ? units : units.slice(0, FIRST_ROWS);
  const title = { total: "total", score: "score", specific: "specific", contrast: "contrast", change: "change" }[field] ?? field;
  return html`<div>
    <button type="button" class="pill skip" onClick=${() => past.current?.focus()}>Skip the list of units</button>
    <table class="ranked">
      <thead><tr><th scope="col" class="rank">#</th><th scope="col">writes</th><th scope="col"><${Term} name="unit" /></th>
        <th scope="col" class="number"><${Term} name=${title} /></th>
        ${field !== "share" && html`<th scope="col" class="number"><${Term} name="share" /></th>`}</tr></thead>
      <tbody onMouseLeave=${() => onPoint(null)}>${shown.map((unit, place) => {
        const open = chosen === unitKey(unit);
        return html`
        <tr key=${`${unitKey(unit)}-${place}`} data-unit=${unitKey(unit)} class=${open ? "row pinned" : "row"}
            onMouseEnter=${() => onPoint(place)}
            onClick=${(event) => !event.target.closest("a, button") && onChoose(open ? null : unitKey(unit))}>
          <td class="rank">${place + 1}</td>
          <td class="writes"><${Tokens} list=${unit.tokens} most=${6} /> <${Badges} unit=${unit} about=${about} /></td>
          <td class="named"><button type="button" class="unit" aria-expanded=${String(open)}
            onClick=${() => onChoose(open ? null : unitKey(unit))} onFocus=${() => onPoint(place)} onBlur=${() => onPoint(null)}>${unitName(unit)}</button></td>
          <td class="number" data-label=${title}>${rounded(unit[field])}</td>
          ${field !== "share" && html`<td class="number share" data-label="share">${known(unit.share) ? `${rounded(100 * unit.share)} %` : "–"}</td>`}
        </tr>
        ${open && html`<${Detail} key=${`${unitKey(unit)}-detail`} unit=${unit} about=${about} run=${run} grid=${grid}
          word=${word} list=${`${ranking}.${view}`} live=${live} map=${map?.(place)} />`}`;
      })}</tbody>
    </table>
    ${units.length > FIRST_ROWS && html`<button type="button" class="pill more" onClick=${onAll}>
      ${all ? `Show the first ${FIRST_ROWS}` : `Show all ${units.length}`}</button>`}
    <span ref=${past} tabindex="-1"></span>
  </div>`;
}
