// The search dialog. Fetched on first use, with its style and Pagefind's index; nothing of it is on the page before.
// Our own dialog over pagefind.js: the ready-made component costs another 47 kB, a third of the budget of a search.

const HERE = new URL(".", import.meta.url); // …/assets/js/
const SITE = new URL("../../", HERE);
const FIRST = 8; // results shown; the text of each is a request of about 300 bytes
const WAIT_MS = 150;
const ARXIV = /^(?:arxiv:|https?:\/\/arxiv\.org\/(?:abs|pdf)\/)?(\d{4}\.\d{4,5})(?:v\d+)?$/i;

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("../search.css", HERE);

const dialog = document.createElement("dialog");
dialog.className = "search";
dialog.setAttribute("aria-label", "Search");
dialog.innerHTML = `
  <form class="search__form" role="search">
    <input class="search__input" type="text" autocomplete="off" autocapitalize="off" spellcheck="false" enterkeyhint="search"
      placeholder="Title, author, technique or arXiv id" aria-label="Search papers and techniques"
      role="combobox" aria-expanded="false" aria-controls="search-results" aria-autocomplete="list">
    <button class="search__close" type="button">Close</button>
  </form>
  <p class="search__status" role="status"></p>
  <div class="search__results" id="search-results" role="listbox" aria-label="Results"></div>
  <p class="search__keys" aria-hidden="true"><kbd>↑</kbd><kbd>↓</kbd> choose <kbd>Enter</kbd> open <kbd>Esc</kbd> close</p>`;

const input = dialog.querySelector("input");
const status = dialog.querySelector(".search__status");
const list = dialog.querySelector(".search__results");

let pagefind;
const loadPagefind = () =>
  (pagefind ??= import(new URL("pagefind/pagefind.js", SITE)).then(async (engine) => {
    // Without the worker 12 kB less to fetch. No pageLength: a short record should not win by that over a full text.
    await engine.options({ excerptLength: 22, noWorker: true, ranking: { pageLength: 0, metaWeights: { title: 8 } } });
    await engine.init();
    return engine;
  }));

export function open() {
  if (!dialog.isConnected) document.body.append(style, dialog);
  if (!dialog.open) dialog.showModal();
  input.select();
  loadPagefind().catch(fail);
}

function fail(error) {
  console.warn(error);
  pagefind = undefined; // a later try may succeed
  list.replaceChildren();
  status.innerHTML = `The search index could not be loaded. Browse <a href="${new URL("papers/", SITE)}">all papers</a> or <a href="${new URL("techniques/", SITE)}">the techniques</a> instead.`;
}

// Pagefind's excerpts are escaped text with <mark> around the hits; everything else is set as text.
function row(result, index) {
  const link = document.createElement("a");
  link.href = result.url;
  link.id = `search-result-${index}`;
  link.tabIndex = -1; // the focus stays in the field; arrow keys choose
  link.setAttribute("role", "option");
  link.setAttribute("aria-selected", "false");
  const title = document.createElement("b");
  title.textContent = result.meta.title;
  const facts = document.createElement("small");
  facts.textContent = [result.meta.year, result.meta.venue, result.meta.technique].filter(Boolean).join(" · ");
  const excerpt = document.createElement("p");
  excerpt.innerHTML = result.excerpt;
  link.append(title, facts, excerpt);
  return link;
}

// Pagefind ranks by words alone. What people mean comes first here: the technique of that name, then the method or
// page of that name, then pages that hold the words as a phrase ("Xin Jin"), then the rest in Pagefind's order.
const named = (page, query) => {
  const title = page.meta.title.toLowerCase();
  const key = page.url.split("/").at(-2);
  const exact = key === query || title === query || title.startsWith(`${query}:`);
  return 4 * exact + 2 * title.startsWith(query) - page.url.includes("/techniques/"); // a technique may just mention it
};

// Pagefind shortens a word that it does not know until some word of a page fits, down to a letter in a formula. A page
// none of whose marked words begins as a wanted one does was not asked for.
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
const meant = (query) => {
  const starts = plain(query).map((word) => word.slice(0, 3));
  return (page) => {
    const marked = [...page.excerpt.matchAll(/<mark>([^<]*)<\/mark>/g)].flatMap((mark) => plain(mark[1]));
    return !marked.length || marked.some((word) => starts.some((start) => word.startsWith(start)));
  };
};

async function find(engine, query) {
  const id = query.match(ARXIV)?.[1];
  if (id) {
    const { results } = await engine.search(`arXiv:${id}`);
    const pages = await Promise.all(results.slice(0, FIRST).map((hit) => hit.data()));
    const found = pages.filter((page) => page.content.includes(id)); // the index also returns near misses
    return { pages: found, total: found.length };
  }
  const wanted = query.toLowerCase();
  const searches = [engine.search(query, { filters: { kind: "technique" } }), engine.search(query)];
  if (/\s/.test(query) && !query.includes('"')) searches.splice(1, 0, engine.search(`"${query}"`));
  const [techniques, ...rest] = (await Promise.all(searches)).map((answer) => answer.results);
  const all = new Map(rest.flat().map((hit) => [hit.id, hit])); // phrase hits first, each page once
  const first = await Promise.all(techniques.slice(0, 4).map((hit) => hit.data()));
  const titled = first.filter((page) => wanted.split(/\s+/).every((word) => page.meta.title.toLowerCase().includes(word)));
  const loaded = await Promise.all([...all.values()].slice(0, FIRST + 2).map((hit) => hit.data()));
  const pages = loaded.filter(meant(query));
  titled.sort((a, b) => named(b, wanted) - named(a, wanted));
  const seen = new Set(titled.map((page) => page.url));
  const others = pages.filter((page) => !seen.has(page.url)).sort((a, b) => named(b, wanted) - named(a, wanted));
  return { pages: [...titled.slice(0, 2), ...others].slice(0, FIRST), total: all.size - loaded.length + pages.length };
}

let asked = 0;
async function search() {
  const query = input.value.trim();
  const ticket = ++asked;
  if (query.length < 2) return show([], "");
  try {
    const { pages, total } = await find(await loadPagefind(), query);
    if (ticket !== asked) return;
    const more = total > FIRST ? `, the first ${FIRST} shown; more words narrow it` : "";
    show(pages, pages.length ? `${total} ${total === 1 ? "result" : "results"}${more}` : null);
  } catch (error) {
    if (ticket === asked) fail(error);
  }
}

function show(results, message) {
  list.replaceChildren(...results.map(row));
  input.setAttribute("aria-expanded", String(results.length > 0));
  status.textContent = message ?? "Nothing found. Try fewer words, a family name, or an arXiv id such as 2305.05920.";
  choose(results.length ? 0 : -1);
}

let chosen = -1;
function choose(index) {
  list.children[chosen]?.setAttribute("aria-selected", "false");
  chosen = index;
  const item = list.children[index];
  item?.setAttribute("aria-selected", "true");
  item?.scrollIntoView({ block: "nearest" });
  if (item) input.setAttribute("aria-activedescendant", item.id);
  else input.removeAttribute("aria-activedescendant");
}

let timer;
input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, WAIT_MS);
});
input.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !list.children.length) return;
  event.preventDefault();
  choose((chosen + step + list.children.length) % list.children.length);
});
dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (chosen < 0) {
    clearTimeout(timer);
    await search();
  } else list.children[chosen].click();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest(".search__close")) dialog.close();
});
