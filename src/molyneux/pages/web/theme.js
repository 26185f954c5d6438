import { html, useEffect, useState } from "./vendor/htm-preact.js";

// Light or dark: as the system has it until the button says otherwise.
export function Theme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const [dark, setDark] = useState((document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark");
  useEffect(() => {
    const change = () => !document.documentElement.dataset.theme && setDark(system.matches);
    system.addEventListener("change", change);
    return () => system.removeEventListener("change", change);
  }, []);
  function turn() {
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    setDark(!dark);
  }
  return html`<button type="button" class="pill theme" onClick=${turn}>${dark ? "Light" : "Dark"}</button>`;
}
