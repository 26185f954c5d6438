import { html } from "./vendor/htm-preact.js";
import { isSeen, spelt } from "./text.js";

export function Token({ text }) {
  const { blank, text: rest } = spelt(text);
  return html`<code class="token">${blank && html`<span class="space">␣</span>`}${rest}</code>`;
}

// The tokens that can be seen, those that begin with what is sought first; of the others how many there are, spelt where one points.
export function Tokens({ list, most = 10, sought = "" }) {
  const all = list ?? [];
  const hit = (token) => sought && token.trim().toLowerCase().startsWith(sought);
  const seen = all.filter(isSeen).sort((a, b) => Boolean(hit(b)) - Boolean(hit(a)));
  const unseen = all.filter((token) => !isSeen(token));
  if (!all.length) return html`<span class="hint">no tokens</span>`;
  return html`<span class="tokens">
    ${seen.slice(0, most).map((text, n) => (hit(text) ? html`<mark key=${n}><${Token} text=${text} /></mark>` : html`<${Token} key=${n} text=${text} />`))}
    ${unseen.length > 0 && html`<span class="unseen" title=${unseen.map((one) => spelt(one).text || "blank").join("  ")}>
      ${seen.length ? "+" : ""}${unseen.length} unseen</span>`}
  </span>`;
}
