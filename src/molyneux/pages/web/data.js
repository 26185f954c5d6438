import { useEffect, useState } from "./vendor/htm-preact.js";
import { api } from "./server.js";

// What a page shows lies under a key: on a server behind /api/data; in an export in a classic
// script of its own, since a page opened from disk may fetch nothing; of a page that is one file
// inside it, as text that is parsed when it is asked for.

export const exported = Boolean(window.MOLYNEUX_EXPORT);

const inside = (key) => document.querySelector(`script[data-key="${key}"]`);

// Whether the page is one file: what it does not hold is nowhere.
export const alone = inside("runs") !== null;

// Rows of one kind hold their names once.
function unpacked(data) {
  if (data === null || typeof data !== "object") return data;
  if (Array.isArray(data)) return data.map(unpacked);
  const columns = data["\u0001columns"];
  if (columns) return data["\u0001rows"].map((row) => Object.fromEntries(columns.map((name, n) => [name, unpacked(row[n])])));
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, unpacked(value)]));
}

async function fromPage(key) {
  const element = inside(key);
  if (!element) throw new Error("This page does not hold that: see molyneux explore.");
  return unpacked(JSON.parse(element.textContent));
}

const found = new Map();
const arriving = new Map();
window.MOLYNEUX_DATA = (key, value) => arriving.get(key)?.(value);

// Units of a layer share a script, 64 at a time.
function fileOf(key) {
  const unit = /^(unit\/\w+\/L\d+)\.u(\d+)$/.exec(key);
  return unit ? `${unit[1]}.${Math.floor(Number(unit[2]) / 64)}` : key;
}

function fromScript(key) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    arriving.set(key, resolve);
    script.src = `data/${fileOf(key)}.js`;
    script.onload = () => {
      script.remove();
      reject(new Error(`data/${key}.js holds something else`));
    };
    script.onerror = () => reject(new Error(`This export does not hold that (${key}).`));
    document.head.append(script);
  });
}

export function load(key) {
  if (!found.has(key)) {
    const promise = alone ? fromPage(key) : exported ? fromScript(key) : api(`data/${key}`);
    promise.catch(() => found.delete(key));
    found.set(key, promise);
  }
  return found.get(key);
}

export function forget(key) {
  found.delete(key);
}

// {value, error}: both null while it is on its way. `every` seconds it is read again.
export function useData(key, every = null) {
  const [state, setState] = useState({ key: null, value: null, error: null });
  useEffect(() => {
    if (!key) return undefined;
    let wanted = true;
    const read = () => load(key).then(
      (value) => wanted && setState({ key, value, error: null }),
      (error) => wanted && setState({ key, value: null, error: error.message }));
    read();
    const timer = every && !exported && setInterval(() => { forget(key); read(); }, 1000 * every);
    return () => { wanted = false; clearInterval(timer); };
  }, [key, every]);
  return state.key === key ? state : { value: null, error: null };
}
