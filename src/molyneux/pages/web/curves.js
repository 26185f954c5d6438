import { html, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { known, percent } from "./text.js";

const HIGHEST = 2; // shares above 200 % leave the plot, and their marks say so

// Hue says which units are off, dashes that other words are scored. Drawn in this order.
export function panelsOf(curves) {
  const noun = curves.other_noun ?? "";
  const short = noun.length > 13 ? `${noun.slice(0, 12)}…` : noun;
  const other = short ? `${short} photo's` : "another photo's";
  const absent = curves.absent_word ? `absent “${curves.absent_word}”` : "absent word";
  const own = { label: "this photo's", tone: "own", strong: true };
  const random = { key: "random", label: "random", tone: "control", band: "random_std" };
  const nouns = { label: "unrelated nouns", tone: "own", dashed: true };
  const nounsRandom = { key: "unrelated_random", label: "nouns, random", tone: "control", dashed: true };
  const panels = [
    { name: "total", title: "Largest totals",
      about: "to first order, what switching each unit off takes from the word",
      sets: [{ ...nouns, key: "unrelated_total" }, { key: "absent_total", label: absent, tone: "absent" },
        random, { ...own, key: "total" }] },
    { name: "contrast", title: "Contrast, and change",
      about: "what units give the word here beyond what they give it behind other photos; and those that the photo changes most",
      sets: [{ key: "change", label: "changed most", tone: "words" },
        { key: "absent_contrast", label: absent, tone: "absent" }, random, { ...own, key: "contrast" }] },
    { name: "specific", title: "Specific",
      about: "scores far above the unit's own at reference photos",
      sets: [nounsRandom, { ...nouns, key: "unrelated_specific" }, random,
        { key: "matched", label: "matched", tone: "control" },
        { key: "absent_specific", label: absent, tone: "absent" },
        { key: "other_specific", label: other, tone: "other", strong: true }, { ...own, key: "specific" }] },
    { name: "raw", title: "Raw", about: "the highest scores, sinks and all",
      sets: [nounsRandom, { ...nouns, key: "unrelated_top" }, random,
        { key: "interpretable", label: "7 of 10 words", tone: "words" },
        { key: "absent_top", label: absent, tone: "absent" },
        { key: "other", label: other, tone: "other", strong: true }, { ...own, key: "top" }] },
  ];
  const measured = ({ key }) => (curves[key] ?? []).some((left, i) => known(left) && curves.grid[i] > 0);
  return panels
    .map((panel) => ({ ...panel, sets: panel.sets.filter(measured) }))
    .filter(({ sets }) => sets.some(({ strong }) => strong));
}

// The largest share that the axes show.
export function ceilingOf(curves) {
  const values = panelsOf(curves).flatMap(({ sets }) => sets.flatMap(({ key, dashed }) =>
    (curves[key] ?? []).filter(known).map((value) => (dashed ? Math.min(value, 1.25) : value))));
  return Math.min(Math.max(1.05, ...values), HIGHEST);
}

// The width that there is, so that letters are as large on every page.
export function useWidth() {
  const host = useRef(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const measure = () => setWidth(host.current.clientWidth);
    const observer = new ResizeObserver(measure);
    observer.observe(host.current);
    measure();
    return () => observer.disconnect();
  }, []);
  return [host, width];
}

// Where one number of units was tried there is no curve: a row a set, on one axis.
function Dots({ curves, panel, ceiling, width }) {
  const place = curves.grid.length - 1;
  const rows = [...panel.sets].reverse();
  const [left, right, step] = [128, 58, 24];
  const inner = Math.max(width - left - right, 60);
  const x = (share) => left + (Math.min(share, ceiling) / ceiling) * inner;
  const height = rows.length * step + 24;
  const ticks = ceiling > 1.3 ? [0, 0.5, 1, 1.5, 2] : [0, 0.5, 1];
  return html`<svg viewBox=${`0 0 ${width} ${height}`} role="img"
      aria-label=${rows.map(({ label, key }) => `${label}: ${percent(curves[key][place])} left`).join("; ")}>
    ${ticks.filter((tick) => tick <= ceiling).map((tick) => html`<g>
      <line class=${tick === 1 ? "axis" : "grid"} x1=${x(tick)} x2=${x(tick)} y1="0" y2=${height - 20} />
      <text x=${x(tick)} y=${height - 6} text-anchor="middle">${100 * tick} %</text></g>`)}
    ${rows.map(({ key, label, tone, strong, dashed, band }, n) => {
      const share = curves[key][place];
      const y = n * step + 13;
      const above = share > ceiling;
      const deviation = band ? curves[band]?.[place] ?? 0 : 0;
      return html`<g class=${tone} key=${key}>
        <text class=${strong ? "label strong" : "label"} x=${left - 10} y=${y + 4} text-anchor="end">${label}</text>
        <line class=${`stem${dashed ? " dashed" : ""}`} x1=${x(0)} x2=${x(share)} y1=${y} y2=${y} />
        ${deviation > 0 && html`<rect class="band" x=${x(Math.max(share - deviation, 0))} y=${y - 6} height="12"
          width=${x(share + deviation) - x(Math.max(share - deviation, 0))} />`}
        ${above
          ? html`<path class="beyond" d=${`M${x(share)} ${y - 5}l8 5l-8 5z`}><title>above the top of the plot</title></path>`
          : html`<circle class=${dashed ? "dot open" : "dot"} cx=${x(share)} cy=${y} r=${strong ? 5 : 3.5} />`}
        <text class=${strong ? "label strong" : "label"} x=${x(share) + 12} y=${y + 4}>${percent(share)}</text>
      </g>`;
    })}
  </svg>`;
}

// Moves labels apart, in place, keeping their order; `y` becomes where each is written.
function spread(labels, gap, top, bottom) {
  labels.sort((a, b) => a.y - b.y);
  labels.forEach((label, i) => {
    label.y = Math.max(label.y, i ? labels[i - 1].y + gap : top);
  });
  for (let i = labels.length - 1; i >= 0; i--) {
    labels[i].y = Math.min(labels[i].y, i + 1 < labels.length ? labels[i + 1].y - gap : bottom);
  }
}

let clips = 0;

function Lines({ curves, panel, ceiling, width }) {
  const id = useRef(`clip-${++clips}`).current;
  const height = 230;
  const margin = { top: 20, bottom: 36, left: 46, right: 152 };
  const bottom = height - margin.bottom;
  const right = width - margin.right;
  const widest = Math.sqrt(Math.max(...curves.grid, 1));
  const x = (size) => margin.left + (Math.sqrt(size) / widest) * (right - margin.left);
  const y = (left) => bottom - (left / ceiling) * (bottom - margin.top);
  const ticks = Array.from({ length: ceiling > 1.3 ? 5 : 5 }, (_, n) => n * (ceiling > 1.3 ? 0.5 : 0.25));
  const numbers = curves.grid.reduce((kept, size) =>
    (kept.some((other) => Math.abs(x(other) - x(size)) < 24) ? kept : [...kept, size]), []);
  const drawn = panel.sets.map((set) => ({
    ...set,
    points: curves.grid.map((size, i) => ({ size, left: curves[set.key][i] })).filter(({ left }) => known(left)),
  }));
  const labels = drawn.map(({ label, tone, strong, points }) => {
    const { size, left } = points.at(-1);
    const text = left > ceiling ? `${label} ↑ ${percent(left)}` : label;
    return { text, tone, strong, from: [x(size), y(Math.min(left, ceiling))], y: y(Math.min(left, ceiling)) };
  });
  spread(labels, 15, margin.top, bottom);
  const path = ({ key }) => curves.grid.reduce(([text, pen], size, i) => {
    const left = curves[key][i];
    // A gap where a set has too few units: no line is drawn across it.
    return known(left) ? [`${text}${pen ? "L" : "M"}${x(size)} ${y(left)}`, true] : [text, false];
  }, ["", false])[0];
  return html`<svg viewBox=${`0 0 ${width} ${height}`} role="img"
      aria-label=${`${panel.title}: what is left of the probability as units are switched off. The numbers are in the table.`}>
    <clipPath id=${id}><rect x=${margin.left - 5} y=${margin.top} width=${right - margin.left + 10} height=${bottom - margin.top + 2} /></clipPath>
    ${ticks.filter((tick) => tick <= ceiling + 1e-9).map((tick) => html`<g>
      <line class=${tick ? "grid" : "axis"} x1=${margin.left} x2=${right} y1=${y(tick)} y2=${y(tick)} />
      <text x=${margin.left - 8} y=${y(tick) + 4} text-anchor="end">${100 * tick} %</text></g>`)}
    ${numbers.map((size) => html`<text x=${x(size)} y=${bottom + 17} text-anchor="middle">${size}</text>`)}
    <text x=${margin.left} y=${height - 3}>units switched off</text>
    <g clip-path=${`url(#${id})`}>
      ${drawn.map((set) => html`<g class=${set.tone} key=${set.key}>
        ${set.band && curves[set.band] && html`<polygon class="band" points=${[
          ...set.points.map(({ size, left }) => [x(size), y(left + (curves[set.band][curves.grid.indexOf(size)] ?? 0))]),
          ...[...set.points].reverse().map(({ size, left }) =>
            [x(size), y(Math.max(left - (curves[set.band][curves.grid.indexOf(size)] ?? 0), 0))]),
        ].join(" ")} />`}
        <path class=${`curve${set.strong ? " strong" : ""}${set.dashed ? " dashed" : ""}`} d=${path(set)} />
      </g>`)}
    </g>
    ${drawn.map((set) => html`<g class=${set.tone} key=${set.key}>${set.points.map(({ size, left }) => (left > ceiling
      ? html`<path class="beyond" d=${`M${x(size) - 5} ${margin.top}l5 -8l5 8z`}><title>${`${set.label}, ${size} off: ${percent(left)}, above the top of the plot`}</title></path>`
      : html`<circle class="dot" cx=${x(size)} cy=${y(left)} r=${set.strong ? 4 : 2.25}><title>${`${set.label}, ${size} off: ${percent(left)}`}</title></circle>`))}</g>`)}
    ${labels.map(({ text, tone, strong, from, y: at }) => html`<g class=${tone} key=${text}>
      <line class="leader" x1=${from[0] + 5} y1=${from[1]} x2=${right + 11} y2=${at} />
      <text class=${strong ? "label strong" : "label"} x=${right + 14} y=${at + 4}>${text}</text></g>`)}
  </svg>`;
}

// One ranking's ablation, with every control that the run measured beside it.
export function Chart({ curves, panel, ceiling }) {
  const [host, width] = useWidth();
  const tried = curves.grid.filter((size) => size > 0).length;
  const Plot = tried > 1 ? Lines : Dots;
  return html`<div class="chart" ref=${host}>
    ${width > 0 && html`<${Plot} curves=${curves} panel=${panel} ceiling=${ceiling} width=${Math.max(width, 280)} />`}
  </div>`;
}
