import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { address, useAddress } from "./address.js";
import { Compare } from "./compare.js";
import { alone, exported, useData } from "./data.js";
import { Find } from "./find.js";
import { Gallery } from "./gallery.js";
import { Glossary } from "./glossary.js";
import { Live } from "./live.js";
import { Failure, Loading } from "./parts.js";
import { PhotoView } from "./photo.js";
import { StudyView } from "./study.js";
import { Theme } from "./theme.js";
import { Transplant } from "./transplant.js";
import { UnitView } from "./unit.js";

const SOON = 1; // seconds, while the model is loaded
const RELOAD = 5; // seconds, while a run is not finished

function Masthead({ place, runs, run }) {
  const link = (view, path, label) => html`<a href=${path} aria-current=${place.view === view ? "page" : null}>${label}</a>`;
  const here = run ?? runs.runs[0];
  // A page that is one file holds its photos, or its study, and no more.
  const photos = runs.runs.length > 0 && (!alone || (here.kind === "explain" && here.photos > 1));
  return html`<header class="masthead">
    <button type="button" class="pill skip" onClick=${toMain}>Skip to the view</button>
    <a class="brand" href="#/">molyneux</a>
    <nav aria-label="Views">
      ${runs.live && link("transplant", "#/transplant", "Transplant")}
      ${runs.live && link("live", "#/live", "Live")}
      ${photos && link("gallery", `#/${here.id}`, "Photos")}
      ${here?.results > 0 && link("study", `#/${here.id}/study`, "Results")}
      ${runs.runs.length > 0 && !alone && link("find", "#/find", "Find")}
      ${photos && (here.photos > 1 || runs.runs.length > 1) && link("compare", "#/compare", "Compare")}
    </nav>
    ${runs.runs.length > 1 && html`<label class="run-choice"><span class="visually-hidden">Run</span>
      <select value=${here.id} onChange=${(event) => { location.hash = address(event.target.value); }}>
        ${runs.runs.map((one) => html`<option key=${one.id} value=${one.id}>${one.name}</option>`)}</select></label>`}
    <${Theme} />
  </header>`;
}

function View({ place, runs, run }) {
  const { view, asked } = place;
  if (view === "unit" && !/^L\d+\.u\d+$/.test(place.unit)) return html`<${Failure}>“${place.unit}” is not a unit: one is named as L12.u905. <a href="#/">Go to the start</a></${Failure}>`;
  if (alone && !HERE[runs.runs[0].kind].includes(view)) return html`<${Failure}>This page holds a run's photos and results alone: the rest is in molyneux explore. <a href="#/">Go to the start</a></${Failure}>`;
  if (["photo", "unit", "gallery", "study"].includes(view) && !run) return html`<${Failure}>There is no such run here. <a href="#/">Go to the start</a></${Failure}>`;
  if (view === "photo") return html`<${PhotoView} key=${`${run.id}/${place.n}`} run=${run} n=${place.n} asked=${asked} runs=${runs} />`;
  if (view === "unit") return html`<${UnitView} key=${place.unit} run=${run} unit=${place.unit} runs=${runs} />`;
  if (view === "study") return html`<${StudyView} key=${run.id} run=${run} asked=${asked} />`;
  if (view === "gallery") return html`<${Gallery} key=${run.id} run=${run} asked=${asked} />`;
  if (view === "find") return html`<${Find} asked=${asked} runs=${runs} />`;
  if (view === "compare") return html`<${Compare} asked=${asked} runs=${runs} />`;
  if (runs.live && view === "live") return html`<${Live} asked=${asked} runs=${runs} />`;
  if (runs.live && (view === "transplant" || view === "home")) return html`<${Transplant} asked=${asked} runs=${runs} />`;
  if (view === "live" || view === "transplant") return html`<${Failure}>${exported ? "This needs a model: run molyneux explore." : "No model is loaded: start molyneux explore without --no-live."}</${Failure}>`;
  return html`<${Failure}>There is nothing at this address. <a href="#/">Go to the start</a></${Failure}>`;
}

// What a page that is one file shows: its script holds no more.
const HERE = { explain: ["photo", "gallery", "compare"], study: ["study"] };

// The first thing to see: of a model what a visitor can do, of one photo the photo itself.
function start(runs) {
  const [first] = runs.runs;
  if (runs.live) return { view: "transplant" };
  if (!first) return { view: "home" };
  if (alone && first.kind === "study") return { view: "study", run: first.id };
  return runs.runs.length === 1 && first.photos === 1 && first.kind === "explain" ? { view: "photo", run: first.id, n: 0 } : { view: "gallery", run: first.id };
}

const NAMES = { home: "", gallery: "photos", study: "results", photo: "photo", unit: "unit", find: "find", compare: "compare", live: "live", transplant: "transplant" };

const toMain = () => document.getElementById("main")?.focus({ preventScroll: true });

function App() {
  const asked = useAddress();
  const [wait, setWait] = useState(null);
  const { value: fresh, error } = useData("runs", wait);
  const loading = Boolean(fresh?.live && !fresh.live.loaded);
  const growing = Boolean(fresh?.runs.some((run) => run.finished < run.photos));
  useEffect(() => setWait(loading ? SOON : growing ? RELOAD : null), [loading, growing]);
  const place = asked.view === "home" && fresh ? { ...asked, ...start(fresh) } : asked;
  useEffect(() => {
    if (alone) return; // its name is its title
    const what = place.view === "unit" ? place.unit : place.view === "photo" ? `photo ${place.n + 1}` : NAMES[place.view] ?? "";
    document.title = what ? `${what} · molyneux` : "molyneux";
  }, [place.view, place.unit, place.n]);
  // Another view begins at its top, for those who read it with their ears, too.
  const first = useRef(true);
  useEffect(() => {
    scrollTo(0, 0);
    if (!first.current) toMain();
    first.current = !fresh;
  }, [place.view, place.run, place.n, place.unit, Boolean(fresh)]);
  if (error) return html`<main><${Failure}>${error}</${Failure}></main>`;
  if (!fresh) return html`<main><${Loading} /></main>`;
  const run = fresh.runs.find(({ id }) => id === place.run);
  return html`<${Glossary.Provider} value=${fresh.glossary ?? {}}>
    <${Masthead} place=${place} runs=${fresh} run=${run} />
    <main id="main" tabindex="-1">
      ${loading && html`<p class="hint loading-model" role="status"><span class="pulse" aria-hidden="true"></span> The model is being loaded; what you ask waits for it.</p>`}
      ${fresh.live_error && html`<${Failure}>The model is not there: ${fresh.live_error}</${Failure}>`}
      <${View} place=${place} runs=${fresh} run=${run} /></main>
  </${Glossary.Provider}>`;
}

render(html`<${App} />`, document.getElementById("app"));
