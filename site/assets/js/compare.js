// Compare: a page is about one subject on one machine; the others are links, between which the form goes. What is shown
// is in the address (show, technique), tables are the page's own, and figures are drawn from api/v1/evidence.json when
// they near the viewport. What the address asks for and nobody recorded is said.

import { fail, render } from "./figures.js";
import { figureOf } from "./compare-figures.js";

const page = document.querySelector("[data-compare]");
const root = new URL(page.dataset.root, location.href).href;
const own = { machine: page.dataset.machine, subject: page.dataset.subject };
const form = page.querySelector(".compare__form");
const choices = Object.fromEntries([...page.querySelectorAll(".compare__form select")].map((select) => [select.name, select]));
const message = page.querySelector(".compare__message");
const blocks = [...page.querySelectorAll("[data-block]")];
const boxes = [...page.querySelectorAll("input[name=technique]")];
const links = [...page.querySelectorAll(".compare__all a")].map(({ href, dataset: { machine, subject } }) => ({ href, machine, subject }));

let evidence; // the promise of its points
const points = () =>
  (evidence ??= fetch(page.dataset.compare).then(async (answer) => {
    if (!answer.ok) throw new Error(`${answer.status} for ${page.dataset.compare}`);
    return (await answer.json()).evidence;
  }));

// The address: nothing of it is trusted, only looked up.

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  return {
    machine: asked.get("machine") ?? own.machine,
    subject: asked.get("subject") ?? (asked.has("machine") ? undefined : own.subject),
    show: asked.get("show") ?? "",
    techniques: asked.has("technique") ? asked.getAll("technique") : null,
  };
}

function toAddress({ show, techniques }) {
  const asked = new URLSearchParams();
  if (show) asked.set("show", show);
  if (techniques) (techniques.length ? techniques : [""]).forEach((name) => asked.append("technique", name));
  return `${location.pathname}${asked.size ? `?${asked}` : ""}`;
}

let state = fromAddress();
const isOwn = ({ machine, subject }) => machine === own.machine && subject === own.subject;
const pageOf = ({ machine, subject }) => links.find((one) => one.machine === machine && (one.subject === subject || subject === undefined));

function go(change) {
  state = { ...state, ...change };
  history.pushState(null, "", toAddress(state));
  update();
}

// From the state to the page.

function fill(select, values, value) {
  select.replaceChildren(...values.map(([name, label]) => new Option(label, name)));
  if (!values.some(([name]) => name === value)) select.add(new Option(value ? `${value} (unknown)` : "none", value));
  select.value = value;
}

function update() {
  const machines = [...new Set(links.map(({ machine }) => machine))];
  const here = links.filter(({ machine }) => machine === state.machine);
  fill(choices.machine, machines.map((name) => [name, name]), state.machine);
  fill(choices.subject, here.map(({ subject }) => [subject, subject]), state.subject ?? "");
  const shows = isOwn(state) ? blocks.map((block) => [block.id, block.querySelector("h3").textContent]) : [];
  fill(choices.show, [["", "all of them"], ...shows], state.show);
  page.querySelector(".compare__subject").hidden = !isOwn(state);
  say(problems(machines, here));
  if (isOwn(state)) showFigures();
}

function problems(machines, here) {
  const { machine, subject, show, techniques } = state;
  if (!here.length) return [`Nothing was recorded on a machine called “${machine}”. There are: ${machines.join(", ")}.`];
  if (!isOwn(state)) return [`Nothing was recorded about “${subject}” on ${machine}. There are: ${here.map((one) => one.subject).join(", ")}.`];
  const found = [];
  if (show && !blocks.some(({ id }) => id === show)) found.push(`There is no workload “${show}” here; all are shown.`);
  const unknown = (techniques ?? []).filter((name) => name && !boxes.some(({ value }) => value === name));
  if (unknown.length) found.push(`Not recorded for ${subject} on ${machine}: ${unknown.join(", ")}.`);
  if (techniques && !boxes.some(({ value }) => techniques.includes(value))) found.push("No technique is chosen; tick one to see it.");
  return found;
}

function say(found) {
  message.textContent = found.join(" ");
  message.hidden = !found.length;
}

function showFigures() {
  for (const box of boxes) box.checked = !state.techniques || state.techniques.includes(box.value);
  const names = new Set(boxes.filter(({ checked }) => checked).map(({ value }) => value));
  const known = blocks.some(({ id }) => id === state.show);
  for (const block of blocks) {
    block.hidden = known && block.id !== state.show;
    block.classList.toggle("plot--partial", names.size < boxes.length);
    const rows = [...block.querySelectorAll("tbody tr")];
    const isShown = (name) => names.has(name) || !boxes.some(({ value }) => value === name); // baselines are always there
    for (const row of rows) row.hidden = !isShown(row.dataset.name);
    for (const key of block.querySelectorAll(".legend [data-name]")) key.hidden = !isShown(key.dataset.name);
    delete block.dataset.drawn;
    near.unobserve(areaOf(block));
    near.observe(areaOf(block)); // reports at once whether it is in view
  }
}

// Drawing: when the place of the drawing itself is near. A phone's first screen ends with the words and the legend
// above it, and neither plotly.js nor the evidence is fetched for those.

const areaOf = (block) => block.querySelector(".plot__area");
const near = new IntersectionObserver(
  (entries) => entries.filter(({ isIntersecting }) => isIntersecting).forEach(({ target }) => draw(target.closest("[data-block]"))),
  { rootMargin: "200px" },
);

async function draw(block) {
  if ("drawn" in block.dataset || block.hidden) return;
  block.dataset.drawn = "";
  const area = areaOf(block);
  try {
    const all = await points();
    const made = figureOf(describe(block, all));
    const canvas = area.querySelector(".plot__canvas") ?? area.appendChild(Object.assign(document.createElement("div"), { className: "plot__canvas" }));
    canvas.hidden = made.data.length < 2; // the line alone
    if (!canvas.hidden) await render(canvas, { ...made, layout: { ...made.layout, showlegend: false } }, root);
  } catch (error) {
    console.warn(error);
    near.unobserve(area);
    if (!block.classList.contains("plot--failed")) fail(block);
  }
}

function describe(block, all) {
  const styles = new Map(
    [...block.querySelectorAll(".legend [data-name]")].map(({ dataset: { name, series, symbol, dash } }) => [name, { series, symbol, dash }]),
  );
  const rows = [...block.querySelectorAll("tbody tr")].map(({ hidden, dataset: { point, name, at, few } }) => ({
    hidden, name, point: all[point], at: at === undefined ? undefined : Number(at), few: few !== undefined,
  })); // prettier-ignore
  return {
    kind: block.dataset.kind,
    isSaved: "saved" in block.dataset,
    xTitle: block.dataset.xTitle,
    yTitle: block.dataset.yTitle,
    rows: rows.filter(({ hidden, name }) => !hidden && styles.has(name)),
    baseline: rows.find(({ point }) => point.role === "baseline"),
    styles,
  };
}

// From the reader to the state.

function listen() {
  form.addEventListener("change", ({ target: { name, value } }) => {
    if (name === "show") return go({ show: value });
    const wanted = name === "machine" ? { machine: value, subject: state.subject } : { machine: state.machine, subject: value };
    const found = pageOf(wanted) ?? pageOf({ machine: wanted.machine }); // choices are made of links
    if (!isOwn(found)) location.assign(found.href);
  });
  const take = () => {
    const names = boxes.filter(({ checked }) => checked).map(({ value }) => value);
    go({ techniques: names.length === boxes.length ? null : names });
  };
  page.querySelector(".compare__techniques").addEventListener("change", take);
  for (const [button, checked] of [["[data-all]", true], ["[data-none]", false]]) {
    page.querySelector(button).addEventListener("click", () => {
      boxes.forEach((box) => (box.checked = checked));
      take();
    });
  }
  const again = () => {
    state = fromAddress();
    update();
  };
  addEventListener("popstate", again);
  addEventListener("pageshow", ({ persisted }) => persisted && again()); // back from a page that the form led to
}

const elsewhere = blocks.length && !isOwn(state) ? pageOf(state) : null;
if (elsewhere) location.replace(elsewhere.href + toAddress(state).slice(location.pathname.length)); // addresses of old
else {
  if (blocks.length) {
    listen();
    update();
  }
  page.dataset.ready = "";
}
