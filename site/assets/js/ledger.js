// The ledger's filter: verdicts, area and words. The state is in the address, so that a view is a link.

const form = document.querySelector(".ledger-filter");
const rows = [...document.querySelectorAll("[data-verdict]")].map((element) => ({
  element,
  verdict: element.dataset.verdict,
  area: element.dataset.area,
  text: element.textContent.toLowerCase(),
}));
const papers = [...document.querySelectorAll("[data-paper]")];

function read() {
  const asked = new URLSearchParams(location.search);
  const verdicts = asked.has("verdict") ? asked.get("verdict").split(" ") : null;
  for (const box of form.elements.verdict) box.checked = !verdicts || verdicts.includes(box.value);
  form.elements.area.value = asked.get("area") ?? "";
  if (form.elements.area.selectedIndex < 0) form.elements.area.value = "";
  form.elements.words.value = asked.get("words") ?? "";
}

function write() {
  const boxes = [...form.elements.verdict];
  const state = new URLSearchParams();
  const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
  if (chosen.length < boxes.length) state.set("verdict", chosen.join(" "));
  if (form.elements.area.value) state.set("area", form.elements.area.value);
  if (form.elements.words.value.trim()) state.set("words", form.elements.words.value.trim());
  const query = state.toString();
  history.replaceState(null, "", (query ? `?${query}` : location.pathname) + location.hash);
}

function show() {
  const chosen = new Set([...form.elements.verdict].filter((box) => box.checked).map((box) => box.value));
  const area = form.elements.area.value;
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const wanted =
      chosen.has(row.verdict) && (!area || row.area === area) && words.every((word) => row.text.includes(word));
    row.element.hidden = !wanted;
    count += wanted;
  }
  for (const paper of papers) {
    paper.hidden = !paper.querySelector("[data-verdict]:not([hidden])");
    if (words.length && !paper.hidden) paper.open = true;
  }
  form.querySelector("[data-count]").textContent = `${count} of ${rows.length} claims`;
}

if (form) {
  read();
  show();
  form.addEventListener("input", () => {
    write();
    show();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("popstate", () => {
    read();
    show();
  });
}
