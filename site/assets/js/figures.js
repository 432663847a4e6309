// Draws <figure data-figure="….json"> when it nears the viewport. plotly.js is fetched once, from this site, and
// only then. Colours come from the theme's CSS variables, so a figure follows the colour scheme and prints light.

const VENDOR = new URL("../vendor/plotly.min.js", import.meta.url);
const drawn = new Map(); // area element -> { figure, data, layout, root }

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
const font = (name) => getComputedStyle(document.body).getPropertyValue(`--${name}`);

function axis(given = {}) {
  return {
    automargin: true,
    gridcolor: colour("rule"),
    linecolor: colour("rule-2"),
    tickcolor: colour("rule-2"),
    zerolinecolor: colour("rule-2"),
    ...given,
    title: { standoff: 10, ...given.title, font: { size: 12, color: colour("ink-2") } },
  };
}

function styledLayout(layout) {
  const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
  const styled = Object.fromEntries([...new Set([...axes, "xaxis", "yaxis"])].map((key) => [key, axis(layout[key])]));
  return {
    margin: { l: 8, r: 8, t: 8, b: 8 },
    hovermode: "closest",
    ...layout,
    ...styled,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: font("sans"), size: 12, color: colour("ink-2") },
    hoverlabel: {
      bgcolor: colour("raised"),
      bordercolor: colour("rule-2"),
      font: { family: font("sans"), size: 12, color: colour("ink") },
    },
    legend: { orientation: "h", y: -0.18, yanchor: "top", x: 0, font: { size: 12 }, ...layout.legend },
  };
}

// meta.hue: one hue for the trace; meta.hues: one a point.
function styledTrace(trace) {
  const { hue, hues } = trace.meta ?? {};
  const paint = hues ? hues.map((n) => colour(`hue-${n}`)) : colour(hue ? `hue-${hue}` : "accent");
  const base = { line: { width: 0, color: colour("paper"), ...trace.marker?.line } };
  if (trace.type === "pie") return { ...trace, marker: { ...base, ...trace.marker, colors: hues ? paint : undefined } };
  const marker = { ...base, ...trace.marker, color: paint };
  return trace.type === "bar" ? { ...trace, marker } : { ...trace, marker, line: { width: 2, ...trace.line, color: paint } };
}

async function draw(area) {
  const { data, layout, root } = drawn.get(area);
  const Plotly = await loadPlotly();
  const first = !area.classList.contains("js-plotly-plot");
  await Plotly.react(area, data.map(styledTrace), styledLayout(layout), { responsive: true, displayModeBar: false });
  if (!first) return;
  const target = (event) => [event.points[0]?.customdata].flat()[0];
  area.on("plotly_click", (event) => typeof target(event) === "string" && location.assign(root + target(event)));
  area.on("plotly_hover", (event) => area.classList.toggle("plot__area--link", typeof target(event) === "string"));
  area.on("plotly_unhover", () => area.classList.remove("plot__area--link"));
}

function fail(figure) {
  const note = document.createElement("p");
  note.className = "plot__error";
  note.textContent = "The chart could not be drawn; its numbers follow.";
  figure.classList.add("plot--failed");
  figure.querySelector(".plot__area").before(note);
  figure.querySelector("details").open = true;
}

async function show(figure) {
  const area = figure.querySelector(".plot__area");
  try {
    const answer = await fetch(figure.dataset.figure);
    if (!answer.ok) throw new Error(`${answer.status} for ${figure.dataset.figure}`);
    const { data, layout = {} } = await answer.json();
    drawn.set(area, { data, layout, root: figure.dataset.root });
    await draw(area);
  } catch (error) {
    console.warn(error);
    drawn.delete(area);
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
  { rootMargin: "200px" },
);
document.querySelectorAll("[data-figure]").forEach((figure) => near.observe(figure));

const redraw = () => drawn.forEach((_, area) => draw(area));
new MutationObserver(redraw).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
addEventListener("beforeprint", redraw);
addEventListener("afterprint", redraw);
matchMedia("print").addEventListener("change", redraw);
