import { html } from "./vendor/htm-preact.js";
import { useWidth } from "./curves.js";
import { Scroll } from "./parts.js";
import { known, rounded } from "./text.js";

// A study's figures: lines with their intervals, bars with whiskers, or a matrix of numbers.

const COLOURS = 8; // then they come again, dashed
const NARROWEST = 380; // pixels; a narrower page scrolls a figure sideways
const WIDEST = 760;
const LONGEST = 28; // letters of a name on an axis

const short = (text) => (String(text).length > LONGEST ? `${String(text).slice(0, LONGEST - 1)}…` : String(text));
const written = (tick) => String(Number(tick.toPrecision(6))).replace("-", "−");
const colourOf = (n) => `series-${n % COLOURS}`;
const dashOf = (n) => `dash-${Math.floor(n / COLOURS) % 4}`;

// About five round numbers from the least to the largest.
function roundTicks(low, high) {
  const rough = (high - low || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const first = Math.ceil(low / step - 1e-9) * step;
  return Array.from({ length: 1 + Math.floor((high - first) / step + 1e-9) }, (_, n) => {
    const value = first + n * step;
    return Math.abs(value) < step / 1e6 ? 0 : value;
  });
}

function rangeOf(series, fromZero) {
  const all = series.flatMap(({ y, low, high }) => [...y, ...(low ?? []), ...(high ?? [])]).filter(known);
  const [least, most] = [Math.min(...all, ...(fromZero ? [0] : [])), Math.max(...all, ...(fromZero ? [0] : []))];
  return least === most ? [least - 0.5, most + 0.5] : [least, most];
}

// Zero has a place beside the logarithm: linear from 0 to 1, as far as one decade is wide.
const spreadOut = (value) => (Math.abs(value) <= 1 ? value : Math.sign(value) * (1 + Math.log10(Math.abs(value))));

function Axes({ box, y, ticks, xTicks, turned, figure }) {
  const { left, right, top, bottom } = box;
  return html`<g>
    ${ticks.map((tick) => html`<g key=${tick}><line class=${tick === 0 ? "axis" : "grid"} x1=${left} x2=${right} y1=${y(tick)} y2=${y(tick)} />
      <text x=${left - 8} y=${y(tick) + 4} text-anchor="end">${written(tick)}</text></g>`)}
    ${xTicks.map(([at, label], n) => html`<g key=${n}><line class="axis" x1=${at} x2=${at} y1=${bottom} y2=${bottom + 4} />
      ${turned ? html`<text text-anchor="end" transform=${`translate(${at + 4} ${bottom + 14}) rotate(-40)`}>${short(label)}</text>`
        : html`<text x=${at} y=${bottom + 18} text-anchor="middle">${short(label)}</text>`}</g>`)}
    <text class="axis-name" x=${(left + right) / 2} y=${box.height - 4} text-anchor="middle">${figure.x_label}</text>
  </g>`;
}

// Room for what is written below the axis: names that do not fit side by side are turned.
function boxOf(width, labels, room) {
  const longest = Math.max(0, ...labels.map((label) => short(label).length));
  const turned = labels.reduce((sum, label) => sum + 7 * short(label).length + 10, 0) > room;
  const below = turned ? 30 + Math.min(longest, LONGEST) * 4.7 : 44;
  const height = 230 + below;
  return { turned, box: { left: 58, right: width - 14, top: 8, bottom: height - below, height } };
}

function Lines({ figure, width }) {
  const { series } = figure;
  const places = [...new Set(series.flatMap(({ x }) => x))];
  const named = places.some((place) => typeof place === "string");
  const [least, most] = rangeOf(series, true);
  const { turned, box } = boxOf(width, named ? places : [], width - 72);
  const { left, right, top, bottom } = box;
  const scaled = named ? (value) => places.indexOf(value)
    : !figure.log_x ? (value) => value : places.some((value) => value <= 0) ? spreadOut : Math.log10;
  const across = places.map(scaled);
  const [from, to] = [Math.min(...across), Math.max(...across)];
  const x = (value) => left + 8 + ((scaled(value) - from) / (to - from || 1)) * (right - left - 16);
  const y = (value) => bottom - ((value - least) / (most - least)) * (bottom - top);
  const numbers = named || figure.log_x || places.length <= 8 ? [...places].sort((a, b) => scaled(a) - scaled(b)) : roundTicks(from, to);
  const xTicks = numbers.reduce((kept, value) => {
    const label = named ? value : written(value);
    const room = turned ? 16 : 8 * String(label).length + 8;
    return kept.length && x(value) - kept.at(-1)[0] < room && !named ? kept : [...kept, [x(value), label]];
  }, []);
  return html`<svg viewBox=${`0 0 ${width} ${box.height}`} role="img" aria-label=${`${figure.title}: ${figure.y_label} by ${figure.x_label}. The numbers are in the tables.`}>
    <${Axes} box=${box} y=${y} ticks=${roundTicks(least, most)} xTicks=${xTicks} turned=${turned} figure=${figure} />
    ${series.map((one, n) => {
      const points = one.x.map((value, i) => [value, one.y[i], one.low?.[i], one.high?.[i]]);
      const banded = points.filter(([, , low, high]) => known(low) && known(high));
      // A gap where a value is missing: no line is drawn across it.
      const path = points.reduce(([text, pen], [value, at]) =>
        (known(at) ? [`${text}${pen ? "L" : "M"}${x(value)} ${y(at)}`, true] : [text, false]), ["", false])[0];
      return html`<g key=${one.label} class=${colourOf(n)}>
        ${banded.length > 1 && html`<polygon class="band" points=${[...banded.map(([value, , , high]) => [x(value), y(high)]),
          ...banded.reverse().map(([value, , low]) => [x(value), y(low)])].join(" ")} />`}
        <path class=${`curve ${dashOf(n)}`} d=${path} />
        ${points.filter(([, at]) => known(at)).map(([value, at], i) => html`<circle key=${i} class="dot" cx=${x(value)} cy=${y(at)} r="2.5">
          <title>${`${one.label}, ${value}: ${rounded(at, 3)}`}</title></circle>`)}
      </g>`;
    })}
  </svg>`;
}

function Bars({ figure, width }) {
  const { series } = figure;
  const places = [...new Set(series.flatMap(({ x }) => x.map(String)))];
  const [least, most] = rangeOf(series, true);
  const every = Math.max(1, Math.floor(places.length / 15));
  const named = places.filter((_, n) => n % every === 0);
  const { turned, box } = boxOf(width, named, width - 72);
  const { left, right, top, bottom } = box;
  const step = (right - left) / places.length;
  const wide = (0.8 * step) / series.length;
  const y = (value) => bottom - ((value - least) / (most - least)) * (bottom - top);
  return html`<svg viewBox=${`0 0 ${width} ${box.height}`} role="img" aria-label=${`${figure.title}: ${figure.y_label} by ${figure.x_label}. The numbers are in the tables.`}>
    <${Axes} box=${box} y=${y} ticks=${roundTicks(least, most)} turned=${turned} figure=${figure}
      xTicks=${named.map((place) => [left + (places.indexOf(place) + 0.5) * step, place])} />
    ${series.map((one, n) => html`<g key=${one.label} class=${colourOf(n)}>${one.x.map((place, i) => {
      const at = left + (places.indexOf(String(place)) + 0.1) * step + n * wide;
      const value = one.y[i];
      if (!known(value)) return null;
      return html`<g key=${i}><rect class="block" data-value=${value} x=${at} width=${wide} y=${Math.min(y(value), y(0))} height=${Math.abs(y(value) - y(0))}>
          <title>${`${one.label}, ${place}: ${rounded(value, 3)}`}</title></rect>
        ${known(one.low?.[i]) && known(one.high?.[i]) && html`<line class="whisker" x1=${at + wide / 2} x2=${at + wide / 2} y1=${y(one.low[i])} y2=${y(one.high[i])} />`}</g>`;
    })}</g>`)}
  </svg>`;
}

function Matrix({ figure, width }) {
  const { series } = figure;
  const columns = series[0]?.x ?? [];
  const names = Math.min(LONGEST, Math.max(...series.map(({ label }) => short(label).length))) * 6.6 + 14;
  const side = Math.max(36, Math.min(52, (width - names) / Math.max(columns.length, 1)));
  const below = 34 + Math.min(LONGEST, Math.max(0, ...columns.map((name) => short(name).length))) * 4.7;
  const [whole, height] = [Math.max(width, names + side * columns.length + 8), 4 + side * series.length + below];
  const largest = Math.max(...series.flatMap(({ y }) => y).filter(known), 1e-9);
  return html`<svg viewBox=${`0 0 ${whole} ${height}`} style=${{ minWidth: `${whole}px` }} role="img" aria-label=${`${figure.title}: ${figure.y_label} by ${figure.x_label}. The numbers are in the tables.`}>
    ${series.map((row, n) => html`<g key=${row.label}>
      <text x=${names - 8} y=${4 + (n + 0.5) * side + 4} text-anchor="end">${short(row.label)}</text>
      ${row.y.map((value, i) => known(value) && html`<g key=${i}>
        <rect class="shade" data-value=${value} x=${names + i * side} y=${4 + n * side} width=${side} height=${side} fill-opacity=${Math.max(value / largest, 0).toFixed(3)} />
        <text class=${value > 0.55 * largest ? "on-shade" : "beside-shade"} x=${names + (i + 0.5) * side} y=${4 + (n + 0.5) * side + 4} text-anchor="middle">${value.toFixed(2)}</text></g>`)}
    </g>`)}
    ${columns.map((name, i) => html`<text key=${i} text-anchor="end" transform=${`translate(${names + (i + 0.5) * side + 4} ${4 + side * series.length + 14}) rotate(-40)`}>${short(name)}</text>`)}
    <text class="axis-name" x=${names + (side * columns.length) / 2} y=${height - 4} text-anchor="middle">${figure.x_label}</text>
  </svg>`;
}

const KINDS = { lines: Lines, bars: Bars, matrix: Matrix };

function Keys({ figure }) {
  if (figure.kind === "matrix" || figure.series.length < 2) return null;
  return html`<ul class="keys">${figure.series.map(({ label }, n) => html`<li key=${label} class=${colourOf(n)}>
    <svg viewBox="0 0 24 4" aria-hidden="true"><line class=${figure.kind === "lines" ? dashOf(n) : ""} x1="0" x2="24" y1="2" y2="2" /></svg>${label}</li>`)}</ul>`;
}

export function Figure({ figure }) {
  const [host, width] = useWidth();
  const Plot = KINDS[figure.kind];
  const side = Math.min(Math.max(width, NARROWEST), WIDEST);
  return html`<figure class="plot" data-figure=${figure.name} ref=${host}>
    <figcaption>${figure.title}</figcaption>
    <p class="axis-name">${figure.y_label}</p>
    ${width > 0 && html`<${Scroll} label=${`${figure.title}: ${figure.y_label}`}><div class="chart" style=${{ width: `${side}px` }}><${Plot} figure=${figure} width=${side} /></div></${Scroll}>`}
    <${Keys} figure=${figure} />
    ${figure.notes.length > 0 && html`<ul class="notes">${figure.notes.map((note) => html`<li key=${note}>${note}</li>`)}</ul>`}
  </figure>`;
}
