// Asks the gateway. A token is kept for as long as the browser's tab lives, and sent to the gateway alone; where
// something in front of the gateway adds one, none is needed.

const TOKEN = "xmr-escrow-token";
const MOST_KNOWN = 30;

const known = new Map();

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function signIn(token) {
  known.clear();
  sessionStorage.setItem(TOKEN, token);
}

export function signOut() {
  known.clear();
  sessionStorage.removeItem(TOKEN);
}

/** What `kubectl escrow page` put into the address: a key in place of a token. It goes out of the address at once. */
export function signInByAddress() {
  if (!location.hash.startsWith("#key=")) return;
  const given = new URLSearchParams(location.hash.slice(1));
  signIn(given.get("key"));
  history.replaceState(null, "", `#/${encodeURIComponent(given.get("namespace") ?? "")}`);
}

export function hasToken() {
  return sessionStorage.getItem(TOKEN) !== null;
}

/** The JSON at a path, relative to the page. Throws Refused; status 0 means that nobody answered. */
export async function get(path, signal) {
  const headers = { Accept: "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  const former = known.get(path);
  if (former) headers["If-None-Match"] = former.tag;
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { headers, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The gateway does not answer.");
  }
  if (response.status === 304 && former) return former.body;
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Refused(response.status, `An answer with status ${response.status} that is not the gateway's.`);
  }
  if (!response.ok) throw new Refused(response.status, body.detail ?? body.title ?? `Status ${response.status}.`);
  known.delete(path);
  const tag = response.headers.get("ETag");
  if (tag) known.set(path, { tag, body });
  if (known.size > MOST_KNOWN) known.delete(known.keys().next().value);
  return body;
}

/** A namespace's part of a path; all of them without one. */
export function under(namespace) {
  return namespace ? `v1/namespaces/${encodeURIComponent(namespace)}` : "v1";
}
