// Makes and changes elements. What comes from the cluster is set as text or as an attribute, never as markup.

/** An element with attributes and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * Make an element's children these. Those that are equal stay, and so does one with the same data-key wherever it goes:
 * focus and selection stay on what they were on.
 */
export function show(parent, children) {
  const wanted = children.filter((child) => child !== null && child !== undefined);
  const keyed = new Map([...parent.children].filter((one) => one.dataset?.key).map((one) => [one.dataset.key, one]));
  wanted.forEach((child, at) => {
    const former = parent.childNodes[at];
    const same = keyed.get(child.dataset?.key);
    if (same && same !== former && same !== child) parent.insertBefore(same, former ?? null);
    const there = parent.childNodes[at];
    if (!there) parent.append(child);
    else if (there !== child && !there.isEqualNode(child)) replace(there, child);
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

function replace(former, child) {
  const sameElement =
    former instanceof Element &&
    child instanceof Element &&
    former.tagName === child.tagName &&
    former.dataset.key === child.dataset.key;
  if (!sameElement || former.hasAttribute("data-whole")) {
    former.replaceWith(child);
    return;
  }
  for (const { name } of [...former.attributes]) {
    if (!child.hasAttribute(name)) former.removeAttribute(name);
  }
  for (const { name, value } of child.attributes) {
    if (former.getAttribute(name) !== value) former.setAttribute(name, value);
  }
  show(former, [...child.childNodes]);
}

/** A table whose cells keep their meaning when a narrow screen shows its rows as blocks. */
export function table(caption, columns, rows, empty, keys = []) {
  if (!rows.length) return make("p", { class: "quiet" }, empty);
  const head = columns.map((name) => make("th", { scope: "col", role: "columnheader" }, name));
  const body = rows.map((cells, number) =>
    make(
      "tr",
      { role: "row", "data-key": keys[number] },
      ...cells.map((cell, at) => {
        const children = [cell].flat().filter((child) => child !== null && child !== undefined && child !== "");
        const kind = at ? ["td", { role: "cell" }] : ["th", { scope: "row", role: "rowheader" }];
        // One element beside its label, where rows are blocks.
        const content = children.length > 1 ? [make("span", {}, ...children)] : children;
        return make(kind[0], { ...kind[1], "data-label": columns[at] }, ...content);
      }),
    ),
  );
  return make(
    "table",
    { role: "table" },
    make("caption", {}, caption),
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)),
    make("tbody", { role: "rowgroup" }, ...body),
  );
}

const GOOD = new Set(["True", "Active", "Completed", "Refunded"]);
const BAD = new Set(["Failed"]);
const BUSY = new Set(["Pending", "Opening", "Settling"]);

/** A short word on a ground that goes with it; the word alone says what it means. */
export function badge(word, kind) {
  const chosen = kind ?? (GOOD.has(word) ? "good" : BAD.has(word) ? "bad" : BUSY.has(word) ? "busy" : "");
  return make("span", { class: `badge ${chosen}`.trim() }, word);
}

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** Seconds in the largest unit of which there are two. */
export function span(seconds) {
  const [size, unit] = UNITS.find(([size]) => seconds >= 2 * size) ?? UNITS[3];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** A moment as a span from now, with the time itself for those who want it. */
export function moment(text) {
  if (!text) return "–";
  const seconds = (Date.now() - new Date(text).getTime()) / 1000;
  const said = seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  return make("time", { datetime: text, title: new Date(text).toLocaleString() }, said);
}
