// Draws <figure data-figure="….json"> when it nears the viewport. plotly.js is fetched once, from this site, and
// only then. Colours come from the theme's CSS variables, so a figure follows the colour scheme and prints light.

const VENDOR = new URL("../vendor/plotly.min.js", import.meta.url);
const NARROW = 480; // px
const drawn = new Map(); // canvas element -> { data, layout, root }

let plotly;
const loadPlotly = () =>
  (plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = VENDOR;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js did not load"));
    document.head.append(script);
  }));

// light-dark() resolves only in a used colour, so ask an element.
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);
const colour = (name) => {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
};
// A quiet ground for words: part hue, part paper.
const tint = (name, share) => {
  const [hue, paper] = [name, "paper"].map((one) => colour(one).match(/[\d.]+/g).map(Number));
  return `rgb(${[0, 1, 2].map((at) => Math.round(paper[at] + share * (hue[at] - paper[at]))).join(",")})`;
};
const font = (name) => getComputedStyle(document.body).getPropertyValue(`--${name}`);

function axis(given = {}, isNarrow) {
  const text = given.title?.text;
  return {
    automargin: true,
    gridcolor: colour("rule"),
    linecolor: colour("rule-2"),
    tickcolor: colour("rule-2"),
    zerolinecolor: colour("rule-2"),
    ...given,
    title: {
      standoff: 10,
      ...given.title,
      ...(text && { text: isNarrow ? text.replace(/ (?=\([^()]*\)$)/, "<br>") : text }),
      font: { size: 12, color: colour("ink-2") },
    },
  };
}

function styledLayout(layout, width) {
  const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
  const styled = Object.fromEntries([...new Set([...axes, "xaxis", "yaxis"])].map((key) => [key, axis(layout[key], width < NARROW)]));
  const shapes = layout.shapes?.map((shape) => ({ ...shape, line: { color: colour("ink-3"), ...shape.line } }));
  return {
    margin: { l: 8, r: 8, t: 8, b: 8 },
    hovermode: "closest",
    ...layout,
    ...styled,
    ...(shapes && { shapes }),
    autosize: true,
    showlegend: false, // ours is HTML: it wraps on a phone
    uniformtext: { minsize: 9, mode: "hide" },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: font("sans"), size: 12, color: colour("ink-2") },
    hoverlabel: {
      bgcolor: colour("raised"),
      bordercolor: colour("rule-2"),
      font: { family: font("sans"), size: 12, color: colour("ink") },
    },
  };
}

// meta.few: which bars are pale, for too few runs. meta.hue: one hue for the trace; meta.hues: one a point; meta.series: a module's colour; meta.tone: any other token.
// On a narrow canvas bubbles shrink and lose their labels.
const token = ({ hue, series, tone } = {}) => tone ?? (series !== undefined ? `series-${series}` : hue ? `hue-${hue}` : "accent");

function styledTrace(trace, width) {
  const { hues } = trace.meta ?? {};
  const paint = hues ? hues.map((n) => colour(`hue-${n}`)) : colour(token(trace.meta));
  const tiles = Array.isArray(trace.base); // bars placed as tiles need a seam
  const marker = { ...trace.marker, line: { width: tiles ? 2 : 0, color: colour("paper"), ...trace.marker?.line } };
  if (trace.type === "pie") return { ...trace, marker: { ...marker, colors: hues ? paint : undefined } };
  marker.color = paint;
  if (tiles && !hues) {
    marker.color = tint(token(trace.meta), 0.2);
    return { insidetextfont: { color: colour("ink") }, ...trace, marker };
  }
  const { few } = trace.meta ?? {}; // pale bars: of too few runs
  if (few) {
    marker.color = few.map((one) => (one ? tint(token(trace.meta), 0.2) : paint));
    marker.line = { width: few.map((one) => (one ? 1.5 : 0)), color: paint };
  }
  if (trace.type === "bar") return { insidetextfont: { color: colour("paper") }, ...trace, marker };
  const narrow = width < NARROW;
  if (Array.isArray(marker.size) && narrow) marker.size = marker.size.map((size) => (size * width) / NARROW);
  const mode = narrow ? trace.mode?.replace("+text", "") : trace.mode;
  return { ...trace, mode, marker, line: { width: 2, ...trace.line, color: paint } };
}

function legend(data) {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const trace of data.filter(({ name, meta, showlegend }) => name && meta?.hue && showlegend !== false)) {
    const item = document.createElement("li");
    item.className = `hue-${trace.meta.hue}`;
    item.textContent = trace.name;
    list.append(item);
  }
  return list.children.length > 1 ? list : "";
}

async function draw(canvas) {
  const { data, layout, root } = drawn.get(canvas);
  const Plotly = await loadPlotly();
  const first = !canvas.classList.contains("js-plotly-plot");
  const styled = data.map((trace) => styledTrace(trace, canvas.clientWidth));
  await Plotly.react(canvas, styled, styledLayout(layout, canvas.clientWidth), { responsive: true, displayModeBar: false });
  if (!first) return;
  const target = (event) => [event.points[0]?.customdata].flat()[0];
  canvas.on("plotly_click", (event) => typeof target(event) === "string" && location.assign(root + target(event)));
  canvas.on("plotly_hover", (event) => canvas.classList.toggle("plot__canvas--link", typeof target(event) === "string"));
  canvas.on("plotly_unhover", () => canvas.classList.remove("plot__canvas--link"));
}

/** Draw a figure that a script made, or draw it anew; customdata lead from `root`. */
export async function render(canvas, { data, layout }, root) {
  drawn.set(canvas, { data, layout, root });
  await draw(canvas);
}

export function fail(figure) {
  const note = document.createElement("p");
  note.className = "plot__error";
  note.textContent = "The chart could not be drawn; its numbers follow.";
  figure.classList.add("plot--failed");
  figure.querySelector(".plot__area").before(note);
  figure.querySelector("details").open = true;
}

async function show(figure) {
  const canvas = document.createElement("div");
  canvas.className = "plot__canvas";
  try {
    const answer = await fetch(figure.dataset.figure);
    if (!answer.ok) throw new Error(`${answer.status} for ${figure.dataset.figure}`);
    const { data, layout = {} } = await answer.json();
    figure.querySelector(".plot__area").append(layout.showlegend === false ? "" : legend(data), canvas);
    drawn.set(canvas, { data, layout, root: figure.dataset.root });
    await draw(canvas);
  } catch (error) {
    console.warn(error);
    drawn.delete(canvas);
    fail(figure);
  }
}

const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      show(target);
    }
  },
  { rootMargin: "100px" }, // near enough to be ready, far enough that what nobody scrolls to costs nothing at load
);
document.querySelectorAll("[data-figure]").forEach((figure) => near.observe(figure));

const redraw = () => drawn.forEach((_, canvas) => draw(canvas));
new MutationObserver(redraw).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
addEventListener("beforeprint", redraw);
addEventListener("afterprint", redraw);
matchMedia("print").addEventListener("change", redraw);
