// The search dialog. Fetched on first use, with its style and Pagefind's index; nothing of it is on the page before.
// Our own dialog over pagefind.js: the ready-made component costs another 47 kB, a third of the budget of a search.

const HERE = new URL(".", import.meta.url); // …/assets/js/
const SITE = new URL("../../", HERE);
const FIRST = 8; // results whose texts are fetched at once
const WAIT_MS = 120;

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("../search.css", HERE);

const dialog = document.createElement("dialog");
dialog.className = "search";
dialog.setAttribute("aria-label", "Search");
dialog.innerHTML = `
  <form class="search__form" role="search">
    <input class="search__input" type="search" autocomplete="off" autocapitalize="off" spellcheck="false" enterkeyhint="search"
      placeholder="Title, author, technique or arXiv id" aria-label="Search papers and techniques"
      role="combobox" aria-expanded="false" aria-controls="search-results" aria-autocomplete="list">
    <button class="search__close" type="button">Close</button>
  </form>
  <p class="search__status" role="status"></p>
  <ul class="search__results" id="search-results" role="listbox" aria-label="Results"></ul>
  <p class="search__keys" aria-hidden="true"><kbd>↑</kbd><kbd>↓</kbd> choose <kbd>Enter</kbd> open <kbd>Esc</kbd> close</p>`;

const input = dialog.querySelector("input");
const status = dialog.querySelector(".search__status");
const list = dialog.querySelector("ul");

let pagefind;
const loadPagefind = () =>
  (pagefind ??= import(new URL("pagefind/pagefind.js", SITE)).then(async (engine) => {
    await engine.options({ excerptLength: 22, ranking: { metaWeights: { title: 6 } } });
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
  const item = document.createElement("li");
  item.id = `search-result-${index}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", "false");
  const link = document.createElement("a");
  link.href = result.url;
  link.tabIndex = -1;
  const title = document.createElement("b");
  title.textContent = result.meta.title;
  const facts = document.createElement("small");
  facts.textContent = [result.meta.year, result.meta.venue, result.meta.technique].filter(Boolean).join(" · ");
  const excerpt = document.createElement("p");
  excerpt.innerHTML = result.excerpt;
  link.append(title, facts, excerpt);
  item.append(link);
  return item;
}

let asked = 0;
async function search() {
  const query = input.value.trim();
  const ticket = ++asked;
  if (!query) return show([], "");
  try {
    const engine = await loadPagefind();
    const { results } = await engine.search(query);
    const shown = await Promise.all(results.slice(0, FIRST).map((hit) => hit.data()));
    if (ticket !== asked) return;
    const more = results.length > FIRST ? `, the first ${FIRST} shown; more words narrow it` : "";
    show(shown, results.length ? `${results.length} ${results.length === 1 ? "result" : "results"}${more}` : null);
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
  } else list.children[chosen].querySelector("a").click();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest(".search__close")) dialog.close();
});
