// Numbers, names and tokens, as every view writes them.

// As `molyneux decode` takes it: with a - where the unit writes negatively.
export function unitName(unit) {
  return `L${unit.layer}.u${unit.unit}${unit.sign < 0 ? "-" : ""}`;
}

// The unit itself, whatever its sign: what an address names.
export function unitKey(unit) {
  return `L${unit.layer}.u${unit.unit}`;
}

export function known(value) {
  return value !== null && value !== undefined;
}

export function percent(fraction) {
  if (!known(fraction)) return "–";
  if (fraction > 0 && fraction < 0.001) return "under 0.1\u00a0%";
  return `${(100 * fraction).toFixed(fraction && fraction < 0.0995 ? 1 : 0)}\u00a0%`;
}

// Digits that matter, never an exponent: 4.79, 0.013, 0.00061.
export function rounded(value, digits = 2) {
  if (!known(value)) return "–";
  if (value === 0) return "0";
  const places = digits - 1 - Math.floor(Math.log10(Math.abs(value)));
  if (places > 7) return value < 0 ? "−0.000" : "0.000";
  return value.toFixed(Math.max(0, places)).replace("-", "−");
}

export function probability(value) {
  if (!known(value)) return "–";
  return value > 0 && value < 1e-7 ? "under 0.0000001" : rounded(value);
}

export function signed(value, places = 2) {
  if (!known(value)) return "–";
  return `${value > 0 ? "+" : ""}${value.toFixed(places).replace("-", "−")}`;
}

// How many times as likely: 12×, or as 1/12 where it fell.
export function times(before, after) {
  if (!before || !after) return "";
  const ratio = after / before;
  if (ratio > 0.95 && ratio < 1.05) return "the same";
  return ratio >= 1 ? `${rounded(ratio)} ×` : `1/${rounded(1 / ratio)} of it`;
}

export function capital(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : "";
}

export function sentence(text) {
  return text && capital(/[.!?]$/.test(text) ? text : `${text}.`);
}

export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

// A token that shows nothing, or only marks of broken bytes, says nothing in a list.
export function isSeen(token) {
  return /[^\s\p{C}\p{Z}\ufffd]/u.test(token);
}

// What cannot be seen is spelt: a leading blank as ␣, line breaks as \n.
export function spelt(token) {
  const rest = token.replace(/^ /, "");
  const text = JSON.stringify(rest).slice(1, -1).replace(/\\(["\\])/g, "$1")
    .replace(/[\p{Cf}\p{Co}\p{Zs}\ufffd]/gu, (one) =>
      one === " " ? one : `U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);
  return { blank: rest !== token, text };
}

// Where units are in the stack: "layers 5 to 12".
export function patchName([row, column]) {
  return `row ${row + 1}, column ${column + 1}`;
}

// Whether five words in a row come twice: a caption that goes round in circles describes nothing.
export function repeats(text) {
  const words = text.toLowerCase().match(/[\p{L}\p{N}'-]+/gu) ?? [];
  const seen = new Set();
  return words.some((_, at) => {
    if (at + 5 > words.length) return false;
    const five = words.slice(at, at + 5).join(" ");
    return seen.has(five) || !seen.add(five);
  });
}
