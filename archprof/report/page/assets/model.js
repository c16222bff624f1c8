// The page's data, and how its numbers are printed. The files of this folder are one script: see render.py.

/**
 * @typedef {number | string | null | [number | string]} Cell  a count, a text, not counted, or at least so much
 * @typedef {{name: string, title: string, help: string, numeric: boolean, shown: boolean, form: string, of: number,
 *   unit?: string, size?: number, decimals?: number, bytes?: boolean, zero?: string}} Column
 * @typedef {{label: string, forward: (number | null)[], backward: (number | null)[], bound: string[]}} Times
 * @typedef {{name: string, columns: Column[], total: Cell[], kinds: Cell[][], parent: number[], kind: number[],
 *   labels: string[], label: number[], fields: string[], field: number[], copies: Record<string, number>,
 *   heads: number[], fold: number | null, inputs: [string, string][], outputs: [string, number][], edges: number[],
 *   times: Times[], marks: Record<string, string>}} NetworkData
 */

const NOT_COUNTED = "not counted";
const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes and children; texts become text, never markup.
 * @param {string} name
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes] of true: without a value
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
function h(name, attributes = {}, ...children) {
  return /** @type {HTMLElement} */ (filled(document.createElement(name), attributes, children));
}

/**
 * The same in SVG.
 * @param {string} name
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
function svg(name, attributes = {}, ...children) {
  return /** @type {SVGElement} */ (filled(document.createElementNS(SVG, name), attributes, children));
}

/**
 * @param {Element} element
 * @param {Record<string, string | number | boolean | null | undefined>} attributes
 * @param {(Node | string)[]} children
 */
function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** One network: its rows as a tree in preorder, and the cells of each. */
class Network {
  /** @param {NetworkData} data as data.py's network_data makes it */
  constructor(data) {
    this.data = data;
    this.name = data.name;
    this.columns = data.columns;
    this.parent = data.parent;
    this.size = this.parent.length;
    this.times = data.times;
    this.timing = 0; // which of the times are shown
    this.heads = new Set(data.heads);
    /** @type {number[]} */ this.roots = [];
    /** @type {number[][]} */ this.children = Array.from({ length: this.size }, () => []);
    /** @type {string[]} */ this.paths = [];
    /** @type {number[]} */ this.level = [];
    for (let row = 0; row < this.size; row++) {
      const parent = this.parent[row];
      (parent < 0 ? this.roots : this.children[parent]).push(row);
      this.level.push(parent < 0 ? 1 : this.level[parent] + 1);
      const around = parent >= 0 && this.copies(parent) > 1 ? this.parent[parent] : parent;
      const name = data.labels[data.label[row]];
      this.paths.push([...(around < 0 ? [] : [this.paths[around]]), ...(name ? [name] : [])].join("."));
    }
    if (this.times.length) {
      for (const column of this.columns) if (["size-in", "activations", "memory"].includes(column.name)) column.shown = false;
      this.columns.push(
        { name: "forward", title: "forward", help: "measured time of the forward pass", numeric: true, shown: true, form: "time", of: 0, unit: "ms" },
        { name: "backward", title: "backward", help: "measured time of the backward pass", numeric: true, shown: true, form: "time", of: 1, unit: "ms" },
      );
      if (this.times.some((each) => each.bound.some(Boolean)))
        this.columns.push({ name: "bound", title: "bound by", help: "what limits it on the roofline", numeric: false, shown: true, form: "bound", of: 0 });
    }
    if (innerWidth < 600) for (const column of this.columns) if (column.name === "size-in" || column.name === "kernel") column.shown = false;
    this.column = new Map(this.columns.map((column) => [column.name, column]));
    /** @type {Map<string, (number | null)[]>} */ this.cumulative = new Map();
  }

  /** @param {number} row */
  copies(row) {
    return this.data.copies[row] ?? 1;
  }

  /** The name with the number of copies that it stands for. @param {number} row */
  label(row) {
    const copies = this.copies(row);
    const name = this.data.labels[this.data.label[row]] || this.paths[row].split(".").at(-1);
    return copies > 1 ? `${name} x ${copies}` : String(name);
  }

  /** @param {number} row */
  isLeaf(row) {
    return this.children[row].length === 0;
  }

  /** The cell as data: exact. @param {number} row @param {Column} column @returns {Cell} */
  cell(row, column) {
    if (column.form === "time") return this.seconds(row, column);
    if (column.form === "bound") return this.times[this.timing].bound[row];
    if (column.form === "cumulative") return this.upTo(column)[row];
    if (column.of < 0) return this.data.fields[this.data.field[row]];
    return this.data.kinds[this.data.kind[row]][column.of];
  }

  /** The operator's fields. @param {number} row */
  settings(row) {
    return String(this.data.kinds[this.data.kind[row]].at(-1));
  }

  /** @param {number} row @param {Column} column */
  seconds(row, column) {
    const times = this.times[this.timing];
    return (column.of === 0 ? times.forward : times.backward)[row];
  }

  /** Running sums in the order of the table, by row. @param {Column} column @returns {(number | null)[]} */
  upTo(column) {
    const known = this.cumulative.get(column.name);
    if (known) return known;
    const plain = { ...column, form: "count" };
    const made = new Array(this.size).fill(null);
    /** @param {number[]} rows @param {number} before */
    const add = (rows, before) => {
      for (const row of rows) {
        add(this.children[row], before);
        before += amount(this.cell(row, plain));
        made[row] = before;
      }
    };
    add(this.roots, 0);
    this.cumulative.set(column.name, made);
    return made;
  }

  /** The whole network's cell, by the API. @param {Column} column @returns {Cell} */
  total(column) {
    if (column.form === "time") {
      const found = this.roots.map((row) => this.seconds(row, column)).filter((each) => each !== null);
      return found.length ? found.reduce((sum, each) => sum + each, 0) : null;
    }
    if (column.form === "text" || column.form === "bound") return "";
    return this.data.total[column.of];
  }

  /** The part of the whole network that a row has of a column, 0 to 1. @param {number} row @param {Column} column */
  share(row, column) {
    const whole = amount(this.total(column));
    return whole ? amount(this.cell(row, column)) / whole : 0;
  }

  /** A cell as the table prints it. @param {Cell} cell @param {Column} column @param {boolean} exact */
  print(cell, column, exact) {
    if (column.form === "text" || column.form === "bound") return String(cell);
    if (column.form === "time") return cell === null ? "" : (Number(cell) * 1e3).toFixed(3);
    if (column.form === "share") {
      if (cell === null) return NOT_COUNTED;
      const whole = amount(this.data.total[column.of]);
      return whole && amount(cell) ? ((100 * amount(cell)) / whole).toFixed(1) : String(column.zero);
    }
    return printed(cell, (value) => (exact ? grouped(value) : scaled(value, column.size ?? 1, column.decimals ?? 0)), column.zero ?? "");
  }

  /** A cell with its own unit: 1.85G, 112 KiB, 0.35 ms. @param {Cell} cell @param {Column} column */
  short(cell, column) {
    if (column.form === "time") return cell === null ? "not timed" : `${(Number(cell) * 1e3).toPrecision(3)} ms`;
    if (column.form === "share" || column.form === "text" || column.form === "bound") return this.print(cell, column, false);
    return printed(cell, (value) => withUnit(Number(value), Boolean(column.bytes)), "0");
  }

  /** A row and those around it, from the outside in. @param {number} row @returns {number[]} */
  lineage(row) {
    const found = [];
    for (let each = row; each >= 0; each = this.parent[each]) found.unshift(each);
    return found;
  }

  /** The row that stands at or around a path. @param {string} path */
  find(path) {
    let best = -1;
    for (let row = 0; row < this.size; row++) {
      const here = this.paths[row];
      if (here === path && this.copies(row) === 1) return row;
      if (path.startsWith(`${here}.`) && (best < 0 || here.length >= this.paths[best].length)) best = row;
    }
    return best;
  }
}

/** The number that a cell is sorted and added by. @param {Cell} cell @returns {number} */
function amount(cell) {
  return Array.isArray(cell) ? Number(cell[0]) : cell === null ? 0 : Number(cell) || 0;
}

/** @param {Cell} cell @param {(value: bigint) => string} print @param {string} zero */
function printed(cell, print, zero) {
  if (cell === null) return NOT_COUNTED;
  if (Array.isArray(cell)) return `>= ${print(BigInt(cell[0]))}`;
  return Number(cell) === 0 ? zero : print(BigInt(cell));
}

/** All digits, in groups of three. @param {bigint} value */
function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** In the column's unit, halves rounded up, as analysis/numbers.py prints it. @param {bigint} value @param {number} size @param {number} decimals */
function scaled(value, size, decimals) {
  const unit = BigInt(size);
  const digits = (2n * value * 10n ** BigInt(decimals) + unit) / (2n * unit);
  return digits ? decimal(digits, decimals) : `<${decimal(1n, decimals)}`;
}

/** @param {bigint} digits @param {number} decimals */
function decimal(digits, decimals) {
  if (!decimals) return String(digits);
  const text = String(digits).padStart(decimals + 1, "0");
  return `${text.slice(0, -decimals)}.${text.slice(-decimals)}`;
}

/** Three significant digits and a unit. @param {number} value @param {boolean} bytes */
function withUnit(value, bytes) {
  const [step, units] = bytes ? [1024, ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]] : [1000, ["", "K", "M", "G", "T", "P"]];
  let place = 0;
  while (place < units.length - 1 && value >= step * 0.9995) {
    value /= step;
    place += 1;
  }
  const text = place ? value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2) : String(value);
  return bytes ? `${text} ${units[place]}` : text + units[place];
}
