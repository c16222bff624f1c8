// Icicles: how a count spreads over the paths, a level of them below another, each as wide as its share.

const BAND = 22; // pixels of one level
const LEVELS = 6;
const NARROWEST = 1.5; // pixels below which a part is left out

class IcicleView {
  /** @param {View} view @param {HTMLElement} host @param {string} name of the column */
  constructor(view, host, name) {
    this.view = view;
    this.network = view.network;
    this.column = /** @type {Column} */ (this.network.column.get(name));
    this.picture = svg("svg", { role: "tree", "aria-label": `${name} of ${this.network.name} by path` });
    host.append(h("figcaption", {}, `${this.column.title} by path: ${this.network.short(this.network.total(this.column), this.column)}`), this.picture);
    this.host = host;
    this.width = 0;
    this.picture.addEventListener("click", (event) => this.chosen(rowOf(event)));
    this.picture.addEventListener("keydown", (event) => this.pressed(event));
    this.picture.addEventListener("pointerover", (event) => view.tip.show(rowOf(event), event));
    this.picture.addEventListener("pointerleave", () => view.tip.hide());
    this.picture.addEventListener("focusin", (event) => view.tip.show(rowOf(event), event));
    this.picture.addEventListener("focusout", () => view.tip.hide());
    new ResizeObserver(() => this.draw()).observe(host);
  }

  draw() {
    const width = this.host.clientWidth;
    if (!width || width === this.width) return;
    this.width = width;
    /** @type {SVGElement[]} */ const made = [];
    let deepest = 0;
    /** @param {number[]} rows @param {number} left @param {number} level */
    const add = (rows, left, level) => {
      for (const [place, row] of rows.entries()) {
        const across = this.network.share(row, this.column) * width;
        if (across >= NARROWEST) {
          made.push(this.part(row, left, across, level, place));
          deepest = Math.max(deepest, level);
          if (level + 1 < LEVELS) add(this.network.children[row], left, level + 1);
        }
        left += across;
      }
    };
    add(this.network.roots, 0, 0);
    const height = (deepest + 1) * BAND;
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.picture.setAttribute("height", String(height));
    this.picture.replaceChildren(...made);
    this.mark(this.view.selected);
  }

  /** @param {number} row @param {number} left @param {number} across @param {number} level @param {number} place */
  part(row, left, across, level, place) {
    const label = this.network.label(row);
    const room = Math.floor((across - 8) / 6.4);
    const text = room >= label.length ? label : room >= 4 ? `${label.slice(0, room - 1)}…` : "";
    const share = `${(100 * this.network.share(row, this.column)).toFixed(1)} %`;
    return svg(
      "g",
      { "data-row": row, role: "treeitem", "aria-level": level + 1, "aria-label": `${this.network.paths[row]}, ${share} of ${this.column.title}`, tabindex: -1, class: place % 2 ? "odd" : "even", transform: `translate(${left.toFixed(2)} ${level * BAND})` },
      svg("rect", { width: Math.max(across - 0.75, 0.75).toFixed(2), height: BAND - 1 }),
      svg("text", { x: 4, y: 15 }, text),
    );
  }

  /** @param {number} row */
  chosen(row) {
    if (row < 0) return;
    this.view.select(row, "icicle");
    /** @type {SVGElement | null} */ (this.element(row))?.focus({ preventScroll: true });
  }

  /** @param {number} row @returns {SVGElement | null} */
  element(row) {
    return this.picture.querySelector(`[data-row="${row}"]`);
  }

  /** @param {number} row */
  mark(row) {
    for (const each of this.picture.querySelectorAll("[aria-selected]")) each.removeAttribute("aria-selected");
    for (const each of this.picture.querySelectorAll("[tabindex='0']")) each.setAttribute("tabindex", "-1");
    // what is too narrow is marked by what it lies in
    const shown = row < 0 ? undefined : this.network.lineage(row).reverse().find((each) => this.element(each));
    if (shown !== undefined) this.element(shown)?.setAttribute("aria-selected", "true");
    (shown === undefined ? this.picture.querySelector("[data-row]") : this.element(shown))?.setAttribute("tabindex", "0");
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const row = rowOf(event);
    if (row < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const parent = this.network.parent[row];
    const siblings = (parent < 0 ? this.network.roots : this.network.children[parent]).filter((each) => this.element(each));
    const place = siblings.indexOf(row);
    /** @type {Record<string, number | undefined>} */
    const keys = {
      ArrowRight: siblings[place + 1],
      ArrowLeft: siblings[place - 1],
      ArrowUp: parent,
      ArrowDown: this.network.children[row].find((each) => this.element(each)),
    };
    if (event.key === "Enter" || event.key === " ") this.view.select(row, "icicle");
    else if (!(event.key in keys)) return;
    event.preventDefault();
    const next = keys[event.key];
    if (next === undefined || next < 0) return;
    this.element(row)?.setAttribute("tabindex", "-1");
    this.element(next)?.setAttribute("tabindex", "0");
    this.element(next)?.focus({ preventScroll: true });
  }
}
