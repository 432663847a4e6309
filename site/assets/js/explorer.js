// The explorer: facets, address and table of all papers. The rows in view are laid out by @tanstack/virtual-core;
// choosing, counting and sorting are explorer-table.js. The state is in the address, so that a view can be linked.

import { DEFAULT_SORT, emptyState, fromSearch, readTable, select, toSearch, yearOf } from "./explorer-table.js";
import { makeRows } from "./explorer-rows.js";

const page = document.querySelector("[data-explorer]");
const root = new URL(page.dataset.root, location.href);
const facets = page.querySelector("#facets");
const filter = page.querySelector("#filter");
const sort = page.querySelector("#sort");
const found = page.querySelector("#found");
const chips = page.querySelector(".chips");
const toggle = page.querySelector(".bar__toggle");
const boxes = [...facets.querySelectorAll("input[type=checkbox]")];
const years = [...facets.querySelectorAll("input[type=number]")];

let table;
let rows;
let shown = [];
let state = fromSearch(location.search);

const labelOf = (box) => box.dataset.label ?? box.closest("label").querySelector("span").textContent;
for (const box of boxes.filter(({ name }) => name === "technique")) {
  const area = box.value.includes("/") ? null : box.closest("details").querySelector("summary").textContent;
  if (area) box.dataset.label = area; // "all of it" says nothing outside its area
}

toggle.addEventListener("click", () => {
  const open = page.classList.toggle("explorer--open");
  toggle.setAttribute("aria-expanded", String(open));
});

// From the state to the page.

function showState() {
  if (document.activeElement !== filter) filter.value = state.q;
  for (const input of years) if (document.activeElement !== input) input.value = state[input.name] ?? "";
  for (const box of boxes) {
    box.checked = state[box.name].has(box.value);
    if (box.checked) box.closest("details")?.setAttribute("open", "");
  }
  if (![...sort.options].some(({ value }) => value === state.sort)) sort.add(new Option(state.sort, state.sort));
  sort.value = state.sort;
  const column = state.sort.replace("-", "");
  for (const head of page.querySelectorAll("[data-column]")) {
    if (head.dataset.column !== column) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", state.sort.startsWith("-") ? "descending" : "ascending");
  }
  showChips();
}

function showChips() {
  const active = [
    ...years.filter(({ name }) => state[name] !== null).map(({ name }) => [`${name} ${state[name]}`, () => (state[name] = null)]),
    ...boxes.filter((box) => box.checked).map((box) => [labelOf(box), () => state[box.name].delete(box.value)]),
    ...unknown().map(([name, value]) => [`${value} (unknown)`, () => state[name].delete(value)]),
  ];
  const items = active.map(([label, remove]) => chip(label, remove));
  if (active.length + Boolean(state.q) > 1) items.push(chip("Clear all", () => (state = { ...emptyState(), sort: state.sort }), true));
  chips.replaceChildren(...items);
  toggle.textContent = active.length ? `Filters (${active.length})` : "Filters";
}

/** What the address asks for and no facet offers: a link may be older than a name. */
function unknown() {
  const known = new Set(boxes.map((box) => `${box.name} ${box.value}`));
  const asked = ["technique", "saves", "venue", "evidence", "has"].flatMap((name) => [...state[name]].map((value) => [name, value]));
  return asked.filter(([name, value]) => !known.has(`${name} ${value}`));
}

function chip(label, remove, all = false) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  if (!all) button.setAttribute("aria-label", `Remove filter: ${label}`);
  button.addEventListener("click", () => {
    remove();
    if (all) filter.value = "";
    change();
    (chips.querySelector("button") ?? filter).focus(); // the one that was pressed is gone
  });
  const item = document.createElement("li");
  item.className = all ? "chip chip--all" : "chip";
  item.append(button);
  return item;
}

function showRows() {
  const { rows: selected, counts } = select(table, state);
  shown = selected;
  for (const box of boxes) {
    const count = counts[box.name].get(box.value) ?? 0;
    box.closest("label").querySelector("b").textContent = count;
    box.closest("li").classList.toggle("facet__none", !count && !box.checked);
  }
  const [some, all] = [selected.length.toLocaleString("en"), table.rows.length.toLocaleString("en")];
  found.textContent = some === all ? `${all} papers` : `${some} of ${all} papers`;
  page.querySelector("#nothing").hidden = selected.length > 0;
  rows.show(selected, state.sort);
}

// From the reader to the state, and to the address: one step of the history for a choice, one for a word typed.

let typing = false;
function change({ typed = false } = {}) {
  const search = toSearch(state);
  const address = location.pathname + search;
  if (search !== location.search) {
    if (typed && typing) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
  }
  typing = typed;
  update();
  rows.toTop();
}

function update() {
  showState();
  showRows();
}

function listen() {
  filter.addEventListener("input", () => {
    state.q = filter.value;
    change({ typed: true });
  });
  filter.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && rows.focus(0)) event.preventDefault();
  });
  facets.addEventListener("input", ({ target }) => {
    if (target.type === "checkbox") state[target.name][target.checked ? "add" : "delete"](target.value);
    else state[target.name] = yearOf(target.value);
    change({ typed: target.type !== "checkbox" });
  });
  sort.addEventListener("change", () => {
    state.sort = sort.value;
    change();
  });
  page.querySelector("[data-clear]").addEventListener("click", () => {
    state = { ...emptyState(), sort: state.sort };
    filter.value = "";
    change();
    filter.focus();
  });
  for (const button of page.querySelectorAll("[data-export]")) button.addEventListener("click", () => take(button));
  for (const head of page.querySelectorAll("[data-column]")) sortable(head);
  addEventListener("popstate", () => {
    typing = false;
    state = fromSearch(location.search);
    filter.value = state.q;
    update();
  });
  addEventListener("pagehide", () => history.replaceState({ y: scrollY }, ""));
}

/** A heading becomes a button: the column's own direction first, then the other. */
function sortable(head) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  button.addEventListener("click", () => {
    const { column } = head.dataset;
    const first = ["year", "evidence"].includes(column) ? `-${column}` : column;
    const other = first.startsWith("-") ? column : `-${column}`;
    state.sort = state.sort === first ? other : first;
    change();
  });
  head.replaceChildren(button);
}

async function take(button) {
  const label = button.textContent;
  try {
    const { save } = await import("./explorer-export.js");
    await save(button.dataset.export, shown, root);
  } catch (error) {
    console.warn(error);
    button.textContent = "Could not be fetched";
    setTimeout(() => (button.textContent = label), 3_000);
  }
}

/** What was typed before this script, or the table, was there. */
function adopt() {
  if (filter.value) state.q = filter.value;
  for (const input of years) if (input.value) state[input.name] ??= yearOf(input.value);
}

async function start() {
  adopt();
  showState();
  try {
    const [answer, makeVirtual] = await Promise.all([fetch(page.dataset.explorer), makeRows(page, root)]);
    if (!answer.ok) throw new Error(`${answer.status} for ${page.dataset.explorer}`);
    [table, rows] = [await readTable(await answer.json()), makeVirtual];
  } catch (error) {
    console.warn(error);
    page.classList.add("explorer--failed");
    found.textContent = "The table could not be loaded; the newest papers are shown, and lists of all follow below.";
    return;
  }
  listen();
  adopt();
  if (toSearch(state) === location.search) update();
  else change({ typed: true });
  if (history.state?.y) scrollTo(0, history.state.y); // back from a paper: the browser tried before there were rows
  page.dataset.ready = "";
}

if (state.sort !== DEFAULT_SORT || toSearch(state)) page.setAttribute("aria-busy", "true");
start().finally(() => page.removeAttribute("aria-busy"));
