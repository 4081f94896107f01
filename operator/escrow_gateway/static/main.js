// Which view is shown, and how it stays up to date.

import { Refused, hasToken, signIn, signInByAddress, signOut } from "./api.js";
import { make, show } from "./dom.js";
import * as overview from "./overview.js";
import * as session from "./session.js";

const EVERY = 3000;
const AT_MOST_EVERY = 30000;

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const said = document.getElementById("said");
const scope = document.getElementById("scope");
const leave = document.getElementById("sign-out");

let route = { view: overview };
let found = null;
let timer = null;
let asking = null;
let failures = 0;

/** #/, #/NAMESPACE or #/NAMESPACE/NAME. */
function routeOf(hash) {
  const [namespace, name] = hash.replace(/^#\/?/, "").split("/").map(decoded);
  return { view: name ? session : overview, namespace: namespace || undefined, name };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function render() {
  if (!found) return;
  const kept = new Map([...main.querySelectorAll("[data-kept]")].map((one) => [one.dataset.kept, one]));
  const children = route.view.view(route, found, render);
  // What somebody types into stays the element it is.
  show(main, children.map((child) => kept.get(child?.dataset?.kept) ?? child));
  document.title = `${route.view.title(route)} – Escrow sessions`;
}

async function look() {
  clearTimeout(timer);
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const now = await route.view.load(route, signal);
    if (signal.aborted) return;
    const news = found ? route.view.changes(found, now) : [];
    if (news.length) said.textContent = news.slice(0, 3).join(" ");
    found = now;
    failures = 0;
    connection.textContent = "Live";
    render();
  } catch (error) {
    if (signal.aborted) return;
    failures += 1;
    refused(error);
  }
  leave.hidden = !hasToken();
  if (document.visibilityState === "visible" && !document.getElementById("token")) {
    timer = setTimeout(look, Math.min(AT_MOST_EVERY, EVERY * 2 ** Math.min(failures, 4)));
  }
}

function refused(error) {
  const status = error instanceof Refused ? error.status : -1;
  connection.textContent = "Not live";
  if (status === 401) {
    ask(error.message);
  } else if (status === 403 || status === 404) {
    found = null;
    show(main, [
      make("h1", {}, route.view.title(route)),
      make("p", { class: "notice alarm" }, error.message),
      make("p", {}, route.namespace ? "" : "If you may list the sessions of a namespace, name it above."),
    ]);
  } else if (found) {
    // What was seen last stays on the screen, and says that it is old.
    connection.textContent = `Not live: ${error.message} Trying again.`;
  } else {
    show(main, [make("h1", {}, "Not connected"), make("p", { class: "notice alarm" }, `${error.message} Trying again.`)]);
  }
}

/** Ask for a token. Nothing is looked at meanwhile, so that what is typed stays. */
function ask(why) {
  found = null;
  const input = make("textarea", {
    id: "token",
    rows: 4,
    cols: 60,
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "how",
  });
  const form = make(
    "form",
    { "data-whole": true },
    make("label", { for: "token" }, "Token"),
    input,
    make("button", {}, "Sign in"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(input.value.trim());
    input.remove();
    go();
  });
  show(main, [
    make("h1", {}, "Sign in"),
    hasToken() ? make("p", { class: "notice alarm" }, why) : null,
    make("p", { id: "how" }, "Kubernetes decides what you see: give the page a token of an account that may list sessions."),
    make(
      "p",
      { class: "code" },
      "kubectl create token ACCOUNT -n NAMESPACE --audience xmr-escrow-gateway",
    ),
    form,
  ]);
}

function go() {
  const former = route;
  route = routeOf(location.hash);
  scope.elements.namespace.value = route.namespace ?? "";
  failures = 0;
  if (former.view !== route.view || former.name !== route.name || former.namespace !== route.namespace) {
    found = null;
    show(main, [make("h1", {}, route.view.title(route)), make("p", { class: "quiet" }, "Loading.")]);
    main.focus({ preventScroll: false });
  }
  look();
}

scope.addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = `#/${encodeURIComponent(scope.elements.namespace.value.trim())}`;
});
leave.addEventListener("click", () => {
  signOut();
  found = null;
  look();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && !document.getElementById("token")) look();
});
addEventListener("hashchange", go);
signInByAddress();
go();
