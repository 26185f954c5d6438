import { html } from "./vendor/htm-preact.js";

// A caption cut into text and words, each word with its place in `words`. Of a word without a
// span (it was asked for) or whose span overlaps an earlier one, the word comes last.
export function captionPieces(caption, words) {
  const letters = Array.from(caption ?? ""); // spans count characters, as Python does
  const text = (from, to) => letters.slice(from, to).join("");
  const pieces = [];
  const asked = [];
  let end = 0;
  const spans = words.map((word, place) => [word.span ?? [-1, -1], place]).sort(([a], [b]) => a[0] - b[0]);
  for (const [[start, stop], place] of spans) {
    if (start < end || stop > letters.length) {
      asked.push(place);
      continue;
    }
    if (start > end) pieces.push([text(end, start), null]);
    pieces.push([text(start, stop), place]);
    end = stop;
  }
  if (end < letters.length) pieces.push([text(end), null]);
  return { pieces, asked: asked.sort((a, b) => a - b) };
}

export function Caption({ lead, caption, words = [], chosen = null, onChoose, level = 1 }) {
  const { pieces, asked } = captionPieces(caption, words);
  const button = (text, place) => html`<button type="button" class="word" data-word=${words[place].word}
    aria-pressed=${String(words[place].word === chosen)} onClick=${() => onChoose(words[place].word)}>${text}</button>`;
  return html`<${`h${level}`} class="caption"><span class="lead">${lead} </span>${pieces.map(([text, place]) =>
    (place === null ? text : button(text, place)))}${asked.map((place) => html`<span class=${words[place].warning ? "asked under-floor" : "asked"}>
      <span class="hint">${words[place].warning ? "asked for, under the floor" : "asked for"} </span>${button(words[place].word, place)}</span>`)}
  </${`h${level}`}>`;
}

// A caption with the words that another one does not have marked.
export function Changed({ lead, caption, before }) {
  if (caption === null || caption === undefined) return html`<span class="hint">too few units</span>`;
  if (!caption) return html`<span class="hint">(nothing)</span>`;
  const had = new Set((before ?? "").toLowerCase().match(/\p{L}+/gu) ?? []);
  return html`${lead && html`<span class="lead">${lead} </span>`}${caption.split(/(\p{L}+)/u).map((piece, n) =>
    (n % 2 && !had.has(piece.toLowerCase()) ? html`<mark>${piece}</mark>` : piece))}`;
}
