// The network's graph: boxes that fold. Each open block is laid out by itself, so that folding one lays out only it
// and what it lies in: a chain by hand, anything else by dagre.

const BOX_HEIGHT = 38;
const HEADER = 26; // of an open block
const GAP = { beside: 16, below: 22, inside: 12, port: 8 }; // port: between what enters a block and its first box
const FOR_DAGRE = { nodes: 250, edges: 700 }; // beyond, boxes stand in one column
const MOST_BOXES = 1500;
/** @type {Map<string, DagreGraph>} */ const alike = new Map(); // what dagre laid out, by all that it was told
/** @type {Record<string, string>} */ const SIGNS = { added: "+", removed: "−", changed: "~" };
const SHADES = [0.005, 0.02, 0.05, 0.1, 0.2]; // shares of the total from which a box is darker, as `archprof draw` has them

/**
 * @typedef {{x: number, y: number}} Point
 * @typedef {{key: string, row: number, x: number, y: number, width: number, height: number, inside: Layout | null}} Box
 * @typedef {{width: number, height: number, boxes: Box[], lines: {from: string, to: string, points: Point[]}[]}} Layout
 */

class GraphView {
  /** @param {View} view @param {HTMLElement} host */
  constructor(view, host) {
    this.view = view;
    this.network = view.network;
    this.host = host;
    this.scale = 1;
    this.colour = "FLOPs";
    /** @type {Set<number>} */ this.open = new Set();
    /** @type {Map<number, Layout>} */ this.layouts = new Map(); // of open blocks; -1: the whole network
    /** @type {Map<number, Map<string, [string, string]>>} */ this.edges = new Map(); // inside each block, by its row
    this.inputs = view.network.data.inputs;
    this.outputs = view.network.data.outputs;
    this.connect();
    this.unfoldAtFirst();
    this.picture = /** @type {SVGSVGElement} */ (svg("svg", { role: "tree", "aria-label": `Graph of ${this.network.name}` }));
    host.replaceChildren(this.picture);
    host.addEventListener("click", (event) => this.clicked(event));
    host.addEventListener("dblclick", (event) => this.toggle(rowOf(event)));
    host.addEventListener("keydown", (event) => this.pressed(event));
    host.addEventListener("pointerover", (event) => view.tip.show(rowOf(event), event));
    host.addEventListener("pointerleave", () => view.tip.hide());
    host.addEventListener("focusin", (event) => view.tip.show(rowOf(event), event));
    host.addEventListener("focusout", () => view.tip.hide());
    host.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    dragToScroll(host);
  }

  /** The edges of every block: between what lies in it, and to "in" and "out", what is around it. */
  connect() {
    const { edges, outputs } = this.network.data;
    /** @param {number} block @param {string} from @param {string} to */
    const add = (block, from, to) => {
      let found = this.edges.get(block);
      if (!found) this.edges.set(block, (found = new Map()));
      found.set(`${from} ${to}`, [from, to]);
    };
    /** @param {number} from @param {number[]} target */
    const join = (from, target) => {
      const source = from < 0 ? [] : this.network.lineage(from);
      let common = 0;
      while (common < source.length && common < target.length && source[common] === target[common]) common += 1;
      const start = from < 0 ? `input${-1 - from}` : String(source[common]);
      add(common ? source[common - 1] : -1, start, target.length > common ? String(target[common]) : "");
      for (let level = common; level + 1 < source.length; level++) add(source[level], String(source[level + 1]), "out");
      for (let level = common; level + 1 < target.length; level++) add(target[level], "in", String(target[level + 1]));
    };
    for (let place = 0; place < edges.length; place += 2) join(edges[place], this.network.lineage(edges[place + 1]));
    outputs.forEach(([, row], place) => {
      const source = this.network.lineage(row);
      add(-1, String(source[0]), `output${place}`);
      for (let level = 0; level + 1 < source.length; level++) add(source[level], String(source[level + 1]), "out");
    });
  }

  /** A network of very few blocks is opened until there is something to see. */
  unfoldAtFirst() {
    let rows = this.network.roots;
    while (rows.length <= 3) {
      const blocks = rows.filter((row) => !this.network.isLeaf(row));
      if (!blocks.length) return;
      blocks.forEach((row) => this.open.add(row));
      rows = rows.flatMap((row) => (this.network.isLeaf(row) ? [row] : this.network.children[row]));
    }
  }

  // --- layout

  /** @param {number} block its row, or -1 @returns {Layout} */
  layout(block) {
    const known = this.layouts.get(block);
    if (known) return known;
    const rows = block < 0 ? this.network.roots : this.network.children[block];
    const edges = [...(this.edges.get(block) ?? new Map()).values()];
    /** @type {Box[]} */
    const boxes = rows.map((row) => this.box(row));
    const used = new Set(edges.flat());
    for (const [place, [name]] of this.inputs.entries()) {
      if (used.has(`input${place}`)) boxes.unshift(this.end(`input${place}`, name));
    }
    for (const [place, [name]] of this.outputs.entries()) if (used.has(`output${place}`)) boxes.push(this.end(`output${place}`, name));
    const ports = block < 0 ? [] : ["in", "out"].filter((each) => used.has(each));
    const made = chained(boxes, edges) ? stacked(boxes, edges) : boxes.length + ports.length > FOR_DAGRE.nodes || edges.length > FOR_DAGRE.edges ? stacked(boxes, edges) : layered(boxes, edges, ports);
    this.layouts.set(block, made);
    return made;
  }

  /** @param {number} row @returns {Box} */
  box(row) {
    const place = { key: String(row), row, x: 0, y: 0 };
    if (this.open.has(row)) {
      const inside = this.layout(row);
      const header = textWidth(this.network.label(row)) + 44;
      return { ...place, width: Math.max(inside.width, header) + 2 * GAP.inside, height: inside.height + HEADER + 2 * GAP.inside, inside };
    }
    const widest = Math.max(textWidth(this.title(row)), textWidth(this.shape(row)) * 0.88 + 56);
    return { ...place, width: Math.min(Math.max(widest + (this.network.isLeaf(row) ? 22 : 44), 96), 320), height: BOX_HEIGHT, inside: null };
  }

  /** An input or output of the network. @param {string} key @param {string} name @returns {Box} */
  end(key, name) {
    return { key, row: -1, x: 0, y: 0, width: textWidth(shortened(name)) + 24, height: 24, inside: null };
  }

  /** @param {number} row */
  title(row) {
    const operator = String(this.network.cell(row, /** @type {Column} */ (this.network.column.get("operator"))));
    const name = this.network.label(row);
    return shortened(operator && this.network.isLeaf(row) && !name.includes(operator) ? `${name}: ${operator}` : name);
  }

  /** @param {number} row */
  shape(row) {
    return String(this.network.cell(row, /** @type {Column} */ (this.network.column.get("size-out"))));
  }

  // --- drawing

  draw() {
    const layout = this.layout(-1);
    const margin = 10;
    const [width, height] = [layout.width + 2 * margin, layout.height + 2 * margin];
    this.extent = { width, height };
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const lines = svg("g", { class: "lines" });
    const boxes = svg("g");
    this.put(layout, margin, margin, 1, lines, boxes);
    const id = `arrow-${this.view.id}`;
    const arrow = svg("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 0L8 4L0 8z", class: "arrow" }));
    this.picture.replaceChildren(svg("defs", {}, arrow), boxes, lines);
    this.zoom(this.scale);
    this.mark(this.view.selected);
  }

  /** @param {Layout} layout @param {number} left @param {number} top @param {number} level @param {SVGElement} lines @param {SVGElement} boxes */
  put(layout, left, top, level, lines, boxes) {
    for (const box of layout.boxes) {
      boxes.append(this.drawn(box, left + box.x, top + box.y, level));
      if (!box.inside) continue;
      const inset = (box.width - box.inside.width) / 2;
      this.put(box.inside, left + box.x + inset, top + box.y + HEADER + GAP.inside, level + 1, lines, boxes);
    }
    for (const { from, to, points } of layout.lines) {
      // what enters or leaves a block does so through its frame
      const ends = [...points];
      if (from === "in") ends[0] = { x: ends[0].x, y: -GAP.inside };
      if (to === "out") ends[ends.length - 1] = { x: ends[ends.length - 1].x, y: layout.height + GAP.inside };
      lines.append(svg("path", { d: curve(ends, left, top), "marker-end": to === "out" ? null : `url(#arrow-${this.view.id})` }));
    }
  }

  /** @param {Box} box @param {number} x @param {number} y @param {number} level */
  drawn(box, x, y, level) {
    const { width, height, row } = box;
    const frame = { width, height, rx: 5 };
    if (row < 0) {
      const input = box.key.startsWith("input");
      const place = Number(box.key.replace(/\D+/, ""));
      const name = input ? this.inputs[place][0] : this.outputs[place][0];
      const shape = input ? this.inputs[place][1] : this.shape(this.outputs[place][1]);
      return svg("g", { class: "end", transform: `translate(${x} ${y})` }, svg("title", {}, `${input ? "input" : "output"} ${name}: ${shape}`), svg("rect", { ...frame, rx: 12 }), svg("text", { x: width / 2, y: 16, "text-anchor": "middle" }, shortened(name)));
    }
    const network = this.network;
    const leaf = network.isLeaf(row);
    const mark = network.data.marks[row];
    const column = /** @type {Column} */ (network.column.get(this.colour));
    const classes = ["box", box.inside ? "open" : this.shade(row), mark ?? "", network.heads.has(row) ? "training" : ""];
    const group = svg("g", {
      class: classes.filter(Boolean).join(" "),
      transform: `translate(${x} ${y})`,
      "data-row": row,
      role: "treeitem",
      "aria-level": level,
      "aria-expanded": leaf ? null : String(box.inside !== null),
      "aria-label": `${network.paths[row]}, ${this.shape(row)}, ${column.title} ${network.short(network.cell(row, column), column)}${mark ? `, ${mark}` : ""}`,
      tabindex: -1,
    });
    if (network.copies(row) > 1 && !box.inside) for (const step of [6, 3]) group.append(svg("rect", { ...frame, x: step, y: step, class: "behind" }));
    group.append(svg("rect", frame));
    if (box.inside) group.append(svg("path", { d: `M1 ${HEADER}H${width - 1}`, class: "header" }));
    const name = this.title(row);
    const sign = mark ? `${SIGNS[mark]} ` : "";
    group.append(svg("text", { x: 10, y: 16, class: "title" }, sign + (box.inside ? shortened(network.label(row)) : name)));
    if (!box.inside) {
      group.append(svg("text", { x: 10, y: 30, class: "small" }, this.shape(row)));
      const text = this.amount(row, column);
      if (text) group.append(svg("text", { x: width - 10, y: 30, class: "small", "text-anchor": "end" }, text));
    }
    if (!leaf) {
      const button = svg("g", { class: "fold", transform: `translate(${width - 22} 4)` }, svg("title", {}, box.inside ? "fold" : "unfold"), svg("rect", { width: 16, height: 16, rx: 3 }));
      button.append(svg("path", { d: box.inside ? "M4 8H12" : "M4 8H12M8 4V12" }));
      group.append(button);
    }
    return group;
  }

  /** What is written of the count that colours the boxes. @param {number} row @param {Column} column */
  amount(row, column) {
    const cell = this.network.cell(row, column);
    if (column.form === "bound") return String(cell);
    return amount(cell) ? this.network.short(cell, column) : "";
  }

  /** The class that colours a box. @param {number} row */
  shade(row) {
    const column = /** @type {Column} */ (this.network.column.get(this.colour));
    if (column.form === "bound") return `bound-${String(this.network.cell(row, column)) || "none"}`;
    const share = this.network.share(row, column);
    return `shade-${SHADES.filter((least) => share >= least).length}`;
  }

  /** @param {number} scale */
  zoom(scale) {
    this.scale = Math.min(Math.max(scale, 0.1), 3);
    const { width, height } = this.extent ?? { width: 1, height: 1 };
    this.picture.setAttribute("width", String(Math.round(width * this.scale)));
    this.picture.setAttribute("height", String(Math.round(height * this.scale)));
  }

  /** As large as fits the width, but not larger than life. */
  fit() {
    const width = this.extent?.width ?? 1;
    this.zoom(Math.min(1, Math.max((this.host.clientWidth - 20) / width, 0.35)));
    this.host.scrollLeft = (this.picture.clientWidth - this.host.clientWidth) / 2;
  }

  // --- folding

  /** @param {number} row */
  toggle(row) {
    if (row < 0 || this.network.isLeaf(row)) return;
    const before = this.corner(row);
    if (this.open.has(row)) this.open.delete(row);
    else this.open.add(row);
    this.forget(row);
    this.draw();
    this.keepInPlace(row, before);
  }

  /** Lay out anew what a row is part of. @param {number} row */
  forget(row) {
    for (const each of this.network.lineage(row)) this.layouts.delete(each);
    this.layouts.delete(-1);
  }

  /** Where a box begins on the screen. @param {number} row */
  corner(row) {
    const box = this.element(row)?.getBoundingClientRect();
    return box ? { x: box.left + box.width / 2, y: box.top } : null;
  }

  /** Scroll so that a box stays where it was. @param {number} row @param {Point | null} before */
  keepInPlace(row, before) {
    const after = this.corner(row);
    if (!before || !after) return;
    this.host.scrollLeft += after.x - before.x;
    this.host.scrollTop += after.y - before.y;
  }

  /** Open one more level everywhere, or as much of it as can be shown. */
  unfold() {
    const blocks = [...this.picture.querySelectorAll("[aria-expanded=false]")].map((element) => Number(element.getAttribute("data-row")));
    let boxes = this.picture.querySelectorAll("[data-row]").length;
    for (const row of blocks) {
      boxes += this.network.children[row].length;
      if (boxes > MOST_BOXES) break;
      this.open.add(row);
      this.forget(row);
    }
    this.draw();
    return boxes <= MOST_BOXES;
  }

  foldAll() {
    this.open.clear();
    this.layouts.clear();
    this.draw();
  }

  /** Open what a row lies in and bring it into sight. @param {number} row */
  reveal(row) {
    const closed = this.network.lineage(row).slice(0, -1).filter((each) => !this.open.has(each));
    for (const each of closed) {
      this.open.add(each);
      this.forget(each);
    }
    if (closed.length) this.draw();
    this.mark(row);
    this.scrollTo(row);
  }

  /** @param {number} row */
  mark(row) {
    for (const each of this.picture.querySelectorAll("[aria-selected]")) each.removeAttribute("aria-selected");
    this.element(row)?.setAttribute("aria-selected", "true");
    for (const each of this.picture.querySelectorAll("[tabindex='0']")) each.setAttribute("tabindex", "-1");
    (this.element(row) ?? this.picture.querySelector("[data-row]"))?.setAttribute("tabindex", "0");
  }

  /** @param {number} row */
  scrollTo(row) {
    const box = this.element(row)?.getBoundingClientRect();
    if (!box) return;
    const around = this.host.getBoundingClientRect();
    if (box.top < around.top || box.bottom > around.bottom) this.host.scrollTop += box.top - around.top - Math.max(20, (around.height - box.height) / 2);
    if (box.left < around.left || box.right > around.right) this.host.scrollLeft += box.left - around.left - Math.max(20, (around.width - box.width) / 2);
  }

  /** @param {number} row @returns {SVGGElement | null} */
  element(row) {
    return this.picture.querySelector(`[data-row="${row}"]`);
  }

  // --- what the user does

  /** @param {MouseEvent} event */
  clicked(event) {
    const row = rowOf(event);
    if (row < 0) return;
    if (event.target instanceof Element && event.target.closest(".fold")) this.toggle(row);
    else this.view.select(row, "graph");
    this.setFocus(row);
  }

  /** @param {number} row */
  setFocus(row) {
    for (const each of this.picture.querySelectorAll("[tabindex='0']")) each.setAttribute("tabindex", "-1");
    const element = this.element(row);
    element?.setAttribute("tabindex", "0");
    element?.focus({ preventScroll: true });
    this.scrollTo(row);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const row = rowOf(event);
    if (row < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...this.picture.querySelectorAll("[data-row]")].map((element) => Number(element.getAttribute("data-row")));
    const place = rows.indexOf(row);
    const parent = this.network.parent[row];
    const leaf = this.network.isLeaf(row);
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowDown: () => this.setFocus(rows[Math.min(place + 1, rows.length - 1)]),
      ArrowUp: () => this.setFocus(rows[Math.max(place - 1, 0)]),
      Home: () => this.setFocus(rows[0]),
      End: () => this.setFocus(rows[rows.length - 1]),
      ArrowRight: () => (leaf || this.open.has(row) ? this.setFocus(rows[Math.min(place + 1, rows.length - 1)]) : this.toggled(row)),
      ArrowLeft: () => (this.open.has(row) ? this.toggled(row) : parent >= 0 && this.setFocus(parent)),
      Enter: () => this.view.select(row, "graph"),
      " ": () => this.toggled(row),
      "+": () => this.zoom(this.scale * 1.25),
      "-": () => this.zoom(this.scale / 1.25),
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  }

  /** @param {number} row */
  toggled(row) {
    this.toggle(row);
    this.setFocus(row);
  }

  /** @param {WheelEvent} event */
  wheeled(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const around = this.host.getBoundingClientRect();
    const [x, y] = [event.clientX - around.left, event.clientY - around.top];
    const before = this.scale;
    const at = { x: (this.host.scrollLeft + x) / before, y: (this.host.scrollTop + y) / before };
    this.zoom(before * Math.exp(-event.deltaY / 300));
    this.host.scrollLeft = at.x * this.scale - x;
    this.host.scrollTop = at.y * this.scale - y;
  }
}

// --- layouts

/** Whether each box feeds the next one, and nothing else. @param {Box[]} boxes @param {[string, string][]} edges */
function chained(boxes, edges) {
  const place = new Map(boxes.map((box, index) => [box.key, index]));
  place.set("in", -1);
  place.set("out", boxes.length);
  return edges.every(([from, to]) => (place.get(to) ?? NaN) - (place.get(from) ?? NaN) === 1);
}

/** Boxes in one column, in order; an edge that skips some passes them on the right. @param {Box[]} boxes @param {[string, string][]} edges @returns {Layout} */
function stacked(boxes, edges) {
  const inner = Math.max(...boxes.map((box) => box.width), 20);
  const place = new Map(boxes.map((box, index) => [box.key, index]));
  let y = edges.some(([from]) => from === "in") ? GAP.port : 0;
  for (const box of boxes) {
    box.x = (inner - box.width) / 2;
    box.y = y;
    y += box.height + GAP.below;
  }
  const height = y - GAP.below;
  const out = edges.some(([, to]) => to === "out");
  const middle = inner / 2;
  let width = inner;
  const lines = edges.map(([from, to]) => {
    const [one, other] = [place.get(from), place.get(to)];
    const start = one === undefined ? { x: middle, y: 0 } : { x: middle, y: boxes[one].y + boxes[one].height };
    const end = other === undefined ? { x: middle, y: height + GAP.port } : { x: middle, y: boxes[other].y };
    const skipped = (other ?? boxes.length) - (one ?? -1);
    if (skipped === 1) return { from, to, points: [start, end] };
    const side = inner + Math.min(10 + 4 * skipped, 120);
    width = Math.max(width, side + 4);
    return { from, to, points: [start, { x: side, y: start.y + 14 }, { x: side, y: end.y - 14 }, end] };
  });
  return { width, height: height + (out ? GAP.port : 0), boxes, lines };
}

/**
 * By dagre; once for blocks that are alike, as the copies of a repeat are.
 * @param {Box[]} boxes @param {[string, string][]} edges @param {string[]} ports @returns {Layout}
 */
function layered(boxes, edges, ports) {
  const names = new Map(boxes.map((box, place) => [box.key, `box${place}`]));
  /** @param {string} key */
  const named = (key) => names.get(key) ?? key;
  const like = JSON.stringify([boxes.map((box) => [box.width, box.height]), edges.map((edge) => edge.map(named)), ports]);
  let graph = alike.get(like);
  if (!graph) {
    graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "TB", nodesep: GAP.beside, ranksep: GAP.below, edgesep: 8 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const box of boxes) graph.setNode(named(box.key), { width: box.width, height: box.height });
    for (const port of ports) graph.setNode(port, { width: 2, height: 1 });
    for (const [from, to] of edges) graph.setEdge(named(from), named(to));
    dagre.layout(graph);
    alike.set(like, graph);
  }
  for (const box of boxes) {
    const node = graph.node(named(box.key));
    box.x = node.x - box.width / 2;
    box.y = node.y - box.height / 2;
  }
  const { width, height } = graph.graph();
  const lines = [];
  for (const [from, to] of edges) lines.push({ from, to, points: graph.edge(named(from), named(to)).points });
  return { width, height, boxes, lines };
}

/** A line that is smooth at its inner points. @param {Point[]} points @param {number} left @param {number} top */
function curve(points, left, top) {
  /** @param {Point} point */
  const at = (point) => `${(left + point.x).toFixed(1)} ${(top + point.y).toFixed(1)}`;
  /** @param {Point} one @param {Point} other */
  const between = (one, other) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
  let text = `M${at(points[0])}`;
  for (let place = 1; place < points.length - 1; place++) {
    const end = place === points.length - 2 ? points[place + 1] : between(points[place], points[place + 1]);
    text += `Q${at(points[place])} ${at(end)}`;
  }
  return points.length === 2 ? `${text}L${at(points[1])}` : text;
}

/** A name of the user's that does not fit a box, its middle left out. @param {string} name */
function shortened(name) {
  return name.length > 40 ? `${name.slice(0, 22)}…${name.slice(-16)}` : name;
}

/** Roughly, in pixels. @param {string} text */
function textWidth(text) {
  return text.length * 7.5;
}

/** Let a mouse drag what is larger than its frame. @param {HTMLElement} host */
function dragToScroll(host) {
  host.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType !== "mouse" || rowOf(event) >= 0) return;
    const [x, y, left, top] = [event.clientX, event.clientY, host.scrollLeft, host.scrollTop];
    /** @param {PointerEvent} moved */
    const move = (moved) => {
      host.scrollLeft = left - (moved.clientX - x);
      host.scrollTop = top - (moved.clientY - y);
    };
    const end = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
  });
}
