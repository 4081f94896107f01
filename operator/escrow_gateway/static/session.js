// One session: what it is, what it waits for, and its story.

import { get, under } from "./api.js";
import { badge, make, moment, table } from "./dom.js";

const OVER = new Set(["Completed", "Refunded"]);

export async function load(route, signal) {
  const path = `${under(route.namespace)}/escrowsessions/${encodeURIComponent(route.name)}`;
  const session = await get(path, signal);
  let events;
  try {
    events = await get(`${path}/events`, signal);
  } catch (error) {
    if (error.status !== 403) throw error;
    events = { items: [], refused: error.message };
  }
  return { session, events };
}

export function title(route) {
  return `${route.name} in ${route.namespace}`;
}

export function changes(before, now) {
  const former = before.session.phase;
  return former === now.session.phase ? [] : [`${now.session.name} is ${now.session.phase}.`];
}

export function view(route, { session, events }) {
  const ready = condition(session, "Ready");
  return [
    make("p", {}, make("a", { href: `#/${route.namespace}` }, `All sessions in ${route.namespace}`)),
    make("h1", {}, `${route.name} `, badge(session.phase ?? "Pending")),
    alarm(session),
    make("p", { class: ready.status === "True" ? "notice calm" : "notice" }, `${ready.reason ?? "Pending"}: ${ready.message ?? "the operator has not seen it yet."}`),
    facts(session),
    make("h2", {}, "Story"),
    events.refused ? make("p", { class: "notice" }, events.refused) : null,
    events.more ? make("p", {}, "There are older Events than are shown.") : null,
    make("ol", { class: "timeline" }, ...story(session, events.items).map(entry)),
    make("h2", {}, "Conditions"),
    conditions(session),
  ];
}

function alarm(session) {
  if (!session.moneyMovedAt) return null;
  return make(
    "p",
    { class: "notice alarm", role: "alert" },
    "Money left this escrow by no payout that its spec names. Find out who signed.",
  );
}

function facts(session) {
  const { balance, funding, settlement } = session;
  const rows = [
    ["Address", session.address ? make("span", { class: "code" }, session.address) : "not published yet"],
    ["Asked for", `${session.amount} XMR, ${session.confirmations} confirmations`],
    ["In the escrow", balance ? [`${balance.total} XMR, ${balance.unlocked} of it unlocked`, asOf(balance)] : "unknown"],
    ["Payment", funding ? [`${funding.state}, ${funding.confirmations ?? 0} confirmations`, asOf(balance)] : "none seen"],
    session.moneyMovedAt ? ["Money left", moment(session.moneyMovedAt)] : null,
    [
      "Payout",
      settlement
        ? [
            `${settlement.state ?? "followed"}, ${settlement.confirmations ?? 0} confirmations: `,
            make("span", { class: "code" }, settlement.txid ?? ""),
          ]
        : "none named",
    ],
    ["Last use", moment(session.lastActivityTime)],
    ["Closes", closes(session)],
    ["Pool", session.pool],
  ];
  const known = rows.filter((row) => row !== null);
  return make("dl", {}, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, ...[value].flat())]));
}

function asOf(balance) {
  return balance?.asOf ? make("span", {}, ", as seen ", moment(balance.asOf)) : null;
}

function closes(session) {
  if (session.suspend && !OVER.has(session.phase)) return "closed until spec.suspend is false";
  if (session.expiresAt) return make("span", {}, moment(session.expiresAt), " unless it is used");
  const open = session.phase === "Active" || session.phase === "Settling";
  return open ? "not by itself: money is under way" : "–";
}

function story(session, events) {
  const found = [
    { at: session.createdAt, what: "Created" },
    { at: session.openedAt, what: "Wallets opened" },
    { at: session.lastActivityTime, what: "Last used" },
    { at: session.moneyMovedAt, what: "Money left by no payout that the spec names", alarm: true },
    { at: session.expiresAt, what: "Closes, unless it is used", ahead: true },
    ...(session.conditions ?? []).map((one) => ({
      at: one.lastTransitionTime,
      // Reason and message are those of now, and may be younger.
      what: `${one.type} became ${one.status}`,
      alarm: one.type === "Stalled" && one.status === "True",
    })),
    ...events
      .filter((event) => !event.of || !session.uid || event.of === session.uid)
      .map((event) => ({ at: event.at, what: event.reason, text: event.message, alarm: event.type === "Warning" })),
  ];
  return found.filter((one) => one.at).sort((a, b) => new Date(b.at) - new Date(a.at));
}

function entry(one) {
  const kind = one.alarm ? "alarm" : one.ahead ? "ahead" : undefined;
  return make(
    "li",
    { class: kind },
    make("p", {}, make("strong", {}, one.what), one.alarm ? make("span", { class: "unseen" }, " (warning)") : null, " ", moment(one.at)),
    one.text ? make("p", { class: "quiet" }, one.text) : null,
  );
}

function conditions(session) {
  const rows = (session.conditions ?? []).map((one) => [
    one.type,
    badge(one.status, ""),
    one.reason,
    one.message,
    moment(one.lastTransitionTime),
  ]);
  return table("What the operator says of it", ["Condition", "Status", "Reason", "Message", "Since"], rows, "None yet.");
}

function condition(session, type) {
  return (session.conditions ?? []).find((one) => one.type === type) ?? {};
}
