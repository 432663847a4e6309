// A selection of papers as a file. BibTeX is not written here but taken from the files of the years, which the build
// wrote, so that an entry is the same wherever it is found.

const COLUMNS = {
  key: (row) => row.key,
  title: (row) => row.title,
  authors: (row) => row.authors.join("; ") + (row.authorsCut ? "; others" : ""),
  year: (row) => row.year,
  venue: (row) => row.venue,
  techniques: (row) => row.techniques.join("; "),
  saves: (row) => row.saves.join("; "),
  evidence: (row) => row.evidence,
  code: (row) => (row.code ? "yes" : "no"),
  implementation: (row) => (row.implementation ? "yes" : "no"),
  arxiv: (row) => row.arxiv,
  doi: (row) => row.doi,
};

// A spreadsheet would run a text that begins like a formula.
const cell = (value) => {
  const text = String(value).replace(/^(?=[=+\-@\t\r])/, "'");
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export function csv(rows) {
  const lines = [Object.keys(COLUMNS), ...rows.map((row) => Object.values(COLUMNS).map((value) => value(row)))];
  return lines.map((line) => line.map(cell).join(",") + "\n").join("");
}

export function json(rows) {
  const papers = rows.map((row) => ({
    key: row.key,
    title: row.title,
    authors: row.authors,
    authors_cut: row.authorsCut,
    year: row.year,
    venue: row.venue || null,
    techniques: row.techniques,
    saves: row.saves,
    evidence: row.evidence,
    code: row.code,
    implementation: row.implementation,
    arxiv: row.arxiv || null,
    doi: row.doi || null,
  }));
  return `${JSON.stringify({ licence: "CC-BY-4.0", count: papers.length, papers }, null, 1)}\n`;
}

/** BibTeX of the rows in their order, from years/YEAR/papers.bib below `root`. */
export async function bib(rows, root) {
  const years = [...new Set(rows.map((row) => row.year))];
  const texts = await Promise.all(years.map((year) => text(new URL(`years/${year}/papers.bib`, root))));
  const entries = new Map(texts.flatMap((all) => all.split(/\n(?=@)/)).map((entry) => [/\{([^,]+),/.exec(entry)?.[1], entry]));
  return rows.map((row) => entries.get(row.key)).join("\n");
}

async function text(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${answer.status} for ${url}`);
  return answer.text();
}

const KINDS = { bib: "application/x-bibtex", csv: "text/csv", json: "application/json" };

/** Hand the reader a file with the rows. */
export async function save(format, rows, root) {
  const content = format === "bib" ? await bib(rows, root) : { csv, json }[format](rows);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: KINDS[format] }));
  link.download = `frugalfm-papers.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
