import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { load } from "./data.js";
import { upload, withToken } from "./server.js";

const SHOWN = 200;

// A photo's name in an address: r0.3 of a run, sample:cat.jpg, upload:ID.
export function photoOf(name) {
  if (!name) return null;
  const ofRun = /^(r\d+)\.(\d+)$/.exec(name);
  if (ofRun) return { run: ofRun[1], n: Number(ofRun[2]) };
  const [kind, ...rest] = name.split(":");
  return kind === "upload" || kind === "sample" ? { [kind]: rest.join(":") } : null;
}

export function photoUrl(name) {
  const photo = photoOf(name);
  if (!photo) return null;
  if (photo.run) return `/api/image/${photo.run}/${photo.n}`;
  if (photo.upload) return `/api/image/upload/${photo.upload}`;
  return `/api/image/sample/${encodeURIComponent(photo.sample)}`;
}

export function photoTitle(name) {
  const photo = photoOf(name);
  if (!photo) return "no photo";
  if (photo.run) return `photo ${photo.n + 1} of ${photo.run}`;
  return photo.sample ?? "your photo";
}

// The photos that can be chosen without an upload: of the samples, and of every run.
export function useChoices(runs) {
  const [choices, setChoices] = useState(null);
  useEffect(() => {
    const samples = (runs.live?.loaded ? runs.live.samples : []).map(({ name, url }) => ({ name: `sample:${name}`, url, title: name, group: "samples" }));
    Promise.all(runs.runs.map((run) => load(`gallery/${run.id}`).then(
      ({ cards }) => cards.filter((card) => card.photo && !card.error).slice(0, SHOWN)
        .map((card) => ({ name: `${run.id}.${card.n}`, url: card.photo, title: card.caption || card.name, group: run.name })),
      () => []))).then((all) => setChoices([...all.flat(), ...samples]));
  }, [runs.live?.loaded, runs.runs.map(({ id, finished }) => id + finished).join()]);
  return choices;
}

// A photo slot: shows what is chosen; opens a strip of photos, takes a file, or one that is dropped.
export function Picker({ label, choices, onPick, children }) {
  const [open, setOpen] = useState(false);
  const [over, setOver] = useState(false);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const file = useRef(null);

  async function take(one) {
    if (!one) return;
    setBusy(true);
    setError(null);
    try {
      const { photo } = await upload(one);
      setOpen(false);
      onPick(`upload:${photo}`);
    } catch (failure) {
      setError(failure.message);
    }
    setBusy(false);
  }
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };
  return html`<div class=${over ? "picker over" : "picker"} onDragOver=${(event) => { event.preventDefault(); setOver(true); }}
      onDragLeave=${() => setOver(false)} onDrop=${drop}>
    ${children}
    <div class="picker-bar">
      <button type="button" class="pill" aria-expanded=${String(open)} aria-label=${`Choose ${label}`} onClick=${() => setOpen(!open)}>Choose</button>
      <label class="pill file">Your own<input type="file" accept="image/*" ref=${file} aria-label=${`A file for ${label}`}
        onChange=${() => { take(file.current.files[0]); file.current.value = ""; }} /></label>
      <span class="hint">${busy ? "Reading the file …" : "or drop one"}</span>
    </div>
    ${error && html`<p class="error" role="alert">${error}</p>`}
    ${open && html`<div class="strip" role="group" aria-label=${`Photos for ${label}`}>
      ${(choices ?? []).map((one) => html`<button key=${one.name} type="button" title=${one.title} aria-label=${`${one.title} (${one.group})`}
        onClick=${() => { setOpen(false); onPick(one.name); }}><img src=${withToken(one.url)} alt="" loading="lazy" /></button>`)}
    </div>`}
  </div>`;
}
