// Pools and sessions of a namespace, or of all: in the order of the gateway: those that need a look first.

import { get, under } from "./api.js";
import { badge, make, moment, table } from "./dom.js";

const filters = { text: "", only: "all" };

export async function load(route, signal) {
  const sessions = await get(`${under(route.namespace)}/escrowsessions`, signal);
  let pools;
  try {
    pools = await get(`${under(route.namespace)}/walletpools`, signal);
  } catch (error) {
    if (error.status !== 403) throw error;
    pools = { items: [], refused: error.message };
  }
  return { sessions, pools };
}

export function title(route) {
  return route.namespace ? `Sessions in ${route.namespace}` : "Sessions of all namespaces";
}

export function view(route, found, again) {
  const all = found.sessions.items;
  const shown = all.filter(isWanted);
  const waiting = all.filter(needsEyes).length;
  return [
    make("h1", {}, title(route)),
    make("p", {}, summary(all, waiting, found.sessions.more)),
    controls(again),
    sessions(shown, all.length, route),
    make("h2", {}, "Pools"),
    found.pools.more ? make("p", {}, "There are more pools than are shown. Choose a namespace.") : null,
    found.pools.refused ? make("p", { class: "notice" }, found.pools.refused) : pools(found.pools.items, route),
  ];
}

/** What somebody who does not look is told: whose phase is another one. */
export function changes(before, now) {
  const phases = new Map(before.sessions.items.map((one) => [`${one.namespace}/${one.name}`, one.phase]));
  return now.sessions.items
    .filter((one) => phases.has(`${one.namespace}/${one.name}`))
    .filter((one) => phases.get(`${one.namespace}/${one.name}`) !== one.phase)
    .map((one) => `${one.name} is ${one.phase}.`);
}

function summary(all, waiting, more) {
  const open = all.filter((one) => one.phase === "Active" || one.phase === "Settling").length;
  const number = all.length === 1 ? "1 session" : `${all.length} sessions`;
  const parts = [number, `${open} open`, `${waiting} to be looked at`];
  const rest = " There are more; these are the ones that need a look first. Choose a namespace to see all of its sessions.";
  return `${parts.join(", ")}.${more ? rest : ""}`;
}

function controls(again) {
  const text = make("input", { type: "search", id: "filter", placeholder: "name or reason", value: filters.text });
  text.addEventListener("input", () => {
    filters.text = text.value;
    again();
  });
  const only = make(
    "select",
    { id: "only" },
    ...[
      ["all", "all sessions"],
      ["eyes", "to be looked at"],
      ["open", "that are open"],
      ["closed", "that are closed"],
    ].map(([value, label]) => make("option", { value, selected: value === filters.only }, label)),
  );
  only.addEventListener("change", () => {
    filters.only = only.value;
    again();
  });
  return make(
    "div",
    // Made once: its elements hold what somebody types.
    { class: "filters", "data-kept": "filters" },
    make("label", { for: "filter" }, "Filter"),
    text,
    make("label", { for: "only", class: "unseen" }, "Which sessions"),
    only,
  );
}

function isWanted(one) {
  const open = one.phase === "Active" || one.phase === "Settling";
  if (filters.only === "eyes" && !needsEyes(one)) return false;
  if (filters.only === "open" && !open) return false;
  if (filters.only === "closed" && open) return false;
  return `${one.namespace}/${one.name} ${one.reason} ${one.phase}`.toLowerCase().includes(filters.text.toLowerCase());
}

function needsEyes(one) {
  return one.ready !== "True" || one.phase === "Failed" || Boolean(one.moneyMovedAt);
}

function sessions(shown, number, route) {
  const rows = shown.map((one) => [
    [
      make("a", { href: `#/${one.namespace}/${one.name}` }, one.name),
      route.namespace ? null : make("span", { class: "quiet" }, ` in ${one.namespace}`),
    ],
    badge(one.deleting ? "Deleting" : one.phase),
    badge(one.ready, one.ready === "True" ? "good" : "busy"),
    [badge(one.funded, one.funded === "True" ? "good" : "")],
    `${one.balance ?? "–"} of ${one.amount}${one.balanceAsOf ? ", when last seen" : ""}`,
    moment(one.expiresAt),
    one.moneyMovedAt ? [badge("money is gone", "bad"), ` ${one.fundedReason}`] : one.ready === "True" ? "" : one.reason,
  ]);
  const head = ["Session", "Phase", "Ready", "Funded", "XMR", "Closes", "Why"];
  const none = number ? "No session is like that." : "There are no sessions here.";
  const keys = shown.map((one) => `${one.namespace}/${one.name}`);
  return table(`${shown.length} of ${number} shown`, head, rows, none, keys);
}

function pools(found, route) {
  const rows = found.map((one) => {
    const share = Number.parseInt(one.utilisation ?? "", 10);
    const told = Number.isNaN(share)
      ? "–"
      : [make("meter", { min: 0, max: 100, value: share, "aria-label": "share of the cap" }), ` ${share} %`];
    return [
      route.namespace ? one.name : `${one.namespace}/${one.name}`,
      badge(one.ready, one.ready === "True" ? "good" : "busy"),
      one.free ?? "–",
      one.adopted ?? "–",
      String(one.prepared),
      `${one.sessions ?? "–"}${one.waiting ? ` and ${one.waiting} waiting` : ""}`,
      told,
      String(one.height ?? "–"),
      one.ready === "True" ? "" : `${one.reason}: ${one.message}`,
    ];
  });
  const head = ["Pool", "Ready", "Free", "Adopted", "Prepared", "Sessions", "Of the cap", "Height", "Why"];
  const keys = found.map((one) => `${one.namespace}/${one.name}`);
  const caption = "Free and adopted pods are those of buyer, vendor and arbiter";
  return table(caption, head, rows, "There are no pools here.", keys);
}
