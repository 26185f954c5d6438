// Draws what cannot be written beforehand: curves at the width they have, heat maps, unit lists.
// Everything shown as text goes through textContent, never through HTML.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const FIRST_ROWS = 20;
const TOKENS_IN_A_ROW = 6;
const MAP_SIZE = 256; // pixels of a heat map's side
const MAP_OPACITY = 0.66;
// Ten colours of matplotlib's inferno: lightness rises steadily from first to last.
const INFERNO = [
  [0, 0, 4], [27, 12, 65], [74, 12, 107], [120, 28, 109], [165, 44, 96],
  [207, 68, 70], [237, 105, 37], [251, 155, 6], [247, 209, 61], [252, 255, 164],
];

// ---- Elements -------------------------------------------------------------------------------

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const html = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// ---- Numbers and names ----------------------------------------------------------------------

// As `molyneux decode` takes it: with a - where the unit writes negatively.
const unitName = (unit) => `L${unit.layer}.u${unit.unit}${unit.sign < 0 ? "-" : ""}`;

function percent(fraction) {
  if (fraction > 0 && fraction < 0.001) return "under 0.1 %";
  return `${(100 * fraction).toFixed(fraction && fraction < 0.0995 ? 1 : 0)} %`;
}

// Digits that matter, never an exponent: 4.79, 0.013, 0.00061.
function rounded(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const places = digits - 1 - Math.floor(Math.log10(Math.abs(value)));
  if (places > 7) return value < 0 ? "−0.000" : "0.000";
  return value.toFixed(Math.max(0, places)).replace("-", "−");
}

function token(text) {
  // What cannot be seen is spelt: a leading blank as ␣, line breaks as \n.
  const rest = text.replace(/^ /, "");
  const seen = JSON.stringify(rest).slice(1, -1).replace(/\\(["\\])/g, "$1");
  const blank = rest !== text ? html("span", { class: "space" }, "␣") : null;
  return html("code", { class: "token" }, blank, seen);
}

const tokens = (list, count) =>
  html("span", { class: "tokens" }, ...(list ?? []).slice(0, count).map(token));

// ---- Heat maps ------------------------------------------------------------------------------

const signedBytes = (text) => Int8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function infernoAt(share) {
  const place = share * (INFERNO.length - 1);
  const low = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[low].map((from, i) => from + (place - low) * (INFERNO[low + 1][i] - from));
}
const PALETTE = Array.from({ length: 256 }, (_, i) => infernoAt(i / 255));

// Bilinear between the centres of patches, flat beyond the outermost: torch's align_corners=False.
function upsampled(values, rows, columns, size) {
  const steps = (count) =>
    Array.from({ length: size }, (_, pixel) => {
      const place = Math.min(Math.max(((pixel + 0.5) * count) / size - 0.5, 0), count - 1);
      const low = Math.floor(place);
      return [low, Math.min(low + 1, count - 1), place - low];
    });
  const across = steps(columns);
  const result = new Float32Array(size * size);
  steps(rows).forEach(([top, bottom, down], y) => {
    across.forEach(([left, right, along], x) => {
      const above = values[top * columns + left] * (1 - along) + values[top * columns + right] * along;
      const below =
        values[bottom * columns + left] * (1 - along) + values[bottom * columns + right] * along;
      result[y * size + x] = above * (1 - down) + below * down;
    });
  });
  return result;
}

function paint(canvas, values, [rows, columns]) {
  canvas.width = canvas.height = MAP_SIZE;
  const largest = Math.max(...values, 1e-9);
  const context = canvas.getContext("2d");
  const image = context.createImageData(MAP_SIZE, MAP_SIZE);
  upsampled(values, rows, columns, MAP_SIZE).forEach((value, pixel) => {
    image.data.set(PALETTE[Math.round(255 * Math.max(value / largest, 0))], 4 * pixel);
    image.data[4 * pixel + 3] = 255 * MAP_OPACITY;
  });
  context.putImageData(image, 0, 0);
}

function square(kind, [row, column], [rows, columns], title) {
  const mark = html("span", { class: kind, title });
  Object.assign(mark.style, {
    top: `${(100 * row) / rows}%`,
    left: `${(100 * column) / columns}%`,
    height: `${100 / rows}%`,
    width: `${100 / columns}%`,
  });
  return mark;
}

// ---- Curves ---------------------------------------------------------------------------------

// Hue says which units are off, dashes that other words are scored. Drawn in this order.
function panels(another, absent) {
  return {
    total: [
      { key: "unrelated_total", label: "unrelated nouns", tone: "own", dashed: true },
      { key: "absent_total", label: absent, tone: "absent" },
      { key: "total", label: "this photo's", tone: "own", strong: true },
    ],
    contrast: [
      { key: "change", label: "changed most", tone: "words" },
      { key: "absent_contrast", label: absent, tone: "absent" },
      { key: "contrast", label: "this photo's", tone: "own", strong: true },
    ],
    specific: [
      { key: "unrelated_random", label: "nouns, random", tone: "control", dashed: true },
      { key: "unrelated_specific", label: "unrelated nouns", tone: "own", dashed: true },
      { key: "random", label: "random", tone: "control", band: "random_std" },
      { key: "matched", label: "matched", tone: "control" },
      { key: "absent_specific", label: absent, tone: "absent" },
      { key: "other_specific", label: another, tone: "other", strong: true },
      { key: "specific", label: "this photo's", tone: "own", strong: true },
    ],
    raw: [
      { key: "unrelated_random", label: "nouns, random", tone: "control", dashed: true },
      { key: "unrelated_top", label: "unrelated nouns", tone: "own", dashed: true },
      { key: "random", label: "random", tone: "control", band: "random_std" },
      { key: "interpretable", label: "7 of 10 words", tone: "words" },
      { key: "absent_top", label: absent, tone: "absent" },
      { key: "other", label: another, tone: "other", strong: true },
      { key: "top", label: "this photo's", tone: "own", strong: true },
    ],
  };
}

const known = (value) => value !== null && value !== undefined;

// The largest share that the axes show. Unrelated nouns may go beyond; their label then says so.
function ceilingOf(curves) {
  const all = Object.values(panels("", "")).flat();
  const values = curves.flatMap((each) =>
    all.flatMap(({ key, band, dashed }) =>
      (each[key] ?? []).map((value, i) => {
        const upper = (value ?? 0) + (each[band]?.[i] ?? 0);
        return dashed ? Math.min(upper, 1.25) : upper;
      })));
  return Math.min(Math.max(1.05, ...values), 2);
}

// The curves of a panel that have points at all, each with the text to stand beside its end.
function namedCurves(curves, panel, ceiling) {
  const noun = curves.other_noun ?? "";
  const short = noun.length > 13 ? `${noun.slice(0, 12)}…` : noun;
  const absent = curves.absent_word ? `absent “${curves.absent_word}”` : "absent word";
  return panels(short ? `${short} photo's` : "another photo's", absent)[panel]
    .map((curve) => {
      const points = curves.grid
        .map((size, i) => ({ size, left: curves[curve.key]?.[i] }))
        .filter((point) => known(point.left));
      const end = points.at(-1)?.left;
      return { ...curve, points, text: end > ceiling ? `${curve.label} ↑${percent(end)}` : curve.label };
    })
    .filter(({ points }) => points.length);
}

const pen = document.createElement("canvas").getContext("2d");
function textWidth({ text, strong }) {
  const family = getComputedStyle(document.body).fontFamily;
  pen.font = `${strong ? 700 : 400} 12px ${family}`;
  return pen.measureText(text).width;
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

// How far this photo's and the other photo's curves are apart at the number of units that is
// claimed: two heights, and that in words; undefined where there is no room between them.
function differenceAt(curves, panel, claimAt, y) {
  const compared = { specific: ["specific", "other_specific"], raw: ["top", "other"] };
  const place = curves.grid.indexOf(claimAt);
  const [own, other] = (compared[panel] ?? []).map((key) => curves[key]?.[place]);
  if (!known(own) || !known(other) || Math.abs(y(own) - y(other)) <= 24) return undefined;
  const points = Math.round(100 * (other - own));
  const signed = `${points}`.replace("-", "−");
  const whole = `${signed} ${Math.abs(points) === 1 ? "point" : "points"} apart`;
  return { from: y(own), to: y(other), whole, brief: `${signed} pts` };
}

function drawPanel(host, curves, panel, ceiling, claimAt, summary) {
  const width = Math.max(host.clientWidth, 280);
  const height = panel === "specific" ? 270 : 210;
  const drawn = namedCurves(curves, panel, ceiling);
  const margin = { top: 12, bottom: 40, left: 50 };
  const inner = { bottom: height - margin.bottom };
  const y = (left) =>
    inner.bottom - (Math.min(left, ceiling) / ceiling) * (inner.bottom - margin.top);
  const difference = differenceAt(curves, panel, claimAt, y);
  // Where the axis ends at the number claimed, the names stand behind what is said of it.
  const isLast = difference && claimAt === curves.grid.at(-1);
  const room = isLast ? textWidth({ text: difference.brief, strong: true }) + 8 : 0;
  margin.right = 18 + room + Math.max(60, ...drawn.map(textWidth));
  inner.right = width - margin.right;
  const grid = curves.grid;
  const widest = Math.sqrt(Math.max(...grid, 1));
  const x = (size) => margin.left + (Math.sqrt(size) / widest) * (inner.right - margin.left);
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary,
  });

  // Axes
  const step = ceiling > 1.3 ? 0.5 : 0.25;
  for (let left = 0; left <= ceiling + 1e-9; left += step) {
    picture.append(
      svg("line", { class: left ? "grid" : "axis", x1: margin.left, x2: inner.right, y1: y(left), y2: y(left) }),
      svg("text", { x: margin.left - 8, y: y(left) + 4, "text-anchor": "end" }, `${100 * left} %`));
  }
  const ticks = [];
  for (const size of new Set([grid[0], claimAt, grid.at(-1), ...grid])) {
    if (!known(size) || ticks.some((other) => Math.abs(x(other) - x(size)) < 22)) continue;
    ticks.push(size);
    picture.append(svg("text", { x: x(size), y: inner.bottom + 17, "text-anchor": "middle" }, `${size}`));
  }
  picture.append(svg("text", { x: margin.left, y: height - 5 }, "units switched off"));
  for (const size of grid) {
    picture.append(svg("line", { class: "axis", x1: x(size), x2: x(size), y1: inner.bottom, y2: inner.bottom + 4 }));
  }

  // Curves
  const labels = [];
  for (const { key, label, text, tone, dashed, strong, band, points } of drawn) {
    const group = svg("g", { class: tone });
    if (band && curves[band]) {
      const spreadAt = (size) => curves[band][grid.indexOf(size)] ?? 0;
      const upper = points.map((p) => [x(p.size), y(p.left + spreadAt(p.size))]);
      const lower = points.map((p) => [x(p.size), y(Math.max(p.left - spreadAt(p.size), 0))]);
      group.append(svg("polygon", { class: "band", points: [...upper, ...lower.reverse()].join(" ") }));
    }
    // A gap where a set has too few units: no line is drawn across it.
    let path = "";
    let previous = null;
    grid.forEach((size, i) => {
      const left = curves[key][i];
      if (known(left)) path += `${known(previous) ? "L" : "M"}${x(size)} ${y(left)}`;
      previous = left;
    });
    group.append(svg("path", { class: `curve${strong ? " strong" : ""}${dashed ? " dashed" : ""}`, d: path }));
    for (const { size, left } of points) {
      group.append(svg("circle", { class: "dot", cx: x(size), cy: y(left), r: strong ? 4 : 2.25 },
        svg("title", {}, `${label}, ${size} off: ${percent(left)}`)));
    }
    picture.append(group);
    const last = points.at(-1);
    labels.push({ text, tone, strong, from: [x(last.size), y(last.left)], y: y(last.left) });
  }

  // Names, beside the ends of their curves
  spread(labels, 15, margin.top, inner.bottom);
  for (const { text, tone, strong, from, y: at } of labels) {
    picture.append(svg("g", { class: tone },
      svg("line", { class: "leader", x1: from[0] + 5, y1: from[1], x2: inner.right + 11 + room, y2: at }),
      svg("text", { class: `label${strong ? " strong" : ""}`, x: inner.right + 14 + room, y: at + 4 }, text)));
  }

  // The difference, beside its line, where it ends before the curves' names begin.
  if (difference) {
    const { from, to, whole, brief } = difference;
    const [start, end] = [x(claimAt) + 9, inner.right + (isLast ? 14 + room : 0)];
    const said = start + textWidth({ text: whole, strong: true }) < end ? whole : brief;
    picture.append(
      svg("line", { class: "difference", x1: x(claimAt), x2: x(claimAt), y1: from, y2: to }),
      svg("text", { class: "difference-label", x: start, y: 0.6 * from + 0.4 * to + 4 }, said));
  }
  host.replaceChildren(picture);
}

function drawCurves(section, word) {
  const ceiling = ceilingOf(word.curves);
  for (const view of section.querySelectorAll(".view")) {
    const curves = word.curves[Number(view.dataset.curves)];
    const claimAt = curves.grid.filter((size) => size <= DATA.top).at(-1);
    for (const host of view.querySelectorAll(".chart")) {
      const title = host.parentElement.querySelector("b").textContent;
      drawPanel(host, curves, host.dataset.panel, ceiling, claimAt,
        `${title}, ${view.querySelector("h3").firstChild.textContent.trim().toLowerCase()}: what is ` +
        `left of the probability of ${word.word} as units are switched off. The numbers are in the ` +
        "tables below.");
    }
  }
}

// ---- One photo ------------------------------------------------------------------------------

// What a list is, in words: a heading, and what its number means.
function explains(ranking, view, others) {
  const patches = view === "patches";
  const meanings = {
    total: `Ordered by total: ${DATA.score}${patches ? ", summed over the patches" : ""}; to first order, what switching the unit off takes from the word.`,
    specific: "Ordered by “specific”: how far the unit's score exceeds what it scores on the reference photos, in standard deviations.",
    raw: `Ordered by score: ${DATA.score}${patches ? ", the largest over the patches" : ""}. Units that any photo drives come first.`,
    contrast: "Ordered by contrast: how far the unit's total exceeds its mean total for the same word after the same text, behind other photos.",
    change: "Ordered by change: how far the unit's mean activation over the patches is from what it is at the reference photos, in standard deviations either way. The word has no part in it.",
  };
  const passing = known(others)
    ? ` Of other photos' lists, ${percent(others)} of the units are in this one as well.`
    : " How many of another photo's units would be in it was not measured.";
  return { heading: DATA.headings[`${ranking}.${view}`], meaning: meanings[ranking] + passing };
}

// The field of a unit that a ranking orders by.
const ORDERED_BY = { raw: "score" };

function setUpPhoto(article, photo) {
  const state = { word: 0, ranking: photo.rankings[0], view: "patches", pinned: null, hovered: null, all: false };
  const find = (selector) => article.querySelector(selector);
  const section = find(".units");
  const viewer = section?.querySelector(".viewer");
  const body = find(".ranked tbody");
  const overlay = find(".overlay");
  if (!photo.words.length) return;

  const word = () => photo.words[state.word];
  // Of a noun after the first no list is specific: it falls back to the first that there is.
  const has = (name) => ["patches", "last"].some((view) => word().units[`${name}.${view}`].length);
  const compared = () => has("specific");
  const ranking = () => (has(state.ranking) ? state.ranking : photo.rankings.find(has) ?? photo.rankings[0]);
  const list = () => `${ranking()}.${state.view}`;
  const units = () => word().units[list()];

  function shownMap() {
    const maps = word().fields[list()];
    const place = state.hovered ?? state.pinned;
    const unit = place === null ? null : units()[place];
    const size = photo.grid[0] * photo.grid[1];
    if (!maps || (!unit && !maps.set)) return { unit, values: null };
    const quanta = unit
      ? signedBytes(maps.units).subarray(place * size, (place + 1) * size)
      : signedBytes(maps.set);
    const largest = unit ? maps.largest[place] : maps.setLargest;
    return { unit, values: Float32Array.from(quanta, (value) => (value / 127) * largest) };
  }

  function drawMap(frame, { unit, values }, shown) {
    const canvas = frame.querySelector("canvas");
    frame.querySelectorAll(".peak, .sink").forEach((mark) => mark.remove());
    const drawn = Boolean(values) && shown;
    frame.classList.toggle("mapped", drawn);
    if (!canvas) return;
    canvas.hidden = !drawn;
    if (!drawn) return;
    paint(canvas, values, photo.grid);
    canvas.setAttribute("aria-label", `Heat map over the photo of ${unit ? unitName(unit) : "the set"}`);
    for (const patch of photo.sinkPatches) {
      frame.append(square("sink", patch, photo.grid, "a sink patch: huge activations about nothing"));
    }
    if (unit?.peak_patch) frame.append(square("peak", unit.peak_patch, photo.grid, "the patch with its score"));
  }

  function showMap() {
    const map = shownMap();
    const { unit, values } = map;
    drawMap(viewer.querySelector(".frame"), map, true);
    const seen = find(".see .frame");
    if (seen) drawMap(seen, map, Boolean(overlay?.checked));
    if (overlay) find(".mapped-unit").textContent = unit ? `of ${unitName(unit)}` : "of the set";
    viewer.querySelector(".set").setAttribute("aria-pressed", String(!unit));
    const scale = viewer.querySelector(".scale");
    scale.hidden = !values;
    if (values) {
      const largest = Math.max(...values);
      scale.querySelector(".from").textContent = "0 or less";
      scale.querySelector(".to").textContent = largest > 0 ? rounded(largest, 3) : "nowhere above 0";
    }
    const set = `all ${units().length} units of the list, each scaled to its largest`;
    viewer.querySelector(".shown").textContent = !values
      ? "This run holds no heat maps for this list."
      : unit ? `${unitName(unit)}: activation × sign` : `The set: mean of ${set}`;
    const detail = viewer.querySelector(".detail");
    detail.replaceChildren(html("p", {}, unit
      ? unit.peak_patch ? "Framed: the patch with its score." : ""
      : "Point at a unit for its own map; click it for everything about it, Escape to let go."));
    if (state.view === "last" && values) {
      detail.append(html("p", {}, "Ranked where the word is written; the map shows the activation over the photo."));
    }
    if (photo.sinkPatches.length && values) {
      detail.append(html("p", {}, "Dashed: a sink patch, with huge activations about nothing."));
    }
    body.querySelector(".of-unit")?.remove();
    for (const row of [...body.rows]) {
      const pinned = Number(row.dataset.place) === state.pinned && state.pinned !== null;
      row.classList.toggle("pinned", pinned);
      row.querySelector(".unit").setAttribute("aria-expanded", String(pinned));
      if (pinned) row.after(detailRow(units()[state.pinned]));
    }
  }

  const ordering = () => ORDERED_BY[ranking()] ?? ranking();

  function unitRow(unit, place) {
    return html("tr", { "data-place": place, role: "row" },
      html("td", { class: "rank", role: "cell" }, `${place + 1}`),
      html("td", { class: "writes", role: "cell" },
        tokens(unit.tokens, TOKENS_IN_A_ROW),
        unit.sink && DATA.sinks ? html("span", { class: "badge sink", title: DATA.sinks }, "sink") : null),
      html("td", { class: "named", role: "cell" },
        html("button", { type: "button", class: "unit", "aria-expanded": "false" }, unitName(unit))),
      html("td", { class: "number", role: "cell", "data-label": ordering() }, rounded(unit[ordering()])));
  }

  // Everything else that the run holds of a unit: shown below its row once it is chosen.
  function detailRow(unit) {
    const fact = (name, ...value) => html("div", {}, html("dt", {}, name), html("dd", {}, ...value));
    const writes = unit.sign < 0 ? "negatively: the tokens are those its output row lowers" : "positively";
    return html("tr", { class: "of-unit", role: "row" },
      html("td", { colspan: 4, role: "cell" }, html("dl", {},
        fact("writes", tokens(unit.tokens)),
        fact("suppresses", tokens(unit.suppressed)),
        fact("7 of 10 words", `${unit.interpretable ? "yes" : "no"}${known(DATA.words_by_chance) ? `; ten random tokens: in ${rounded(100 * DATA.words_by_chance)} % of draws` : ""}`),
        DATA.compared && compared() ? fact("specific", `${rounded(unit.specific)} standard deviations above its score on the reference photos`) : null,
        fact("score", rounded(unit.score)),
        fact("total", rounded(unit.total)),
        known(unit.contrast) ? fact("contrast", rounded(unit.contrast)) : null,
        known(unit.change) ? fact("change", `${rounded(unit.change)} standard deviations from its mean activation at the reference photos`) : null,
        fact("share", known(unit.share) ? `${rounded(100 * unit.share)} % of all units' summed scores` : "–"),
        fact("acts", unit.sign ? writes : "not at all"),
        unit.peak_patch ? fact("peak", `row ${unit.peak_patch[0] + 1}, column ${unit.peak_patch[1] + 1} of ${photo.grid.join(" × ")} patches`) : null,
        fact("look it up", html("code", {}, `molyneux decode ${unitName(unit)}`)))));
  }

  function showUnits() {
    state.hovered = state.pinned = null;
    const ranked = units();
    section.querySelector(".chosen").textContent = `“${word().word}”`;
    const said = explains(ranking(), state.view, word().others[list()]);
    section.querySelector(".list-title").textContent = said.heading;
    section.querySelector(".explains").textContent = said.meaning;
    section.querySelector("th.number").textContent = ordering();
    body.replaceChildren(...ranked.slice(0, state.all ? undefined : FIRST_ROWS).map(unitRow));
    find(".ranked").hidden = !ranked.length;
    const empty = section.querySelector(".empty");
    empty.hidden = Boolean(ranked.length);
    empty.textContent = "The run lists no units here.";
    const more = section.querySelector(".more");
    more.hidden = ranked.length <= FIRST_ROWS;
    more.textContent = state.all ? `Show the first ${FIRST_ROWS}` : `Show all ${ranked.length}`;
    showMap();
  }

  function showWord() {
    for (const part of article.querySelectorAll(".of-word")) {
      part.hidden = Number(part.dataset.word) !== state.word;
      if (!part.hidden && part.querySelector(".chart")) drawCurves(part, word());
    }
    for (const button of article.querySelectorAll("button.word")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.word) === state.word));
    }
    for (const input of section.querySelectorAll('input[name$="-ranking"]')) {
      input.disabled = !has(input.value);
      input.checked = input.value === ranking();
    }
    showUnits();
  }

  const placeOf = (event) => {
    const row = event.target.closest?.("tbody tr[data-place]");
    return row ? Number(row.dataset.place) : null;
  };
  function hover(place) {
    if (place === state.hovered) return;
    state.hovered = place;
    showMap();
  }
  function pin(place) {
    state.pinned = place;
    state.hovered = null;
    showMap();
  }

  for (const button of article.querySelectorAll("button.word")) {
    button.addEventListener("click", () => {
      state.word = Number(button.dataset.word);
      showWord();
    });
  }
  for (const input of section.querySelectorAll("fieldset input")) {
    input.addEventListener("change", () => {
      state[input.name.split("-").at(-1)] = input.value;
      showUnits();
    });
  }
  body.addEventListener("pointerover", (event) => event.pointerType === "mouse" && hover(placeOf(event)));
  body.addEventListener("pointerleave", () => hover(null));
  body.addEventListener("focusin", (event) => {
    if (event.target.matches(":focus-visible")) hover(placeOf(event));
  });
  body.addEventListener("focusout", () => hover(null));
  body.addEventListener("click", (event) => {
    const place = placeOf(event);
    if (place !== null) pin(place === state.pinned ? null : place);
  });
  article.addEventListener("keydown", (event) => event.key === "Escape" && pin(null));
  viewer.querySelector(".set").addEventListener("click", () => pin(null));
  section.querySelector(".more").addEventListener("click", () => {
    state.all = !state.all;
    showUnits();
  });
  overlay?.addEventListener("change", showMap);

  let drawnAt = article.clientWidth;
  new ResizeObserver(() => {
    if (article.clientWidth === drawnAt) return;
    drawnAt = article.clientWidth;
    const part = find(".of-word:not([hidden]) .chart")?.closest(".of-word");
    if (part) drawCurves(part, word());
  }).observe(article);
  showWord();
}

// ---- What the patches say -------------------------------------------------------------------

function setUpPatches(article, photo) {
  const host = article.querySelector(".patches");
  if (!host || !photo.atPatches) return;
  const [rows, columns] = photo.grid;
  const sinks = new Set(photo.sinkPatches.map(([row, column]) => row * columns + column));
  const strength = (n) => (sinks.has(n) ? -Infinity : photo.atPatches[n][0]?.[1] ?? -Infinity);
  const place = (n) => `row ${Math.floor(n / columns) + 1}, column ${(n % columns) + 1}`;
  const suffix = (n) => (sinks.has(n) ? ", a sink patch: it counts in no sum" : "");
  let chosen = photo.atPatches.reduce((best, _, n) => (strength(n) > strength(best) ? n : best), 0);

  const cells = photo.atPatches.map((said, n) => html("button", {
    type: "button", class: sinks.has(n) ? "cell at-sink" : "cell", "data-place": n,
    "aria-label": `${place(n)}${suffix(n)}: ${said.map(([word]) => word).join(", ")}`,
  }));
  const field = host.querySelector(".cells");
  field.style.gridTemplate = `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)`;
  field.replaceChildren(...cells);

  function show(n) {
    host.querySelector(".shown").textContent = `The patch in ${place(n)}${suffix(n)}`;
    host.querySelector(".at-patch").replaceChildren(...photo.atPatches[n].map(([word, score]) =>
      html("li", {}, word, html("span", { class: "hint", title: "logits, to first order" }, rounded(score)))));
  }
  function choose(n) {
    chosen = n;
    cells.forEach((cell, place) => {
      cell.tabIndex = place === n ? 0 : -1;
      cell.setAttribute("aria-pressed", String(place === n));
    });
    show(n);
  }
  const placeOf = (event) => {
    const cell = event.target.closest?.(".cell");
    return cell ? Number(cell.dataset.place) : null;
  };
  field.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse") show(placeOf(event) ?? chosen);
  });
  field.addEventListener("pointerleave", () => show(chosen));
  field.addEventListener("click", (event) => placeOf(event) !== null && choose(placeOf(event)));
  field.addEventListener("focusin", (event) => placeOf(event) !== null && choose(placeOf(event)));
  field.addEventListener("keydown", (event) => {
    const [row, column] = [Math.floor(chosen / columns), chosen % columns];
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
    cells[to[0] * columns + to[1]].focus();
  });
  choose(chosen);
}

// ---- The page -------------------------------------------------------------------------------

for (const image of document.querySelectorAll("img[data-same-as]")) {
  // One photo, one copy in the file.
  const source = document.querySelector(`#${image.dataset.sameAs} .see img`);
  image.hidden = !source;
  if (source) image.src = source.src;
}
for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
for (const bar of document.querySelectorAll(".scale i")) {
  bar.style.background = `linear-gradient(to right, ${INFERNO.map((rgb) => `rgb(${rgb})`).join(", ")})`;
}

// A photo is drawn when it comes near: a page may hold hundreds.
const waiting = new Map();
for (const article of document.querySelectorAll("article.photo")) {
  const data = article.querySelector(".photo-data");
  if (data) waiting.set(article, () => {
    const photo = JSON.parse(data.textContent);
    setUpPhoto(article, photo);
    setUpPatches(article, photo);
  });
}
function draw(article) {
  const setUp = waiting.get(article);
  waiting.delete(article);
  setUp?.();
}
const nearby = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    nearby.unobserve(target);
    draw(target);
  }
}, { rootMargin: "1500px" });
for (const article of [...waiting.keys()]) nearby.observe(article);
addEventListener("beforeprint", () => [...waiting.keys()].forEach(draw));
draw(waiting.keys().next().value);
