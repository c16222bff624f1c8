// The page: a view for each network, which keeps its table, graph and icicles at one selection.

/** What is told of a row that the mouse or the keyboard is on. */
class Tip {
  /** @param {Network} network */
  constructor(network) {
    this.network = network;
    this.box = h("div", { class: "tip", role: "tooltip", hidden: true });
    document.body.append(this.box);
    addEventListener("keydown", (event) => event.key === "Escape" && this.hide());
    addEventListener("scroll", () => this.hide(), { capture: true, passive: true });
  }

  /** @param {number} row @param {Event} event */
  show(row, event) {
    if (row < 0) return this.hide();
    const network = this.network;
    /** @param {string} name */
    const text = (name) => {
      const column = network.column.get(name);
      return column ? network.short(network.cell(row, column), column) : "";
    };
    const sizes = [text("size-in"), text("size-out")].filter(Boolean).join(" → ");
    const counts = ["param", "FLOPs", "activations", "memory", "forward", "backward"].filter((name) => network.column.has(name)).map((name) => `${name} ${text(name)}`);
    const lines = [[text("operator"), text("kernel")].filter(Boolean).join("  "), sizes, ...counts].filter(Boolean);
    this.box.replaceChildren(h("b", {}, network.copies(row) > 1 ? `${network.paths[row]} x ${network.copies(row)}` : network.paths[row]), ...lines.map((line) => h("div", {}, line)));
    this.box.hidden = false;
    const at = event instanceof PointerEvent ? { x: event.clientX, y: event.clientY } : middle(event.target);
    const { width, height } = this.box.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.x + 14, innerWidth - width - 8));
    const top = at.y + 18 + height > innerHeight ? Math.max(8, at.y - height - 14) : at.y + 18;
    this.box.style.transform = `translate(${left}px, ${top}px)`;
  }

  hide() {
    this.box.hidden = true;
  }
}

/** @param {EventTarget | null} target */
function middle(target) {
  const box = target instanceof Element ? target.getBoundingClientRect() : new DOMRect();
  return { x: box.left + Math.min(box.width, 200) / 2, y: box.top + Math.min(box.height, 60) / 2 };
}

class View {
  /** @param {NetworkData} data @param {HTMLElement} section @param {number} id */
  constructor(data, section, id) {
    this.id = id;
    this.network = new Network(data);
    this.section = section;
    this.selected = -1;
    /** @type {IcicleView[]} */ this.icicles = [];
    this.tip = new Tip(this.network);
    /** @type {((row: number) => void)[]} */ this.listeners = [];
    const host = /** @type {HTMLElement} */ (section.querySelector(".table"));
    host.classList.add("scrolls");
    host.setAttribute("tabindex", "-1");
    const graph = h("div", { class: "canvas", tabindex: -1 });
    this.table = new TableView(this, host);
    this.graph = new GraphView(this, graph);
    this.details = h("div", { class: "details", "aria-live": "polite" });
    const panes = /** @type {HTMLElement} */ (section.querySelector(".panes"));
    if (!section.closest(".pair")) panes.classList.add("both");
    panes.prepend(h("figure", { class: "pane graph", "aria-label": "graph" }, this.graphTools(), graph, this.legend()));
    host.before(this.tableTools());
    const icicles = h("div", { class: "icicles" });
    for (const name of ["param", "FLOPs"]) {
      if (!amount(this.network.total(/** @type {Column} */ (this.network.column.get(name))))) continue;
      const figure = h("figure", { class: "icicle" });
      icicles.append(figure);
      this.icicles.push(new IcicleView(this, figure, name));
    }
    panes.after(this.details, icicles);
    this.graph.draw();
    this.graph.fit();
    this.describe();
  }

  /** Mark a row everywhere. @param {number} row @param {string} origin where it was chosen, which need not scroll to it */
  select(row, origin) {
    this.selected = row;
    this.table.reveal(row);
    this.graph.reveal(row);
    for (const each of this.icicles) each.mark(row);
    this.describe();
    if (origin !== "diff") for (const listener of this.listeners) listener(row);
  }

  /** All that is known of the selected row. */
  describe() {
    const network = this.network;
    if (this.selected < 0) {
      this.details.replaceChildren(h("p", { class: "hint" }, "Select a layer, in the table or in the graph, to see all of its figures."));
      return;
    }
    const list = h("dl");
    const row = this.selected;
    /** @param {string} title @param {string} text */
    const add = (title, text) => text && list.append(h("div", {}, h("dt", {}, title), h("dd", {}, text)));
    for (const column of network.columns) {
      if (column.form === "cumulative") continue;
      const cell = network.cell(row, column);
      const name = column.form === "share" ? `share of ${column.title}` : column.title;
      const unit = column.form === "share" ? " %" : column.form === "time" ? " ms" : column.bytes ? " bytes" : "";
      const text = network.print(cell, { ...column, zero: column.form === "count" ? "0" : column.zero }, true);
      add(name, text && text + (text === NOT_COUNTED ? "" : unit));
      if (column.name === "operator") add("fields", network.settings(row));
    }
    const copies = network.copies(row);
    this.details.replaceChildren(h("h3", {}, network.paths[row] + (copies > 1 ? ` x ${copies}` : "")), list);
  }

  // --- tools

  tableTools() {
    const search = /** @type {HTMLInputElement} */ (h("input", { type: "search", placeholder: "layer or operator", "aria-label": "Search layers", autocomplete: "off", spellcheck: "false" }));
    const said = h("output", { class: "said" });
    /** @type {number[]} */ let found = [];
    let next = 0;
    search.addEventListener("input", () => {
      found = this.table.search(search.value);
      next = 0;
      said.textContent = search.value.trim() ? `${found.length} ${found.length === 1 ? "match" : "matches"}` : "";
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && found.length) {
        event.preventDefault();
        this.select(found[next++ % found.length], "search");
      }
    });
    const depths = Math.max(...this.network.paths.map((path) => path.split(".").length));
    const fold = h("select", { "aria-label": "Rows" });
    for (let depth = 1; depth < depths; depth++) fold.append(h("option", { value: depth, selected: depth === this.network.data.fold }, `depth ${depth}`));
    fold.append(h("option", { value: "all", selected: this.network.data.fold === null || depths <= this.network.data.fold }, "every node"));
    fold.addEventListener("change", () => {
      const value = /** @type {HTMLSelectElement} */ (fold).value;
      this.table.unfoldTo(value === "all" ? null : Number(value));
      this.table.draw();
    });
    const exact = checkbox("exact", (on) => {
      this.table.exact = on;
      this.table.draw();
    });
    const columns = h("details", { class: "menu" }, h("summary", {}, "columns"));
    const list = h("div", { class: "choices" });
    for (const column of this.network.columns) {
      const name = column.form === "share" ? `share of ${column.title}` : column.title;
      list.append(
        checkbox(name, (on) => {
          column.shown = on;
          this.table.draw();
        }, column.shown, column.help),
      );
    }
    columns.append(list);
    closeOutside(columns);
    return h("div", { class: "tools" }, search, said, h("label", {}, "rows ", fold), exact, columns);
  }

  graphTools() {
    const colour = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "Colour by" }));
    for (const name of ["param", "FLOPs", "activations", "memory", "forward", "backward", "bound"]) {
      const column = this.network.column.get(name);
      if (column) colour.append(h("option", { value: name, selected: name === this.graph.colour }, name === "param" ? "params" : name === "bound" ? "roofline class" : column.form === "time" ? `${name} time` : column.title));
    }
    colour.addEventListener("change", () => {
      this.graph.colour = colour.value;
      this.graph.draw();
      this.section.querySelector(".legend")?.replaceWith(this.legend());
    });
    const tools = h("div", { class: "tools" }, h("label", {}, "colour ", colour));
    if (this.network.times.length > 1) tools.append(this.timesChoice());
    const said = h("output", { class: "said" });
    /** @param {string} text @param {string} title @param {() => void} act */
    const button = (text, title, act) => {
      const made = h("button", { type: "button", title, "aria-label": title }, text);
      made.addEventListener("click", act);
      tools.append(made);
    };
    button("fold all", "Fold all blocks", () => this.graph.foldAll());
    button("unfold", "Unfold one more level", () => {
      said.textContent = this.graph.unfold() ? "" : `not all: at most ${MOST_BOXES} boxes`;
    });
    button("−", "Smaller", () => this.graph.zoom(this.graph.scale / 1.25));
    button("+", "Larger", () => this.graph.zoom(this.graph.scale * 1.25));
    button("fit", "Fit the width", () => this.graph.fit());
    tools.append(said);
    return tools;
  }

  timesChoice() {
    const choice = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "Times" }));
    this.network.times.forEach((each, place) => choice.append(h("option", { value: place }, each.label)));
    choice.addEventListener("change", () => {
      this.network.timing = Number(choice.value);
      this.table.draw();
      this.graph.draw();
      this.describe();
    });
    return h("label", {}, "times ", choice);
  }

  legend() {
    const column = /** @type {Column} */ (this.network.column.get(this.graph.colour));
    const made = h("figcaption", { class: "legend" });
    /** @param {string} name @param {string} text */
    const add = (name, text) => made.append(h("span", { class: "key" }, svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, svg("rect", { class: name, width: 14, height: 14, rx: 3 })), text));
    if (column.form === "bound") {
      for (const name of new Set(this.network.times.flatMap((each) => each.bound))) if (name) add(`bound-${name}`, name);
      return made;
    }
    made.append(`share of ${this.graph.colour === "param" ? "params" : column.title}: `);
    [0, ...SHADES].forEach((least, place) => add(`shade-${place}`, place ? `${100 * least} %+` : "less"));
    return made;
  }
}

/** @param {string} text @param {(on: boolean) => void} act @param {boolean} [on] @param {string} [title] */
function checkbox(text, act, on = false, title = "") {
  const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", checked: on }));
  box.addEventListener("change", () => act(box.checked));
  return h("label", { title: title || null }, box, ` ${text}`);
}

/** Close a menu by a click elsewhere or by Escape. @param {HTMLElement} menu */
function closeOutside(menu) {
  addEventListener("click", (event) => event.target instanceof Node && !menu.contains(event.target) && menu.removeAttribute("open"));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.removeAttribute("open");
    menu.querySelector("summary")?.focus();
  });
}

/** Light, dark, or as the system has it. */
function themeButton() {
  const button = h("button", { type: "button", class: "theme" }, "dark");
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const say = () => (button.textContent = dark() ? "light" : "dark");
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    say();
  });
  say();
  document.querySelector("header")?.append(button);
}

/** @param {View[]} views */
function differences(views) {
  const section = document.querySelector(".diff");
  if (!section) return;
  const bodies = /** @type {NodeListOf<HTMLElement>} */ (section.querySelectorAll("table[data-depth]"));
  const depth = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "Rows" }));
  let only = false;
  const show = () => {
    for (const table of bodies) {
      table.hidden = table.dataset.depth !== depth.value;
      table.classList.toggle("changes-only", only);
    }
  };
  for (const table of bodies) depth.append(h("option", { value: table.dataset.depth, selected: !table.hidden }, table.dataset.depth === "all" ? "every node" : `depth ${table.dataset.depth}`));
  depth.addEventListener("change", show);
  const tools = h("div", { class: "tools" }, h("label", {}, "rows ", depth));
  tools.append(
    checkbox("changes only", (on) => {
      only = on;
      show();
    }),
  );
  section.querySelector(".table")?.before(tools);
  section.querySelector(".table")?.classList.add("scrolls");
  /** @param {Event} event */
  const choose = (event) => {
    const row = event.target instanceof Element ? event.target.closest("tr[data-before], tr[data-after]") : null;
    if (!row) return;
    for (const each of section.querySelectorAll("[aria-selected]")) each.removeAttribute("aria-selected");
    row.setAttribute("aria-selected", "true");
    ["data-before", "data-after"].forEach((name, place) => {
      const path = row.getAttribute(name);
      const found = path === null ? -1 : views[place].network.find(path);
      if (found >= 0) views[place].select(found, "diff");
    });
  };
  section.addEventListener("click", choose);
  section.addEventListener("keydown", (event) => event instanceof KeyboardEvent && event.key === "Enter" && choose(event));
  views.forEach((view, place) => {
    view.listeners.push((row) => {
      for (const each of section.querySelectorAll("[aria-selected]")) each.removeAttribute("aria-selected");
      const path = view.network.paths[row];
      const other = views[1 - place];
      const there = other.network.find(path);
      if (there >= 0 && other.network.paths[there] === path) other.select(there, "diff");
      const name = place ? "data-after" : "data-before";
      for (const line of section.querySelectorAll(`table:not([hidden]) tr[${name}]`)) {
        const here = /** @type {string} */ (line.getAttribute(name));
        if (here === path || path.startsWith(`${here}.`)) {
          line.setAttribute("aria-selected", "true");
          const frame = /** @type {HTMLElement} */ (line.closest(".table"));
          frame.scrollTop = /** @type {HTMLElement} */ (line).offsetTop - frame.clientHeight / 2;
          return;
        }
      }
    });
  });
}

/** A point of a chart that stands for a layer selects it. @param {View[]} views */
function chartLinks(views) {
  /** @param {Event} event */
  const choose = (event) => {
    const point = event.target instanceof Element ? event.target.closest("[data-network][data-path]") : null;
    const view = point && views[Number(point.getAttribute("data-network"))];
    const row = view ? view.network.find(/** @type {string} */ (point.getAttribute("data-path"))) : -1;
    if (view && row >= 0) view.select(row, "chart");
  };
  for (const chart of document.querySelectorAll(".chart")) {
    chart.addEventListener("click", choose);
    chart.addEventListener("keydown", (event) => event instanceof KeyboardEvent && event.key === "Enter" && choose(event));
  }
}

const page = JSON.parse(/** @type {HTMLElement} */ (document.getElementById("data")).textContent ?? "");
const views = /** @type {View[]} */ (
  [...document.querySelectorAll("section.network")].map((section, place) => new View(page.networks[place], /** @type {HTMLElement} */ (section), place))
);
differences(views);
chartLinks(views);
themeButton();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
