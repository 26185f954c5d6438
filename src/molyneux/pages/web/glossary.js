import { html, createContext, useContext, useRef, useState } from "./vendor/htm-preact.js";

export const Glossary = createContext({});

let made = 0;

// A word of the field that says what it means when pointed at, focused or tapped.
export function Term({ name, children }) {
  const sentence = useContext(Glossary)[name];
  const id = useRef(`term-${++made}`);
  const [shown, setShown] = useState(false);
  const tip = useRef(null);
  const text = children ?? name;
  if (!sentence) return html`<span>${text}</span>`;
  const show = () => {
    setShown(true);
    requestAnimationFrame(() => keepInside(tip.current));
  };
  const hide = () => setShown(false);
  return html`<span class="term-place">
    <button type="button" class="term" aria-describedby=${id.current} onMouseEnter=${show} onMouseLeave=${hide}
      onFocus=${show} onBlur=${hide} onClick=${(event) => { event.preventDefault(); event.stopPropagation(); show(); }}
      onKeyDown=${(event) => event.key === "Escape" && hide()}>${text}</button>
    <span role="tooltip" id=${id.current} ref=${tip} class=${shown ? "tip shown" : "tip"}>${sentence}</span>
  </span>`;
}

function keepInside(tip) {
  if (!tip) return;
  tip.style.marginLeft = "0px";
  const over = tip.getBoundingClientRect().right + 12 - document.documentElement.clientWidth;
  if (over > 0) tip.style.marginLeft = `${-over}px`;
}
