import { useEffect, useState } from "./vendor/htm-preact.js";

// A view's address holds all that it shows: `#/r0/3?word=cat&list=total.patches&unit=L12.u905`.

// An address is whatever somebody typed: what is no code of a character stands for itself.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  const asked = Object.fromEntries(new URLSearchParams(query ?? ""));
  if (!parts.length) return { view: "home", asked };
  if (/^r\d+$/.test(parts[0])) {
    const run = parts[0];
    if (parts.length === 1) return { view: "gallery", run, asked };
    if (parts[1] === "study") return { view: "study", run, asked };
    if (parts[1] === "unit") return { view: "unit", run, unit: parts[2] ?? "", asked };
    return { view: "photo", run, n: Number(parts[1]), asked };
  }
  return { view: parts[0], asked };
}

export function address(path, asked = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  // Commas, colons and the like are legible in a fragment as they are.
  const text = query.toString().replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%2F/g, "/");
  return `#/${path}${text ? `?${text}` : ""}`;
}

export function photoAddress(run, n, asked) {
  return address(`${run}/${n}`, asked);
}

export function unitAddress(run, unit) {
  return address(`${run}/unit/${unit}`);
}

export function useAddress() {
  const [place, setPlace] = useState(() => parse(location.hash));
  useEffect(() => {
    const change = () => setPlace(parse(location.hash));
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return place;
}

// Writes what is chosen into the address. What one points at and drops again is no step to go
// back to, so the entry of the history is replaced unless `step` says otherwise.
export function restate(asked, step = false) {
  const path = location.hash.replace(/^#\/?/, "").split("?")[0];
  const now = { ...parse(location.hash).asked, ...asked };
  const next = address(path, now);
  if (next === location.hash) return;
  if (step) {
    location.hash = next;
    return;
  }
  history.replaceState(null, "", next);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
