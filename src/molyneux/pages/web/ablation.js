import { html } from "./vendor/htm-preact.js";
import { Changed } from "./caption.js";
import { Chart, ceilingOf, panelsOf } from "./curves.js";
import { Term } from "./glossary.js";
import { Table } from "./parts.js";
import { known, percent, repeats, sentence } from "./text.js";

const VIEWS = { patches: "At the patches", last: "At the last position" };

// What is left of a word as units are switched off, each ranking with every control measured.
export function Ablations({ word, told, about }) {
  const views = [word.ablation, word.ablation_last].filter(Boolean);
  if (!views.length) return told?.missing ? html`<p class="note">${sentence(told.missing)}</p>` : null;
  const absent = views[0].absent_word;
  return html`<section class="part" aria-labelledby="left-of">
    <h2 id="left-of">What is left of “${word.word}” with units off</h2>
    ${word.warning && html`<p class="note under-floor">Under the floor of trust: these numbers say nothing about the photo.</p>`}
    <p class="lede">The word's probability, as a share of what it is with nothing switched off. This says which units the word needs;
      it is no evidence that they see: units picked by a word's own gradient take a word that nobody sees, too.</p>
    <div class="views">
      ${views.map((curves) => html`<section key=${curves.view} class="view">
        <h3>${VIEWS[curves.view]} <span class="hint">units ranked ${curves.view === "patches" ? "where the photo is" : "where the word is written"}</span></h3>
        ${panelsOf(curves).map((panel) => html`<figure key=${panel.name}>
          <figcaption><b><${Term} name=${panel.name === "total" ? "total" : panel.name}>${panel.title}</${Term}></b> – ${panel.about}${panel.name === "raw" && told?.raw[curves.view] ? `; ${told.raw[curves.view]}` : ""}</figcaption>
          <${Chart} curves=${curves} panel=${panel} ceiling=${ceilingOf(curves)} />
        </figure>`)}
      </section>`)}
    </div>
    <p class="small">Set to zero at ${views[0].positions === "patches" ? "the patches" : "all positions"}.
      Matched: of the same layers and strength as the specific units.${" "}
      Random: as many in each layer as the raw top, never one of it${views[0].seeds ? `; the band is one standard deviation over ${views[0].seeds} draws` : ""}.
      ${absent && ` Absent: what the own units of “${absent}”, which nobody named here, leave of that word.`}
      ${known(about?.words_by_chance) && ` 7 of 10 words: the raw top's whose ten tokens hold seven words; ten random tokens do in ${percent(about.words_by_chance)} of draws.`}
      ${word.unrelated?.length > 0 && ` Unrelated nouns, dashed: ${word.unrelated.join(", ")}.`}${" "}
      A triangle marks a share above the top of the plot.</p>
    ${told?.missing && html`<p class="note">${sentence(told.missing)}</p>`}
    ${told?.listed_sinks.map((line) => html`<p key=${line} class="small listed-sinks">${line}</p>`)}
    ${told?.claims.map((claim) => html`<p key=${claim.view} class="told small"><b>${claim.title}:</b> ${claim.sentence} ${claim.caveat} ${claim.interval}</p>`)}
    ${told?.curves.length > 0 && html`<details><summary>The same as tables</summary>
      ${told.curves.map((one) => html`<${Table} key=${one.view} caption=${`${VIEWS[one.view]}: share of the probability left`}
        columns=${["units off", ...one.grid]} rows=${one.rows.map(([name, cells]) => [name, ...cells])} />`)}
    </details>`}
  </section>`;
}

// Whether another caption no longer holds the word: the plainest thing an edit can do.
function lost(caption, word) {
  return known(caption) && !new RegExp(`(?<!\\p{L})${word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")}(?!\\p{L})`, "iu").test(caption);
}

export function Rewrites({ word, caption, lead }) {
  const found = word.ablated_caption;
  if (!found) return null;
  const rows = [
    ["largest totals off", `this photo's ${found.units}`, found.total],
    ["specific off", `this photo's ${found.units}`, found.specific],
    ["raw top off", `this photo's ${found.units}`, found.top],
    ["another photo's specific off", "control", found.other_specific],
    ["random off", "control, as many", found.random],
  ].filter(([, , text]) => known(text));
  const changed = rows.filter(([, , text]) => text !== caption);
  const same = rows.filter(([, , text]) => text === caption);
  return html`<section class="part" aria-labelledby="rewrites">
    <h2 id="rewrites">The caption, written once more</h2>
    <dl class="rewrites">
      <div class="rewrite intact"><dt>nothing off</dt><dd><span class="lead">${lead} </span>${caption}</dd></div>
      ${changed.map(([name, hint, text]) => html`<div key=${name} class="rewrite">
        <dt>${name}<span class="hint">${hint}</span></dt>
        <dd><${Changed} lead=${lead} caption=${text} before=${caption} />
          ${lost(text, word.word) && html` <span class="badge lost">without “${word.word}”</span>`}
          ${repeats(text) && html` <span class="badge">repeats itself</span>`}</dd>
      </div>`)}
      ${same.length > 0 && html`<div class="rewrite"><dt>${same.map(([name, hint]) => html`<span key=${name}>${name}<span class="hint">${hint}</span></span>`)}</dt>
        <dd class="unchanged">as with nothing off</dd></div>`}
    </dl>
  </section>`;
}
