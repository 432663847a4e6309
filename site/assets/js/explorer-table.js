// The explorer's table without the page: read, filter, count, sort. Pure functions over papers/table.json, whose
// fields scripts/website/explorer.py writes. A row's failed facets are bits of one number, so that a single pass gives
// both the papers that are left and, for each facet, the counts as they would be without that facet's own choice.

export const CODE = 1;
export const IMPLEMENTED = 2;
const AUTHORS_CUT = 4;

const SETS = ["technique", "saves", "venue", "evidence", "has"];
const BIT = { text: 1, year: 2, technique: 4, saves: 8, venue: 16, evidence: 32, code: 64, implementation: 128 };
const SLICE = 2_000; // rows read at a time, so that no task is long

export const SORTS = ["year", "title", "author", "venue", "technique", "evidence"];
export const DEFAULT_SORT = "-year";

const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").replaceAll("\u00a0", " ").toLowerCase();
const breath = () => new Promise((resolve) => setTimeout(resolve));

/** All rows as records, newest first. */
export async function readTable(data) {
  const at = new Map(data.techniques.map(([slug], index) => [slug, index]));
  const lineage = data.techniques.map(([slug]) => above(slug).map((part) => at.get(part)).filter((n) => n !== undefined));
  const rows = [];
  for (let index = 0; index < data.papers.key.length; index += 1) {
    rows.push(record(data, index, lineage));
    if (rows.length % SLICE === 0) await breath();
  }
  return { rows, techniques: data.techniques.map(([slug, title, hue]) => ({ slug, title, hue })), orders: new Map() };
}

/** "a/b/c" -> ["a", "a/b", "a/b/c"] */
const above = (slug) => slug.split("/").map((_, index, parts) => parts.slice(0, index + 1).join("/"));

function record(data, index, lineage) {
  const columns = data.papers;
  const [key, title, authors, arxiv] = ["key", "title", "authors", "arxiv"].map((name) => columns[name][index]);
  const [techniques, saves, flags] = ["techniques", "saves", "flags"].map((name) => columns[name][index]);
  const main = data.techniques[techniques[0]];
  const names = authors ? authors.split(";") : [];
  return {
    key,
    title,
    authors: names.map((name) => name.replaceAll("\u00a0", " ")),
    byline: byline(names.map(family), flags & AUTHORS_CUT),
    year: columns.year[index],
    venue: data.venues[columns.venue[index]] ?? "",
    techniques: techniques.map((number) => data.techniques[number][0]),
    technique: main[1],
    hue: main[2],
    nodes: [...new Set(techniques.flatMap((number) => lineage[number]))],
    saves: data.saves.filter((_, bit) => saves & (1 << bit)),
    code: Boolean(flags & CODE),
    implementation: Boolean(flags & IMPLEMENTED),
    authorsCut: Boolean(flags & AUTHORS_CUT),
    evidence: data.evidence[columns.evidence[index]],
    level: columns.evidence[index],
    arxiv,
    doi: columns.doi[index],
    text: fold(`${title} ${authors.replaceAll(";", " ")} ${key} ${arxiv}`),
  };
}

const family = (name) => name.slice(name.lastIndexOf(" ") + 1).replaceAll("\u00a0", " ");

/** As scripts.bibliography.names.short: one or two family names, else the first and et al. */
function byline(families, cut) {
  if (!families.length) return "";
  if (families.length === 1 && !cut) return families[0];
  return families.length === 2 && !cut ? families.join(" and ") : `${families[0]} et al.`;
}

export const emptyState = () => ({
  q: "",
  from: null,
  to: null,
  sort: DEFAULT_SORT,
  ...Object.fromEntries(SETS.map((name) => [name, new Set()])),
});

/** The rows that pass, in order, and the counts of every value of every facet. */
export function select(table, state) {
  const fails = failing(table, state);
  const counts = { technique: new Map(), saves: new Map(), venue: new Map(), evidence: new Map(), has: new Map() };
  const passing = new Uint8Array(table.rows.length);
  table.rows.forEach((row, index) => {
    const failed = fails[index];
    passing[index] = failed === 0;
    if (!(failed & ~BIT.technique)) for (const node of row.nodes) add(counts.technique, table.techniques[node].slug);
    if (!(failed & ~BIT.saves)) for (const word of row.saves) add(counts.saves, word);
    if (!(failed & ~BIT.venue) && row.venue) add(counts.venue, row.venue);
    if (!(failed & ~BIT.evidence)) add(counts.evidence, row.evidence);
    if (!(failed & ~BIT.code) && row.code) add(counts.has, "code");
    if (!(failed & ~BIT.implementation) && row.implementation) add(counts.has, "implementation");
  });
  const rows = order(table, state.sort).filter((index) => passing[index]).map((index) => table.rows[index]);
  return { rows, counts };
}

const add = (counts, value) => counts.set(value, (counts.get(value) ?? 0) + 1);

function failing(table, state) {
  const words = fold(state.q).split(/\s+/).filter(Boolean);
  const { from, to, saves, venue, evidence, has } = state;
  const nodes = new Set(table.techniques.flatMap(({ slug }, index) => (state.technique.has(slug) ? index : [])));
  return table.rows.map((row) => {
    let failed = 0;
    if (!words.every((word) => row.text.includes(word))) failed |= BIT.text;
    if ((from !== null && row.year < from) || (to !== null && row.year > to)) failed |= BIT.year;
    if (state.technique.size && !row.nodes.some((node) => nodes.has(node))) failed |= BIT.technique;
    if (saves.size && !row.saves.some((word) => saves.has(word))) failed |= BIT.saves;
    if (venue.size && !venue.has(row.venue)) failed |= BIT.venue;
    if (evidence.size && !evidence.has(row.evidence)) failed |= BIT.evidence;
    if (has.has("code") && !row.code) failed |= BIT.code;
    if (has.has("implementation") && !row.implementation) failed |= BIT.implementation;
    return failed;
  });
}

const KEYS = {
  year: (row) => row.year,
  title: (row) => fold(row.title).replace(/^[^\p{L}\p{N}]+/u, ""),
  author: (row) => fold(row.byline),
  venue: (row) => fold(row.venue),
  technique: (row) => fold(row.technique),
  evidence: (row) => row.level,
};

/** Indices of all rows in the order asked for; equals are newest first, and rows without a value come last. */
function order(table, sort) {
  const found = table.orders.get(sort);
  if (found) return found;
  const [column, sign] = sort.startsWith("-") ? [sort.slice(1), -1] : [sort, 1];
  const keys = table.rows.map(KEYS[column]);
  const indices = keys.map((_, index) => index);
  const compare = (a, b) => {
    if (keys[a] === keys[b]) return sort === "year" ? b - a : a - b;
    if (keys[a] === "" || keys[b] === "") return keys[a] === "" ? 1 : -1;
    return keys[a] < keys[b] ? -sign : sign;
  };
  indices.sort(compare);
  table.orders.set(sort, indices);
  return indices;
}

/** The state that an address asks for; what it says of unknown columns or years that are no numbers is left out. */
export function fromSearch(search) {
  const given = new URLSearchParams(search);
  const state = emptyState();
  state.q = given.get("q") ?? "";
  for (const name of ["from", "to"]) state[name] = yearOf(given.get(name));
  for (const name of SETS) state[name] = new Set(given.getAll(name));
  const sort = given.get("sort") ?? DEFAULT_SORT;
  state.sort = SORTS.includes(sort.replace(/^-/, "")) ? sort : DEFAULT_SORT;
  return state;
}

export const yearOf = (text) => (/^\d{4}$/.test(text ?? "") ? Number(text) : null);

/** The address of a state: "?q=…&technique=…", or nothing for everything. */
export function toSearch(state) {
  const wanted = new URLSearchParams();
  if (state.q.trim()) wanted.set("q", state.q.trim());
  for (const name of ["from", "to"]) if (state[name] !== null) wanted.set(name, state[name]);
  for (const name of SETS) for (const value of state[name]) wanted.append(name, value);
  if (state.sort !== DEFAULT_SORT) wanted.set("sort", state.sort);
  const text = wanted.toString().replaceAll("%2F", "/");
  return text && `?${text}`;
}
