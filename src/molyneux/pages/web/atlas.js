import { exported, load } from "./data.js";
import { api } from "./server.js";

// Every unit of the model by what it writes. A server is asked; an export holds the atlas in
// pieces of some 60 kB, of which those are read that hold the layers asked for.

const NOT_TRIED = [null, null, null, 0, null];

const plain = (text) => Array.from(text.trim(), (one) => one.toUpperCase().toLowerCase()).join("");

function numbers(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  return new Kind(bytes.buffer);
}

const opened = new Map();

function once(key, read) {
  if (!opened.has(key)) {
    const promise = read();
    promise.catch(() => opened.delete(key));
    opened.set(key, promise);
  }
  return opened.get(key);
}

const numbered = (count, read) => Promise.all(Array.from({ length: count }, (_, place) => read(place)));

const vocabulary = () => once("tokens", async () => {
  const { tokens } = await load("atlas");
  const texts = (await numbered(tokens, (place) => load(`atlas/tokens.${place}`))).flatMap((part) => part.texts);
  return { texts, plains: texts.map(plain) };
});

const piece = (place) => once(`units.${place}`, async () => {
  const index = await load("atlas");
  const { ends, norms, measured } = await load(`atlas/units.${place}`);
  const Kind = index.bytes === 2 ? Uint16Array : Uint32Array;
  return { ends: ends.map((text) => numbers(text, Kind)), norms: numbers(norms, Float32Array),
    measured: new Map(measured.map(([row, ...rest]) => [row, rest])) };
});

function layersOf(text, n) {
  if (!text.trim()) return [0, n - 1];
  const found = /^\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?$/.exec(text);
  if (!found) throw new Error(`layers are given as 5 or 5-12, not “${text.slice(0, 20)}”`);
  const [first, last] = [Number(found[1]), Number(found[2] ?? found[1])];
  if (first > last || last >= n) throw new Error(`there are no layers ${text.trim()}: the model has 0 to ${n - 1}`);
  return [first, last];
}

const textsOf = (ids, texts) => Array.from(ids).filter((id) => id < texts.length).map((id) => texts[id]);

const ends = (index, unit, at) => index.width.map((width, end) => unit.ends[end].subarray(at * width, (at + 1) * width));

const nameOf = (index, row) => `L${Math.floor(row / index.d_mlp)}.u${row % index.d_mlp}`;

// What the server's search gives: units that write the word, then those that write what begins so.
async function search({ q, layer = "", by = "", sign = "", limit }) {
  const [index, { texts, plains }] = [await load("atlas"), await vocabulary()];
  const sought = plain(q);
  const wanted = new Uint8Array(texts.length + 1); // 2: the word itself, 1: begins so
  plains.forEach((text, token) => { wanted[token] = text === sought ? 2 : text.startsWith(sought) ? 1 : 0; });
  if (!sought || !wanted.some(Boolean)) throw new Error(`no token of ${index.model} begins “${q.trim()}”`);
  if (by === "effect" && !index.joined) throw new Error("no run was joined to the atlas, which says nothing of photos");
  const [first, last] = layersOf(layer, index.layers);
  const [from, to] = [first * index.d_mlp, (last + 1) * index.d_mlp];
  const places = [];
  const begin = Math.floor(from / index.units);
  const pieces = await numbered(Math.ceil(to / index.units) - begin, (place) => piece(begin + place));
  pieces.forEach(({ ends: both, norms, measured }, at) => {
    const base = (begin + at) * index.units;
    [1, -1].forEach((direction, end) => {
      if (sign && Number(sign) !== direction) return;
      const width = index.width[end];
      for (let unit = Math.max(0, from - base); unit < Math.min(norms.length, to - base); unit += 1) {
        let [begins, same] = [-1, -1];
        for (let rank = width - 1; rank >= 0; rank -= 1) {
          const found = wanted[both[end][unit * width + rank]];
          if (found) begins = rank;
          if (found === 2) same = rank;
        }
        if (begins >= 0) places.push({ row: base + unit, direction, begins, same, norm: norms[unit],
          effect: by === "effect" ? measured.get(base + unit)?.[0] ?? -Infinity : 0, from: pieces[at], unit });
      }
    });
  });
  const ranked = (rank) => (a, b) => (a.effect !== b.effect ? b.effect - a.effect
    : a[rank] - b[rank] || (by === "effect" ? 0 : b.norm - a.norm) || a.row - b.row || b.direction - a.direction);
  const itself = places.filter(({ same }) => same >= 0).sort(ranked("same")).slice(0, limit);
  const taken = new Set(itself);
  const rest = places.sort(ranked("begins")).slice(0, limit).filter((place) => !taken.has(place));
  const chosen = (itself.length ? [...itself, ...rest] : rest).slice(0, limit)
    .map((place) => ({ ...place, rank: taken.has(place) ? place.same : place.begins }));
  if (by === "layer") chosen.sort((a, b) => Math.floor(a.row / index.d_mlp) - Math.floor(b.row / index.d_mlp) || a.rank - b.rank);
  return chosen.map(({ row, direction, from: of, unit, rank }) => {
    const [top, bottom] = ends(index, of, unit);
    const [effect, low, high, n, mismatched] = of.measured.get(row) ?? NOT_TRIED;
    return { unit: `${nameOf(index, row)}${direction < 0 ? "-" : ""}`, rank, tokens: textsOf(direction > 0 ? top : bottom, texts),
      effect, effect_low: low, effect_high: high, n_effect: n, mismatched_effect: mismatched };
  });
}

export async function searchAtlas(asked) {
  if (exported) return search(asked);
  const given = Object.entries(asked).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return (await api(`atlas/search?${new URLSearchParams(given)}`)).rows;
}

// What an export's atlas says of a unit that no list of its runs has; null where it says nothing.
export async function unitOf(layer, unit) {
  const [index, { texts }] = [await load("atlas"), await vocabulary()];
  if (layer >= index.layers || unit >= index.d_mlp) return null;
  const row = layer * index.d_mlp + unit;
  const found = await piece(Math.floor(row / index.units));
  const at = row % index.units;
  const [tokens, suppressed] = ends(index, found, at).map((ids) => textsOf(ids, texts));
  const [effect, low, high, n, mismatched] = found.measured.get(row) ?? NOT_TRIED;
  return { lens: index.lens, tokens, suppressed, norm: found.norms[at], effect, low, high, n, mismatched };
}
