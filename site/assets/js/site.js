// Loaded on every page. Small on purpose: search and figures are fetched when they are first needed.

const openSearch = async () => {
  const { open } = await import("./search.js");
  open();
};

for (const link of document.querySelectorAll("[data-search]")) {
  link.setAttribute("role", "button");
  link.setAttribute("aria-haspopup", "dialog");
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // the link to the list of papers, in a new tab
    event.preventDefault();
    openSearch();
  });
  link.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    openSearch();
  });
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=radio]), textarea, select, [contenteditable]");
  const chord = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey);
  const slash = event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (!chord && !slash) return;
  event.preventDefault();
  openSearch();
});

// The colour scheme: the reader's choice is kept where the script in the page's head looks for it, else the system's.
const page = document.body.dataset;
const system = matchMedia("(prefers-color-scheme: dark)");
const toggle = document.querySelector("[data-switch]");
const setScheme = (scheme) => {
  page.mdColorScheme = scheme;
  toggle?.setAttribute("aria-pressed", String(scheme === "slate"));
};
setScheme(page.mdColorScheme);
toggle?.addEventListener("click", () => {
  setScheme(page.mdColorScheme === "slate" ? "default" : "slate");
  window.__md_set("__palette", { color: { scheme: page.mdColorScheme } });
});
system.addEventListener("change", () => {
  if (!window.__md_get("__palette")) setScheme(system.matches ? "slate" : "default");
});

for (const button of document.querySelectorAll("[data-copy]")) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // no permission: select it, so that one key copies
      button.textContent = "Selected: press Ctrl or Cmd + C";
    }
    setTimeout(() => (button.textContent = label), 2000);
  });
}

if (document.querySelector("[data-figure]")) import("./figures.js");
if (document.querySelector("[data-compare]")) import("./compare.js");
if (document.querySelector("[data-explorer]")) import("./explorer.js");
