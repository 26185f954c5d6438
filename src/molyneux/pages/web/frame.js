import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { INFERNO, paint } from "./heat.js";
import { withToken } from "./server.js";
import { patchName, rounded } from "./text.js";

const percentOf = (place, count) => `${(100 * place) / count}%`;

function Square({ kind, patch: [row, column], grid: [rows, columns], title }) {
  const style = {
    top: percentOf(row, rows), left: percentOf(column, columns),
    height: percentOf(1, rows), width: percentOf(1, columns),
  };
  return html`<span class=${kind} title=${title} style=${style}></span>`;
}

// The patches as a field of buttons: one stop of the tab key, arrow keys move inside it.
function Cells({ grid: [rows, columns], chosen, label, onChoose, onPoint, several }) {
  const field = useRef(null);
  const isChosen = (n) => (several ? chosen.has(n) : chosen === n);
  const first = several ? ([...chosen][0] ?? 0) : chosen ?? 0;
  const [at, setAt] = useState(first);
  useEffect(() => setAt(first), [first]);
  const numbers = Array.from({ length: rows * columns }, (_, n) => n);

  function move(event) {
    const [row, column] = [Math.floor(at / columns), at % columns];
    const to = {
      ArrowLeft: [row, Math.max(0, column - 1)],
      ArrowRight: [row, Math.min(columns - 1, column + 1)],
      ArrowUp: [Math.max(0, row - 1), column],
      ArrowDown: [Math.min(rows - 1, row + 1), column],
      Home: [row, 0],
      End: [row, columns - 1],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    const next = to[0] * columns + to[1];
    setAt(next);
    field.current.children[next].focus();
  }
  const style = { gridTemplate: `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)` };
  return html`<div class="cells" role="group" ref=${field} style=${style} onKeyDown=${move}
      aria-label=${several ? "Patches: choose those to take" : "Patches: choose one to see what it says"}
      onMouseLeave=${() => onPoint?.(null)}>
    ${numbers.map((n) => html`<button key=${n} type="button" class="cell" data-place=${n}
      tabindex=${n === at ? 0 : -1} aria-pressed=${String(isChosen(n))} aria-label=${label(n)}
      onClick=${() => onChoose(n)} onMouseEnter=${() => onPoint?.(n)}></button>`)}
  </div>`;
}

// A photo as the encoder sees it, a map over it, marks, and its patches to choose from.
export function Frame({ src, alt, grid, values = null, mapped = "", sinks = [], peak = null, cells = null, small = false }) {
  const canvas = useRef(null);
  useEffect(() => {
    if (values && canvas.current) paint(canvas.current, values, grid);
  }, [values, grid]);
  const classes = ["frame", values && "mapped", small && "small"].filter(Boolean).join(" ");
  return html`<div class=${classes}>
    ${src ? html`<img src=${withToken(src)} alt=${alt} />` : html`<p class="no-photo">There is no copy of this photo.</p>`}
    ${values && html`<canvas ref=${canvas} role="img" aria-label=${`Heat map over the photo of ${mapped}`}></canvas>`}
    ${values && sinks.map((patch) => html`<${Square} kind="at-sink" patch=${patch} grid=${grid} title="a sink patch: huge activations about nothing" />`)}
    ${values && peak && html`<${Square} kind="peak" patch=${peak} grid=${grid} title="the patch with its score" />`}
    ${cells && grid && html`<${Cells} grid=${grid} ...${cells} />`}
  </div>`;
}

// What the colours stand for. The bar is drawn as SVG: the page has no inline styles.
export function Scale({ values }) {
  const largest = Math.max(...values);
  return html`<div class="scale" aria-hidden="true">
    <svg viewBox="0 0 100 4" preserveAspectRatio="none">
      ${INFERNO.map((rgb, n) => html`<rect key=${n} x=${10 * n} y="0" width="10.2" height="4" fill=${`rgb(${rgb})`} />`)}
    </svg>
    <span>0 or less</span><span>${largest > 0 ? rounded(largest, 3) : "nowhere above 0"}</span>
  </div>`;
}

export function placeName(n, [, columns]) {
  return patchName([Math.floor(n / columns), n % columns]);
}
