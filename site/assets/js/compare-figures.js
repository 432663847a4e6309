// Builds plotly figures of Compare from points of api/v1/evidence.json: quality, speed, limit, and the cost of applying.
// A hollow mark is a point where no difference from the baseline was seen; with a dot, one of too few runs to say. Which
// these are the table says (data-few): the rule is the build's.

const four = (value) => Number(value.toPrecision(4));
const three = (value) => String(Number(value.toPrecision(3)));

/** kind -> [value, its ends] of a point, the line to read it against, and what follows a number. */
const KINDS = {
  quality: { value: (p) => p.median, ends: (p) => p.interval, suffix: "" },
  speed: { value: (p) => p.factor, ends: (p) => p.factor_interval, line: 1, suffix: "×" },
  limit: { value: (p) => p.limit_share && 100 * p.limit_share, ends: limitEnds, line: 100, suffix: " %" },
  apply: { value: (p) => p.factor && 1 / p.factor, ends: (p) => p.factor_interval?.map((end) => 1 / end).reverse(), line: 1, suffix: "×" },
};

function limitEnds({ limit_share: share, interval, median, better }) {
  if (!share || !interval) return null;
  const ends = interval.map((end) => 100 * share * (better === "higher" ? end / median : median / end));
  return better === "higher" ? ends : ends.reverse();
}

/** Round numbers between two positive ends; as `ticks` of scripts/website/plots/draw.py. */
export function ticks(low, high) {
  const span = high / low;
  if (span < 3) {
    const rough = (high - low) / 5;
    const size = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => size * factor).find((step) => step >= rough);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, n) => four(step * (first + n)));
  }
  const steps = span < 20 ? [1, 2, 3, 4, 6, 8] : span < 2000 ? [1, 2, 5] : [1];
  const marks = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++) {
    marks.push(...steps.map((step) => four(step * 10 ** decade)).filter((mark) => mark >= low && mark <= high));
  }
  return marks;
}

function logAxis(title, values, suffix = "") {
  const found = values.filter((value) => value > 0);
  const [low, high] = found.length ? [Math.min(...found) / 1.12, Math.max(...found) * 1.12] : [0.5, 2];
  const tickvals = ticks(low, high);
  const ticktext = tickvals.map((mark) => mark + suffix);
  return { title: { text: title }, type: "log", range: [Math.log10(low), Math.log10(high)], tickvals, ticktext };
}

function errors(values, ends) {
  const reach = values.map((value, at) => ends[at] ?? [value, value]);
  return {
    type: "data",
    symmetric: false,
    array: values.map((value, at) => four(reach[at][1] - value)),
    arrayminus: values.map((value, at) => four(value - reach[at][0])),
    thickness: 1,
    width: 3,
  };
}

function trace(name, style, rows, kind, across) {
  const { value, ends, suffix } = KINDS[kind];
  const isTied = ({ point }) => ["speed", "apply"].includes(kind) && point.no_difference_seen;
  const marks = rows.map((row) => (row.few ? "-open-dot" : isTied(row) ? "-open" : ""));
  const told = { "-open-dot": "<br>too few to say", "-open": "<br>no difference seen", "": "" };
  const values = rows.map(({ point }) => value(point));
  const error = errors(values, rows.map(({ point }) => ends(point)));
  const text = rows.map(({ point, at }, n) => {
    const reach = ends(point) ? ` [${ends(point).map(three).join(", ")}]` : "";
    const where = at === undefined ? "" : `, ${three(at)}`;
    return `${name}${where}: ${three(values[n])}${suffix}${reach}, n ${point.n}${told[marks[n]]}`;
  });
  const along = rows.map(({ at }) => at ?? name);
  return {
    type: "scatter",
    name,
    mode: across && rows.length > 1 && new Set(along).size === rows.length ? "lines+markers" : "markers",
    ...(across ? { x: along, y: values.map(four), error_y: error } : { x: values.map(four), y: along, error_x: error }),
    marker: { size: 10, symbol: marks.map((mark) => style.symbol + mark), line: { width: marks.map((mark) => ({ "-open": 2, "-open-dot": 1.5 })[mark] ?? 1) } },
    line: { dash: style.dash, width: 1.5 },
    customdata: rows.map(({ point }) => point.page),
    hovertext: text,
    hovertemplate: "%{hovertext}<extra></extra>",
    meta: { series: style.series },
  };
}

const line = (x, y, dash = "solid", shape = "linear") => ({
  type: "scatter", mode: "lines", x, y, line: { dash, shape, width: dash === "dot" ? 1.5 : 1 }, hoverinfo: "skip", meta: { tone: "ink" },
}); // prettier-ignore

/** No other row saves as much and is better; what saves most comes first. Rows of too few runs do not count. */
export function front(rows, isSaved) {
  const sign = isSaved ? -1 : 1;
  const badness = ({ point }) => (point.better === "higher" ? -point.median : point.median);
  const best = [];
  for (const row of rows.filter(({ few }) => !few).sort((a, b) => sign * (a.at - b.at) || badness(a) - badness(b))) {
    if (!best.length || badness(row) < badness(best.at(-1))) best.push(row);
  }
  return best;
}

/** rows: [{point, name, at, few}] of the techniques chosen; styles: Map of name -> {series, symbol, dash}. */
export function figureOf({ kind, isSaved, xTitle, yTitle, rows, baseline, styles }) {
  const { value, ends, suffix, line: level } = KINDS[kind];
  const shown = rows.filter(({ point }) => value(point));
  const across = shown.some(({ at }) => at !== undefined);
  const places = [...new Set(shown.map(({ at }) => at))].sort((a, b) => a - b);
  const reach = shown.flatMap(({ point }) => [value(point), ...(ends(point) ?? [])]);
  const names = [...new Set(shown.map(({ name }) => name))];
  const own = (name) => shown.filter((row) => row.name === name).sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
  const traces = names.map((name) => trace(name, styles.get(name), own(name), kind, across));
  if (!across) return lists(traces, shown, names, kind, xTitle, [level, ...reach]);
  if (kind === "quality") {
    const best = front(shown, isSaved);
    const base = baseline?.point.median;
    if (best.length) traces.unshift(line(best.map(({ at }) => at), best.map(({ point }) => point.median), "dot", "hv"));
    if (base) traces.unshift(line([places[0] / 1.12, places.at(-1) * 1.12], [base, base]));
    return { data: traces, layout: { xaxis: logAxis(xTitle, places), yaxis: logAxis(yTitle, base ? [...reach, base] : reach) } };
  }
  traces.unshift(line([places[0], places.at(-1)], [level, level]));
  const xaxis = { ...logAxis(xTitle, places), tickvals: places, ticktext: places.map(String) };
  return { data: traces, layout: { xaxis, yaxis: logAxis(yTitle, [level, ...reach], kind === "speed" ? suffix : "") } };
}

/** One place on the axis: implementations below each other, the best at the top, those of too few runs below, by name. */
function lists(traces, shown, names, kind, title, reach) {
  const value = (name) => KINDS[kind].value(shown.find((row) => row.name === name).point);
  const few = new Set(shown.filter((row) => row.few).map(({ name }) => name));
  const better = (a, b) => (kind === "apply" ? value(b) - value(a) : value(a) - value(b));
  const order = [...names.filter((name) => few.has(name)).sort().reverse(), ...names.filter((name) => !few.has(name)).sort(better)];
  traces.unshift(line([KINDS[kind].line, KINDS[kind].line], [order[0], order.at(-1)]));
  const yaxis = { type: "category", categoryorder: "array", categoryarray: order, dtick: 1 };
  return { data: traces, layout: { xaxis: logAxis(title, reach, kind === "limit" ? "" : "×"), yaxis } };
}
