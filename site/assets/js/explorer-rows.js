// The rows of the explorer that are in view, in a real table: a spacer row stands for those above, and one for those
// below. The row that has the focus stays in the document, so that the keyboard never loses its place.

const ROW_PX = 62;
const BEYOND = 12; // rows drawn above and below the window, which Tab can reach

export async function makeRows(page, root) {
  globalThis.process ??= { env: { NODE_ENV: "production" } }; // the library asks whether it is being debugged
  const virtual = await import("../vendor/virtual/index.js");
  return new Rows(page.querySelector("table"), root, virtual);
}

class Rows {
  constructor(table, root, virtual) {
    this.table = table;
    this.body = table.tBodies[0];
    this.root = root;
    this.rows = [];
    this.drawn = new Map(); // key -> <tr>
    this.gaps = new Map(); // index of the row that follows -> <tr>
    this.settings = {
      estimateSize: () => ROW_PX,
      overscan: BEYOND,
      getScrollElement: () => window,
      observeElementRect: virtual.observeWindowRect,
      observeElementOffset: virtual.observeWindowOffset,
      scrollToFn: virtual.windowScroll,
      initialOffset: () => scrollY,
      initialRect: { width: innerWidth, height: innerHeight },
      onChange: () => this.drawSoon(),
      getItemKey: (index) => this.rows[index].key,
      rangeExtractor: (range) => this.withFocused(virtual.defaultRangeExtractor(range)),
      indexAttribute: "data-index",
    };
    this.virtualizer = new virtual.Virtualizer({ ...this.settings, count: 0 });
    this.body.addEventListener("keydown", (event) => this.move(event));
    this.width = innerWidth;
    addEventListener("resize", () => this.resized());
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
  }

  /** Show these rows from now on. */
  show(rows) {
    this.rows = rows;
    this.table.setAttribute("aria-rowcount", rows.length + 1);
    this.place();
  }

  place() {
    const scrollMargin = this.body.getBoundingClientRect().top + scrollY;
    this.virtualizer.setOptions({ ...this.settings, count: this.rows.length, scrollMargin });
    this.virtualizer._willUpdate();
    this.draw();
  }

  resized() {
    if (this.width !== innerWidth) this.virtualizer.measure(); // titles wrap elsewhere; a phone's bar hides by itself
    this.width = innerWidth;
    this.place();
  }

  withFocused(indices) {
    const at = Number(this.body.querySelector("tr:focus-within")?.dataset.index ?? -1);
    if (at < 0 || at >= this.rows.length || indices.includes(at)) return indices;
    return [...indices, at].sort((a, b) => a - b);
  }

  /** Paper has no window: all rows are drawn for it. */
  print(start) {
    this.printing = start;
    if (start) this.put(this.rows.map((_, index) => this.row(index)));
    else this.draw();
  }

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    if (this.printing) return;
    const { scrollMargin } = this.virtualizer.options;
    const items = this.virtualizer.getVirtualItems();
    const wanted = [];
    let end = 0;
    for (const { index, start, size } of items) {
      const top = start - scrollMargin;
      if (top > end) wanted.push(this.gap(index, top - end));
      wanted.push(this.row(index));
      end = top + size;
    }
    const total = this.virtualizer.getTotalSize();
    if (total > end) wanted.push(this.gap("end", total - end));
    this.put(wanted);
  }

  /** Bring the body's children to `wanted` without moving any that stay: a moved element loses the focus. */
  put(wanted) {
    const keep = new Set(wanted);
    for (const child of [...this.body.children]) if (!keep.has(child)) this.drop(child);
    let at = this.body.firstChild;
    for (const row of wanted) {
      if (row === at) at = at.nextSibling;
      else this.body.insertBefore(row, at);
      if (row.dataset.key && !row.isMeasured) this.virtualizer.measureElement(row);
      row.isMeasured = true;
    }
    this.virtualizer.measureElement(null); // forget those that are gone
  }

  drop(child) {
    if (child.dataset.key) this.drawn.delete(child.dataset.key);
    child.remove();
  }

  gap(before, height) {
    let row = this.gaps.get(before);
    if (!row) {
      row = document.createElement("tr");
      row.className = "papers__gap";
      row.setAttribute("aria-hidden", "true");
      row.append(Object.assign(document.createElement("td"), { colSpan: 5 }));
      this.gaps.set(before, row);
    }
    row.firstChild.style.height = `${height}px`;
    return row;
  }

  row(index) {
    const paper = this.rows[index];
    let row = this.drawn.get(paper.key);
    if (!row) {
      row = this.make(paper);
      row.dataset.key = paper.key;
      this.drawn.set(paper.key, row);
    }
    row.dataset.index = index;
    row.setAttribute("aria-rowindex", index + 2);
    return row;
  }

  make(paper) {
    const row = document.createElement("tr");
    const title = document.createElement("th");
    title.scope = "row";
    const link = document.createElement("a");
    link.href = new URL(`papers/${paper.key}/`, this.root);
    link.textContent = paper.title;
    title.append(link, " ", element("small", paper.byline));
    const technique = element("td", paper.technique, `dot hue-${paper.hue}`);
    row.append(element("td", paper.year), title, element("td", paper.venue), technique, marks(paper));
    return row;
  }

  /** Move the focus between rows by the arrow keys. */
  move(event) {
    const at = Number(event.target.closest("tr")?.dataset.index);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.rows.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.focus(to)) event.preventDefault();
  }

  /** Put the focus on the row at an index; -> whether there is one. */
  focus(index) {
    if (!this.rows[index]) return false;
    const link = () => this.drawn.get(this.rows[index].key)?.querySelector("a");
    if (!link()) this.virtualizer.scrollToIndex(index, { align: "auto" });
    const attempt = (left) => {
      if (link()) link().focus();
      else if (left) requestAnimationFrame(() => attempt(left - 1));
    };
    attempt(30);
    return true;
  }

  /** After another choice: back to the first row, where the reader had scrolled past it. */
  toTop() {
    const { scrollMargin } = this.virtualizer.options;
    if (scrollY > scrollMargin) scrollTo({ top: Math.max(0, scrollMargin - 120) });
  }
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function marks(paper) {
  const cell = document.createElement("td");
  if (paper.evidence !== "listed") cell.append(element("b", paper.evidence, `mark mark--${paper.evidence}`));
  if (paper.code) cell.append(element("b", "code", "mark"));
  if (paper.implementation) cell.append(element("b", "implemented", "mark"));
  return cell;
}
