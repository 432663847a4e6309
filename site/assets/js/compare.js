// Compare: the state is in the address (machine, subject, show, technique), tables are the page's own, and figures are
// drawn from api/v1/evidence.json when they near the viewport. What the address asks for and nobody recorded is said.

import { fail, render } from "./figures.js";
import { figureOf } from "./compare-figures.js";

const page = document.querySelector("[data-compare]");
const root = new URL(page.dataset.root, location.href).href;
const form = page.querySelector(".compare__form");
const choices = Object.fromEntries([...page.querySelectorAll(".compare__form select")].map((select) => [select.name, select]));
const message = page.querySelector(".compare__message");
const sections = [...page.querySelectorAll("[data-subject]")].map((section) => ({
  section,
  machine: section.closest("[data-machine]").dataset.machine,
  subject: section.dataset.subject,
  blocks: [...section.querySelectorAll("[data-block]")],
  boxes: [...section.querySelectorAll("input[name=technique]")],
}));

let evidence; // the promise of its points
const points = () =>
  (evidence ??= fetch(page.dataset.compare).then(async (answer) => {
    if (!answer.ok) throw new Error(`${answer.status} for ${page.dataset.compare}`);
    return (await answer.json()).evidence;
  }));

// The address: nothing of it is trusted, only looked up.

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  const machine = asked.get("machine") ?? sections[0]?.machine ?? "";
  const here = sections.filter((one) => one.machine === machine);
  const subject = asked.get("subject") ?? here[0]?.subject ?? "";
  return { machine, subject, show: asked.get("show") ?? "", techniques: asked.has("technique") ? asked.getAll("technique") : null };
}

function toAddress({ machine, subject, show, techniques }) {
  const asked = new URLSearchParams({ machine, subject });
  if (show) asked.set("show", show);
  if (techniques) (techniques.length ? techniques : [""]).forEach((name) => asked.append("technique", name));
  return `?${asked}`;
}

let state = fromAddress();
const chosen = () => sections.find((one) => one.machine === state.machine && one.subject === state.subject);

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
  const current = chosen();
  const machines = [...new Set(sections.map(({ machine }) => machine))];
  const here = sections.filter(({ machine }) => machine === state.machine);
  fill(choices.machine, machines.map((name) => [name, name]), state.machine);
  fill(choices.subject, here.map(({ subject }) => [subject, subject]), state.subject);
  const shows = (current?.blocks ?? []).map((block) => [block.id, block.querySelector("h4").textContent]);
  fill(choices.show, [["", "all of them"], ...shows], state.show);
  for (const { section } of sections) section.hidden = section !== current?.section;
  for (const machine of page.querySelectorAll("[data-machine]")) machine.hidden = machine.dataset.machine !== current?.machine;
  say(problems(current, machines, here));
  if (current) showSection(current);
}

function problems(current, machines, here) {
  const { machine, subject, show, techniques } = state;
  if (!here.length) return [`Nothing was recorded on a machine called “${machine}”. There are: ${machines.join(", ")}.`];
  if (!current) return [`Nothing was recorded about “${subject}” on ${machine}. There are: ${here.map((one) => one.subject).join(", ")}.`];
  const found = [];
  if (show && !current.blocks.some(({ id }) => id === show)) found.push(`There is no workload “${show}” here; all are shown.`);
  const unknown = (techniques ?? []).filter((name) => name && !current.boxes.some(({ value }) => value === name));
  if (unknown.length) found.push(`Not recorded for ${subject} on ${machine}: ${unknown.join(", ")}.`);
  if (techniques && !current.boxes.some(({ value }) => techniques.includes(value))) found.push("No technique is chosen; tick one to see it.");
  return found;
}

function say(found) {
  message.textContent = found.join(" ");
  message.hidden = !found.length;
}

function showSection({ blocks, boxes }) {
  for (const box of boxes) box.checked = !state.techniques || state.techniques.includes(box.value);
  const names = new Set(boxes.filter(({ checked }) => checked).map(({ value }) => value));
  const known = blocks.some(({ id }) => id === state.show);
  for (const block of blocks) {
    block.hidden = known && block.id !== state.show;
    block.classList.toggle("plot--partial", names.size < boxes.length);
    const rows = [...block.querySelectorAll("tbody tr")];
    const own = (name) => names.has(name) || !boxes.some(({ value }) => value === name); // baselines are always there
    for (const row of rows) row.hidden = !own(row.dataset.name);
    for (const key of block.querySelectorAll(".legend [data-name]")) key.hidden = !own(key.dataset.name);
    delete block.dataset.drawn;
    near.unobserve(block);
    near.observe(block); // reports at once whether it is in view
  }
}

// Drawing.

const near = new IntersectionObserver(
  (entries) => entries.filter(({ isIntersecting }) => isIntersecting).forEach(({ target }) => draw(target)),
  { rootMargin: "200px" },
);

async function draw(block) {
  if ("drawn" in block.dataset || block.hidden) return;
  block.dataset.drawn = "";
  const area = block.querySelector(".plot__area");
  try {
    const all = await points();
    const made = figureOf(describe(block, all));
    const canvas = area.querySelector(".plot__canvas") ?? area.appendChild(Object.assign(document.createElement("div"), { className: "plot__canvas" }));
    canvas.hidden = made.data.length < 2; // the line alone
    if (!canvas.hidden) await render(canvas, { ...made, layout: { ...made.layout, showlegend: false } }, root);
  } catch (error) {
    console.warn(error);
    near.unobserve(block);
    if (!block.classList.contains("plot--failed")) fail(block);
  }
}

function describe(block, all) {
  const styles = new Map(
    [...block.querySelectorAll(".legend [data-name]")].map(({ dataset: { name, series, symbol, dash } }) => [name, { series, symbol, dash }]),
  );
  const rows = [...block.querySelectorAll("tbody tr")].map(({ hidden, dataset: { point, name, at } }) => ({
    hidden, name, point: all[point], at: at === undefined ? undefined : Number(at),
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
    const others = sections.filter(({ machine }) => machine === (name === "machine" ? value : state.machine));
    const subject = name === "subject" ? value : (others.find((one) => one.subject === state.subject) ?? others[0])?.subject ?? "";
    if (name === "show") go({ show: value });
    else go({ machine: others[0]?.machine ?? value, subject, show: "", techniques: null });
  });
  for (const { section, boxes } of sections) {
    const take = () => {
      const names = boxes.filter(({ checked }) => checked).map(({ value }) => value);
      go({ techniques: names.length === boxes.length ? null : names });
    };
    section.querySelector(".compare__techniques").addEventListener("change", take);
    for (const [button, checked] of [["[data-all]", true], ["[data-none]", false]]) {
      section.querySelector(button).addEventListener("click", () => {
        boxes.forEach((box) => (box.checked = checked));
        take();
      });
    }
  }
  addEventListener("popstate", () => {
    state = fromAddress();
    update();
  });
}

if (sections.length) {
  listen();
  update();
}
page.dataset.ready = "";
