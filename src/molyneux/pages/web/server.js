// The server's side of a live page: requests with the token, and jobs that wait their turn.
import { useEffect, useRef, useState } from "./vendor/htm-preact.js";

const FIRST_LOOK = 120; // milliseconds until a job is asked after; then a little longer each time
const LONGEST_LOOK = 600;

// The token comes in the address once, and goes out of it at once.
function takeToken() {
  const asked = new URLSearchParams(location.search);
  const token = asked.get("token");
  try {
    // Of this address and port alone, and of all its tabs: an address restores its view in each.
    if (token) localStorage.setItem("token", token);
  } catch {
    return token ?? "";
  }
  if (token) history.replaceState(null, "", location.pathname + location.hash);
  return token ?? localStorage.getItem("token") ?? "";
}

const token = window.MOLYNEUX_EXPORT ? "" : takeToken();

// What an image element is to show. It cannot send a header: the server takes the token in its
// address. Of a page that is one file, the picture is inside.
export function withToken(url) {
  if (url?.startsWith("#")) return document.getElementById(url.slice(1))?.getAttribute("src") ?? null;
  if (!url || !url.startsWith("/api/") || /[?&]token=/.test(url)) return url;
  return `${url}${url.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}`;
}

export async function api(path, options = {}) {
  const headers = { "X-Token": token, ...options.headers };
  let answer;
  try {
    answer = await fetch(`/api/${path}`, { ...options, headers });
  } catch {
    throw new Error("The server does not answer: is molyneux explore still running?");
  }
  let content = null;
  try {
    content = await answer.json();
  } catch {
    content = null;
  }
  if (!answer.ok) throw new Error(content?.error ?? `The server refused this (${answer.status}).`);
  return content;
}

export function upload(file) {
  const name = encodeURIComponent(file.name || "photo");
  return api("photos", { method: "POST", body: file, headers: { "X-Name": name } });
}

const cancel = (job) => api(`jobs/${job}/cancel`, { method: "POST", keepalive: true }).catch(() => {});

function later(milliseconds) {
  return new Promise((done) => { setTimeout(done, milliseconds); });
}

// A job of this view: at most one at a time. A new one cancels what is still at work, and so does
// leaving the view. `state`: idle, waiting, running, done, failed or cancelled.
export function useJob() {
  const [status, setStatus] = useState({ state: "idle" });
  const current = useRef(null);
  useEffect(() => {
    const leave = () => current.current?.id && cancel(current.current.id);
    addEventListener("pagehide", leave);
    return () => {
      removeEventListener("pagehide", leave);
      leave();
      current.current = null;
    };
  }, []);

  async function start(spec) {
    const mine = { id: null };
    if (current.current?.id) cancel(current.current.id);
    current.current = mine;
    const say = (next) => current.current === mine && setStatus(next);
    say({ state: "waiting", place: null });
    try {
      const { job, place } = await api("jobs", {
        method: "POST", body: JSON.stringify(spec), headers: { "Content-Type": "application/json" },
      });
      mine.id = job;
      if (current.current !== mine) cancel(job);
      say({ state: "waiting", place });
      for (let wait = FIRST_LOOK; current.current === mine; wait = Math.min(LONGEST_LOOK, 1.25 * wait)) {
        await later(wait);
        const now = await api(`jobs/${job}`);
        say(now);
        if (now.state === "waiting" || now.state === "running") continue;
        mine.id = null;
        if (now.state === "failed") throw new Error(now.error ?? "It failed.");
        return current.current === mine && now.state === "done" ? now.result : null;
      }
    } catch (error) {
      mine.id = null;
      say({ state: "failed", error: error.message });
    }
    return null;
  }

  function stop() {
    if (!current.current?.id) return;
    cancel(current.current.id);
    current.current = null;
    setStatus({ state: "cancelled" });
  }
  return { ...status, busy: status.state === "waiting" || status.state === "running", start, stop };
}
