// The table: a tree of rows that sorts, folds and is searched; of thousands of rows only those in sight are made.

const ROW_HEIGHT = 27; // pixels, as in page.css
const ALL_AT_ONCE = 400; // rows up to which every one is made, so that the page can be searched and printed
const PRINTED = 5000; // rows that a printed page has at most

class TableView {
  /** @param {View} view @param {HTMLElement} host what holds the table that the page came with */
  constructor(view, host) {
    this.view = view;
    this.network = view.network;
    this.host = host;
    /** @type {Set<number>} */ this.open = new Set();
    /** @type {{column: string, down: boolean} | null} */ this.sorting = null;
    this.query = "";
    this.exact = false;
    /** @type {Set<number> | null} */ this.found = null; // rows that match, while something is searched
    /** @type {Set<number>} */ this.around = new Set(); // rows that a match lies in
    this.focus = -1;
    /** @type {number[]} */ this.rows = []; // those that are listed
    this.printing = false;
    this.unfoldTo(this.network.data.fold);
    this.head = h("thead");
    this.body = h("tbody");
    this.foot = h("tfoot");
    this.table = h("table", { role: "treegrid", "aria-label": `Layers of ${this.network.name}` }, this.head, this.body, this.foot);
    host.replaceChildren(this.table);
    host.addEventListener("scroll", () => this.drawRows(), { passive: true });
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("dblclick", (event) => this.doubleClicked(event));
    this.body.addEventListener("keydown", (event) => this.pressed(event));
    this.body.addEventListener("pointerover", (event) => view.tip.show(rowOf(event), event));
    this.body.addEventListener("pointerleave", () => view.tip.hide());
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
    this.draw();
  }

  /** Open what lies above a depth of the paths; null opens all. @param {number | null} depth */
  unfoldTo(depth) {
    this.open.clear();
    for (let row = 0; row < this.network.size; row++) {
      if (!this.network.isLeaf(row) && (depth === null || this.network.paths[row].split(".").length < depth)) this.open.add(row);
    }
  }

  /** The columns that are shown. */
  get columns() {
    return this.network.columns.filter((column) => column.shown);
  }

  /** @param {number} row */
  isOpen(row) {
    return this.open.has(row) || (this.found !== null && this.around.has(row));
  }

  /** Rows in sight were there no edge to the screen, in order. @returns {number[]} */
  listed() {
    /** @type {number[]} */ const made = [];
    /** @param {number[]} rows */
    const add = (rows) => {
      for (const row of this.sorted(rows)) {
        if (this.found && !this.found.has(row) && !this.around.has(row)) continue;
        made.push(row);
        if (this.isOpen(row)) add(this.network.children[row]);
      }
    };
    add(this.network.roots);
    return made;
  }

  /** @param {number[]} rows @returns {number[]} */
  sorted(rows) {
    const sorting = this.sorting;
    if (!sorting) return rows;
    const sign = sorting.down ? -1 : 1;
    if (sorting.column === "layer") return [...rows].sort((one, other) => sign * this.network.label(one).localeCompare(this.network.label(other), undefined, { numeric: true }));
    const column = /** @type {Column} */ (this.network.column.get(sorting.column));
    /** @param {number} row */
    const text = (row) => String(this.network.cell(row, column));
    if (!column.numeric) return [...rows].sort((one, other) => sign * text(one).localeCompare(text(other), undefined, { numeric: true }));
    return [...rows].sort((one, other) => sign * (amount(this.network.cell(one, column)) - amount(this.network.cell(other, column))));
  }

  /** Everything anew, after rows, columns or order have changed. */
  draw() {
    this.rows = this.listed();
    this.head.replaceChildren(h("tr", {}, this.header("layer", "layer", "path of the layer", false), ...this.columns.map((each) => this.header(each.name, this.title(each), each.help, each.numeric))));
    const total = h("tr", {}, h("th", { scope: "row" }, "total"));
    for (const column of this.columns) {
      const cell = this.network.total(column);
      const text = column.form === "text" || column.form === "bound" ? "" : column.form === "share" ? "100.0" : this.network.print(cell, { ...column, zero: "0" }, this.exact);
      total.append(h("td", { class: column.numeric && "number", "data-column": column.name }, text));
    }
    this.foot.replaceChildren(total);
    this.table.setAttribute("aria-rowcount", String(this.rows.length));
    this.first = this.last = -1;
    this.drawRows();
  }

  /** @param {Column} column */
  title(column) {
    const exact = this.exact && (column.form === "count" || column.form === "cumulative");
    const unit = exact ? (column.bytes ? "bytes" : "") : column.unit;
    return unit ? `${column.title} [${unit}]` : column.title;
  }

  /** @param {string} name @param {string} title @param {string} help @param {boolean} numeric */
  header(name, title, help, numeric) {
    const sorting = this.sorting && this.sorting.column === name ? this.sorting : null;
    const mark = sorting ? (sorting.down ? " ▼" : " ▲") : "";
    const button = h("button", { type: "button", title: `${help}. Click to sort, again for the order of the network; with Shift the other way round.` }, title + mark);
    button.addEventListener("click", (event) => {
      const down = numeric !== event.shiftKey;
      this.sorting = sorting ? null : { column: name, down };
      this.draw();
      /** @type {HTMLElement | null} */ (this.head.querySelector(`[data-column="${name}"] button`))?.focus();
    });
    const sort = sorting ? (sorting.down ? "descending" : "ascending") : "none";
    return h("th", { scope: "col", class: numeric && "number", "aria-sort": sort, "data-column": name }, button);
  }

  /** The rows in sight, and room above and below for the others. */
  drawRows() {
    const rows = this.rows;
    let [first, last] = [0, rows.length];
    if (this.printing) last = Math.min(last, PRINTED);
    else if (rows.length > ALL_AT_ONCE) {
      const above = Math.floor(this.host.scrollTop / ROW_HEIGHT);
      first = Math.max(0, above - 30) & ~15; // in steps, so that a small scroll changes nothing
      last = Math.min(rows.length, first + Math.ceil(this.host.clientHeight / ROW_HEIGHT) + 90);
    }
    if (first === this.first && last === this.last) return;
    [this.first, this.last] = [first, last];
    const focused = this.body.contains(document.activeElement);
    const made = [];
    if (first) made.push(this.gap(first));
    for (let place = first; place < last; place++) made.push(this.row(rows[place], place));
    if (last < rows.length && !this.printing) made.push(this.gap(rows.length - last));
    if (!rows.length) made.push(h("tr", {}, h("td", { colspan: this.columns.length + 1, class: "nothing" }, "no layer matches")));
    this.body.replaceChildren(...made);
    if (focused) this.element(this.focus)?.focus({ preventScroll: true });
  }

  /** @param {number} rows */
  gap(rows) {
    const cell = h("td", { colspan: this.columns.length + 1 });
    cell.style.height = `${rows * ROW_HEIGHT}px`;
    return h("tr", { class: "gap", "aria-hidden": "true" }, cell);
  }

  /** @param {number} row @param {number} place */
  row(row, place) {
    const network = this.network;
    const leaf = network.isLeaf(row);
    const open = this.isOpen(row);
    const mark = network.data.marks[row];
    const focus = this.rows.includes(this.focus) ? this.focus : this.rows[0];
    const twist = leaf
      ? h("span", { class: "twist" })
      : h("button", { type: "button", class: "twist", tabindex: -1, "aria-label": `${open ? "Fold" : "Unfold"} ${network.paths[row]}` }, open ? "▾" : "▸");
    const name = h("span", { class: "name" }, ...this.marked(network.label(row)));
    const label = h("th", { scope: "row", class: `level-${Math.min(network.level[row], 9)}` }, twist, name);
    if (network.heads.has(row) && network.parent[row] < 0) label.append(h("span", { class: "tag" }, "training only"));
    if (mark) label.append(h("span", { class: `tag ${mark}` }, mark));
    const cells = this.columns.map((column) =>
      h("td", { class: column.numeric && "number", "data-column": column.name }, network.print(network.cell(row, column), column, this.exact)),
    );
    return h(
      "tr",
      {
        "data-row": row,
        "aria-level": network.level[row],
        "aria-rowindex": place + 1,
        "aria-expanded": leaf ? null : String(open),
        "aria-selected": String(row === this.view.selected),
        tabindex: row === focus ? 0 : -1,
        class: mark,
      },
      label,
      ...cells,
    );
  }

  /** A name with what was searched for marked in it. @param {string} name @returns {(Node | string)[]} */
  marked(name) {
    const at = this.query ? name.toLowerCase().indexOf(this.query) : -1;
    if (at < 0) return [name];
    const end = at + this.query.length;
    return [name.slice(0, at), h("mark", {}, name.slice(at, end)), name.slice(end)];
  }

  /** @param {number} row @returns {HTMLElement | null} */
  element(row) {
    return this.body.querySelector(`[data-row="${row}"]`);
  }

  /** @param {number} row */
  toggle(row) {
    if (this.network.isLeaf(row)) return;
    if (this.open.has(row)) this.open.delete(row);
    else this.open.add(row);
    this.draw();
  }

  /** @param {number} row */
  setFocus(row) {
    const before = this.element(this.focus);
    if (before) before.tabIndex = -1;
    this.focus = row;
    this.scrollTo(row);
    const element = this.element(row);
    if (element) {
      element.tabIndex = 0;
      element.focus({ preventScroll: true });
    }
  }

  /** Bring a row into sight inside the table, and nothing else on the page. @param {number} row */
  scrollTo(row) {
    const place = this.rows.indexOf(row);
    if (place < 0) return;
    const top = place * ROW_HEIGHT;
    const room = this.host.clientHeight - this.head.offsetHeight - this.foot.offsetHeight - ROW_HEIGHT;
    if (top < this.host.scrollTop || top > this.host.scrollTop + room) this.host.scrollTop = Math.max(0, top - room / 2);
    this.drawRows();
  }

  /** Unfold what a row lies in, bring it into sight and mark it. @param {number} row */
  reveal(row) {
    const hidden = this.found !== null && !this.found.has(row) && !this.around.has(row);
    if (hidden) this.search("");
    const closed = this.network.lineage(row).slice(0, -1).filter((each) => !this.isOpen(each));
    for (const each of closed) this.open.add(each);
    if (closed.length) this.draw();
    for (const each of this.body.querySelectorAll("[aria-selected=true]")) each.setAttribute("aria-selected", "false");
    this.scrollTo(row);
    this.element(row)?.setAttribute("aria-selected", "true");
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const row = rowOf(event);
    if (row < 0) return;
    if (event.target instanceof Element && event.target.closest("button")) this.toggle(row);
    else this.view.select(row, "table");
    this.setFocus(row);
  }

  /** @param {MouseEvent} event */
  doubleClicked(event) {
    const row = rowOf(event);
    if (row >= 0 && event.target instanceof Element && !event.target.closest("button")) this.toggle(row);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const row = rowOf(event);
    const rows = this.rows;
    if (row < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = rows.indexOf(row);
    const page = Math.max(1, Math.floor(this.host.clientHeight / ROW_HEIGHT) - 3);
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowDown: () => this.setFocus(rows[Math.min(place + 1, rows.length - 1)]),
      ArrowUp: () => this.setFocus(rows[Math.max(place - 1, 0)]),
      PageDown: () => this.setFocus(rows[Math.min(place + page, rows.length - 1)]),
      PageUp: () => this.setFocus(rows[Math.max(place - page, 0)]),
      Home: () => this.setFocus(rows[0]),
      End: () => this.setFocus(rows[rows.length - 1]),
      ArrowRight: () => (this.isOpen(row) || this.network.isLeaf(row) ? this.setFocus(rows[Math.min(place + 1, rows.length - 1)]) : this.toggled(row)),
      ArrowLeft: () => (this.open.has(row) ? this.toggled(row) : this.network.parent[row] >= 0 && this.setFocus(this.network.parent[row])),
      Enter: () => this.view.select(row, "table"),
      " ": () => this.view.select(row, "table"),
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
    this.element(this.focus)?.focus({ preventScroll: true });
  }

  /** Fold or unfold, the keyboard staying where it is. @param {number} row */
  toggled(row) {
    this.toggle(row);
    this.setFocus(row);
  }

  /** Show only what matches a text, and what it lies in. Returns the matches. @param {string} text @returns {number[]} */
  search(text) {
    this.query = text.trim().toLowerCase();
    this.around = new Set();
    this.found = null;
    if (this.query) {
      const operator = /** @type {Column} */ (this.network.column.get("operator"));
      this.found = new Set();
      for (let row = 0; row < this.network.size; row++) {
        const names = this.query.includes(".") ? this.network.paths[row] : this.network.label(row);
        if (!names.toLowerCase().includes(this.query) && !(this.network.isLeaf(row) && String(this.network.cell(row, operator)).includes(this.query))) continue;
        this.found.add(row);
        for (const each of this.network.lineage(row).slice(0, -1)) this.around.add(each);
      }
    }
    this.host.scrollTop = 0;
    this.draw();
    return [...(this.found ?? [])];
  }

  /** @param {boolean} printing */
  print(printing) {
    this.printing = printing;
    this.first = -1;
    this.drawRows();
  }
}

/** The row that an event happened on, or -1. @param {Event} event @returns {number} */
function rowOf(event) {
  const element = event.target instanceof Element ? event.target.closest("[data-row]") : null;
  return element ? Number(element.getAttribute("data-row")) : -1;
}
