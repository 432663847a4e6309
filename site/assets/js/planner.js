// The planner's form. Every number comes from cost-model.js, which the build makes from the Python functions; here is
// only what is asked and how the answer is shown. The address holds the choices, so that a link is an answer.

import { plan, rank } from "./cost-model.js";

const form = document.querySelector("[data-planner]");
const answer = document.querySelector("[data-answer]");
const verdictLine = answer.querySelector("[data-verdict]");
const details = answer.querySelector("[data-details]");
const HUES = { weight_bytes: 1, kv_bytes: 2, work_bytes: 3, draft_bytes: 4 };
const defaults = Object.fromEntries([...form.elements].filter((one) => one.name).map((one) => [one.name, read(one)]));

let data;
let showAll = false;

function read(element) {
  return element.type === "checkbox" ? (element.checked ? "1" : "") : element.value;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const digits = (value, count = 3) => {
  const rounded = Number(value.toPrecision(count));
  return rounded.toLocaleString("en", { maximumSignificantDigits: 12 });
};
const bytes = (size) => (Math.abs(size) < 1e12 ? `${digits(size / 1e9)} GB` : `${digits(size / 1e12)} TB`);
const seconds = (time) => {
  if (time >= 1) return `${digits(time)} s`;
  return time >= 1e-3 ? `${digits(time * 1e3)} ms` : `${digits(time * 1e6)} µs`;
};
const count = (value) => (Number.isFinite(value) ? value.toLocaleString("en") : "no end");

// What the form holds as the records that the cost model takes; null where a field is not valid.
function request(state, tables) {
  const model = tables.models[state.model];
  const row = tables.machines[state.machine];
  const weights = tables.weights[state.weights];
  const kv = tables.kv[state.kv];
  if (!model || !row || !weights || !kv) return null;
  const machine = { ...tables.defaults.machine, ...row.machine };
  if (state.usable) machine.usable_share = Number(state.usable) / 100;
  return {
    model,
    row,
    shape: { ...tables.defaults.shape, ...model.shape },
    machine,
    weights: { ...tables.defaults.weights, ...weights.format },
    kv: { ...tables.defaults.kv, ...kv.format },
    settings: {
      context: Number(state.context),
      batch: Number(state.batch),
      offload: Boolean(state.offload),
      draft_length: Number(state.gamma),
      acceptance: Number(state.acceptance),
      draft_cost: Number(state.draft_cost),
    },
  };
}

function formats(part) {
  const rows = Object.entries(data[part]);
  return Object.fromEntries(rows.map(([name, row]) => [name, { ...data.defaults[part], ...row.format }]));
}

function currentState() {
  return Object.fromEntries([...form.elements].filter((one) => one.name).map((one) => [one.name, read(one)]));
}

function address(state) {
  const changed = Object.entries(state).filter(([name, value]) => value !== defaults[name]);
  const query = new URLSearchParams(changed).toString();
  return location.pathname + (query ? `?${query}` : "") + location.hash;
}

function fillForm() {
  const asked = new URLSearchParams(location.search);
  for (const one of form.elements) {
    if (!one.name) continue;
    const value = asked.get(one.name) ?? defaults[one.name];
    if (one.type === "checkbox") one.checked = Boolean(value);
    else one.value = value;
    if (one.value === "" && one.tagName === "SELECT") one.value = defaults[one.name]; // a name that is not in the table
  }
}

function words(made) {
  if (!made.fits) return `Does not fit: ${bytes(-made.spare_bytes)} more than the ${bytes(made.usable_bytes)} usable.`;
  const rate = `At most ${digits(made.tokens_per_s)} tokens a second.`;
  if (made.streamed_bytes > 0) {
    return `Fits with ${bytes(made.streamed_bytes)} of the weights streamed from the host in every step. ${rate}`;
  }
  const spare = `${bytes(made.spare_bytes)} to spare`;
  return `Fits: ${bytes(made.total_bytes)} of ${bytes(made.usable_bytes)} usable, ${spare}. ${rate}`;
}

function memory(made) {
  const parts = Object.keys(data.words.parts).filter((part) => made[part] > 0);
  const whole = Math.max(made.total_bytes, made.usable_bytes);
  const bar = svg("svg", { class: "memory", role: "img", "aria-label": "Memory by part; the table below has the numbers" });
  let from = 0;
  for (const part of parts) {
    const share = (100 * made[part]) / whole;
    bar.append(svg("rect", { class: `hue-${HUES[part]}`, x: `${from}%`, width: `${share}%`, y: 0, height: "100%" }));
    from += share;
  }
  const end = `${Math.min(99.8, (100 * made.usable_bytes) / whole)}%`;
  bar.append(svg("line", { x1: end, x2: end, y1: 0, y2: "100%" }));
  const rows = parts.map((part) => [data.words.parts[part], bytes(made[part]), HUES[part]]);
  rows.push(["together", bytes(made.total_bytes)], ["usable (the line in the bar)", bytes(made.usable_bytes)]);
  if (made.streamed_bytes > 0) rows.push(["weights that stay on the host", bytes(made.streamed_bytes)]);
  rows.push(["longest context that fits, tokens", count(made.longest_context)]);
  rows.push(["most sequences that fit at this context", count(made.largest_batch)]);
  return [element("h2", {}, "Memory"), bar, table(["Part", "Size"], rows)];
}

function table(head, rows) {
  const made = element("table", { class: "fits" });
  made.append(element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))));
  const body = element("tbody");
  for (const [name, value, extra] of rows) {
    const key = typeof extra === "number" ? `key hue-${extra}` : null;
    const cells = [element("th", { scope: "row", class: key }, name), element("td", {}, value)];
    if (head.length > 2) cells.push(element("td", {}, extra ?? ""));
    body.append(element("tr", {}, ...cells));
  }
  made.append(body);
  return made;
}

function times(made, asked) {
  const { limits } = data.words;
  const sequences = asked.settings.batch === 1 ? "one sequence" : `all ${asked.settings.batch} sequences together`;
  const rows = [
    ["to the first token, at least", seconds(made.prefill_s), limits[made.prefill.limit]],
    ["per output token, at least", seconds(made.decode_s), limits[made.decode.limit]],
    ["tokens a second, at most", digits(made.tokens_per_s), sequences],
  ];
  if (asked.settings.draft_length > 0) {
    const gain = `${digits(made.tokens_per_target_step)} tokens from each step of the model`;
    rows.push(["gain by speculation, at most", `${digits(made.speculation_speedup)} ×`, gain]);
  }
  if (flopsUnknown(asked.machine)) rows.push(["arithmetic", "–", "its rate is not known here and bounds nothing"]);
  return [
    element("h2", {}, "Time: bounds, not forecasts"),
    ...(made.fits ? [] : [element("p", { class: "fine" }, "It does not fit: this is what the same machine with enough memory would allow.")]),
    wide("Time bounds", table(["Time", "Bound", "What limits"], rows)),
    element("h2", {}, "What to change first"),
    element("p", { class: "answer__advice" }, data.words.advice[made.advice]),
  ];
}

const flopsUnknown = (machine) => !(machine.bfloat16_flops_per_s || machine.float32_flops_per_s);

function wide(label, content) {
  return element("section", { class: "wide", "aria-label": label, tabindex: 0 }, content);
}

function seen(name) {
  const found = data.weights[name].evidence;
  if (!found) return ["not measured"];
  const lines = found.quality.map((one) => {
    const origin = one.weights ? `; weights ${one.weights}` : "";
    return [`perplexity × ${one.ratio} on ${one.model} (${one.method}${origin}${one.few && `; ${one.few}`})`, one.file];
  });
  for (const one of found.speed) {
    const share = one.low === one.high ? `${one.high} %` : `${one.low} to ${one.high} %`;
    const cases = `${one.cases} case${one.cases === 1 ? "" : "s"}`;
    lines.push([`${share} of the bound reached on ${one.machine} (${one.implementation}, ${cases})`, one.file]);
  }
  const near = found.exact ? [] : [element("small", {}, "nearest that was run; groups or rounding differ")];
  const links = lines.map(([text, file]) => element("div", {}, element("a", { href: data.files[file] ?? null }, text)));
  return [...links, ...near];
}

function options(asked, state) {
  const found = rank(asked.shape, asked.machine, formats("weights"), formats("kv"), asked.settings);
  const head = element("h2", {}, `What fits: ${found.length} pairs of formats`);
  if (!found.length) return [head, element("p", {}, "No pair of formats fits with these settings.")];
  const note =
    "Sorted by bits a weight, most first, then by bits of cache, then by speed: more bits are never expected to do more" +
    " harm. For each format of weights the widest cache that fits is shown. What was measured here stands beside each;" +
    " it holds for the model and machine named, not for yours.";
  const names = ["Weights", "Cache", "Bits a weight", "Memory", "Tokens a second, at most", "Measured here"];
  const made = element("table", { class: "fits options" });
  made.append(element("thead", {}, element("tr", {}, ...names.map((text) => element("th", { scope: "col" }, text)))));
  const body = element("tbody");
  const first = found.filter((one, at) => found.findIndex((other) => other.weights === one.weights) === at);
  for (const one of showAll ? found : first) {
    const same = one.weights === state.weights && one.kv === state.kv;
    const link = element("a", { href: address({ ...state, weights: one.weights, kv: one.kv }), "data-use": "" });
    link.append(data.weights[one.weights].title);
    body.append(
      element(
        "tr",
        { "aria-current": same ? "true" : null },
        element("th", { scope: "row" }, link),
        element("td", { "data-label": "cache " }, data.kv[one.kv].title),
        element("td", { "data-label": "bits a weight " }, digits(one.weight_bits)),
        element("td", { "data-label": "memory " }, bytes(one.plan.total_bytes)),
        element("td", { "data-label": "tokens a second ≤ " }, digits(one.plan.tokens_per_s)),
        element("td", { class: "fits__text" }, ...seen(one.weights)),
      ),
    );
  }
  made.append(body);
  const more = element("p", { class: "row" });
  if (found.length > first.length) {
    const button = element("button", { type: "button", "data-all": "" }, showAll ? "Show one a format" : `Show all ${found.length}`);
    more.append(button);
  }
  return [head, element("p", { class: "fine" }, note), wide("Pairs of formats that fit", made), more];
}

function about(asked) {
  const { model, row } = asked;
  const lines = element("p", { class: "fine" });
  const from = (link, text) => (link.startsWith("http") ? element("a", { href: link }, text) : text);
  const compared = (one, what) => {
    if (one.seen === "memory") return [" (entered from memory)"];
    return one.compared ? [" (compared with ", from(one.compared, what), ")"] : [];
  };
  lines.append("Shape of the model: ", from(model.source, model.title), `, ${model.licence}`);
  lines.append(...compared(model, "a configuration that others keep"), ". Machine: ", from(row.link, row.source));
  lines.append(...compared(row, "a page that others keep"), row.note ? `: ${row.note}.` : ".");
  return lines;
}

function show() {
  const state = currentState();
  const asked = form.checkValidity() ? request(state, data) : null;
  answer.removeAttribute("aria-busy");
  if (!asked) {
    verdictLine.textContent = "One of the fields is not valid: see its range.";
    verdictLine.dataset.state = "not";
    details.replaceChildren();
    return;
  }
  const made = plan(asked.shape, asked.machine, asked.weights, asked.kv, asked.settings);
  verdictLine.textContent = words(made);
  verdictLine.dataset.state = made.fits ? "fits" : "not";
  const parts = [];
  if (asked.model.max_context > 0 && asked.settings.context > asked.model.max_context) {
    const most = asked.model.max_context.toLocaleString("en");
    parts.push(element("p", { class: "answer__advice" }, `The model was made for up to ${most} tokens of context.`));
  }
  details.replaceChildren(...parts, ...memory(made), ...times(made, asked), ...options(asked, state), about(asked));
}

// Every change is a step to which the back button returns.
function changed() {
  const next = address(currentState());
  if (next !== location.pathname + location.search + location.hash) history.pushState(null, "", next);
  show();
}

details.addEventListener("click", (event) => {
  const link = event.target.closest("[data-use]");
  if (event.target.closest("[data-all]")) {
    showAll = !showAll;
    show();
    details.querySelector("[data-all]")?.focus();
  } else if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    history.pushState(null, "", link.href);
    fillForm();
    show();
    verdictLine.scrollIntoView({ block: "nearest" });
  }
});

const touched = new Set(); // fields that a reader changed before the tables were there
form.addEventListener("input", ({ target }) => touched.add(target));

async function start() {
  try {
    const response = await fetch(form.dataset.planner);
    if (!response.ok) throw new Error(`${response.status} for ${form.dataset.planner}`);
    data = await response.json();
  } catch (error) {
    console.warn(error);
    verdictLine.textContent = "The tables could not be loaded. The tables below hold some answers.";
    return;
  }
  const kept = [...touched].map((field) => [field, field.value, field.checked]);
  fillForm();
  for (const [field, value, checked] of kept) Object.assign(field, field.type === "checkbox" ? { checked } : { value });
  if (kept.length) changed();
  else show();
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    changed();
    verdictLine.scrollIntoView({ block: "nearest" });
  });
  addEventListener("popstate", () => {
    fillForm();
    show();
  });
}

start();
