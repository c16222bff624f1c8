"""The charts of measured figures: SVG and tables made here, so that they are there without scripts and in print."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from markupsafe import Markup

from archprof.profiling.records import Cell, Key, Layer, Run
from archprof.report.page.results import Measured, Results, key_text, published_runs

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 20, 14, 44
_SI = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"), (1.0, ""))


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A picture or table with its heading and what must be known to read it."""

    title: str
    caption: tuple[str, ...]
    body: Markup


def result_charts(results: Results, names: Sequence[str]) -> Iterator[Chart]:
    """All charts of measured figures. `names` are the networks' of the page."""
    for measured in results.measured:
        chart = roofline(measured, names[measured.network])
        if chart is not None:
            yield chart
    yield from heat_maps(results.runs)
    if results.runs:
        yield from beside(results.runs, published_runs())


# --- axes


class Scale(msgspec.Struct, frozen=True):
    """Values to pixels: logarithmic, or linear from `low` to `high`."""

    low: float
    high: float
    start: float  # the pixel of `low`
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        place = math.log10(value) if self.log else value
        return round(self.start + (place - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Powers of ten, or about six round numbers."""
        if self.log:
            least, most = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(least, most + 1, max(1, round((most - least) / 8)))]
        raw = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
        first = math.ceil(self.low / step)
        return [place * step for place in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _svg(parts: Iterable[Markup], label: str, height: float = _HEIGHT) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, _WIDTH, height, label, Markup().join(parts)
    )


def _text(x: float, y: float, text: str, anchor: str = "start", classes: str = "") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(x, y, anchor, classes, text)


def _axes(
    x: Scale,
    y: Scale,
    x_title: str,
    y_title: str,
    print_x: Callable[[float], str],
    print_y: Callable[[float], str],
) -> Iterator[Markup]:
    for value in y.ticks():
        yield Markup('<path class="rule" d="M{} {}H{}"/>').format(x.start, y(value), x.end)
        yield _text(x.start - 7, y(value) + 4, print_y(value), "end", "small")
    for value in x.ticks():
        yield Markup('<path class="rule" d="M{} {}V{}"/>').format(x(value), y.start, y.end)
        yield _text(x(value), y.start + 17, print_x(value), "middle", "small")
    yield Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(x.start, y.end, y.start, x.end)
    yield _text((x.start + x.end) / 2, y.start + 36, x_title, "middle", "small")
    yield Markup('<text class="small" text-anchor="middle" transform="translate(15 {}) rotate(-90)">{}</text>').format(
        (y.start + y.end) / 2, y_title
    )


def si(value: float, unit: str = "") -> str:
    """Three significant digits with a prefix: 1.25T, 17 GB/s."""
    size, prefix = next(((size, prefix) for size, prefix in _SI if value >= size * 0.9995), _SI[-1])
    return f"{value / size:.3g}{' ' if unit else ''}{prefix}{unit}"


def milliseconds(seconds: float) -> str:
    """A time with three significant digits."""
    return f"{seconds * 1e3:.3g} ms"


# --- roofline


def roofline(measured: Measured, name: str) -> Chart | None:
    """A network's layers by operations a byte and operations a second; None where no layer has both."""
    points = [(layer, intensity, rate) for layer in measured.cell.layers for intensity, rate in _placed(layer)]
    if not points:
        return None
    roof = measured.roofline
    intensities, rates = [point[1] for point in points], [point[2] for point in points]
    peak = roof.peak(measured.dtype) if roof else max(rates)
    ridge = peak / roof.bandwidth if roof else intensities[0]
    x = _decades([*intensities, ridge], _LEFT, _WIDTH - _RIGHT)
    y = _decades([*rates, peak], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(x, y, "operations a byte", "operations a second", lambda value: f"{value:g}", si)]
    caption = [
        f"{name}, {measured.run.hardware}: {key_text(measured.cell.key)}. A point is a layer's forward pass, larger "
        "the longer it took."
    ]
    if roof is None:
        caption.append("No roofline of this hardware is known here: archprof device measures it.")
    else:
        start = max(x.low, y.low / roof.bandwidth)
        parts.append(
            Markup('<path class="roof" d="M{} {}L{} {}H{}"/>').format(
                x(start), y(start * roof.bandwidth), x(ridge), y(peak), x.end
            )
        )
        rates_text = f"{si(peak, 'FLOP/s')} in {measured.dtype}, {si(roof.bandwidth, 'B/s')}"
        caption.append(f"Roofline: {rates_text}; {roof.source}.")
    whole = sum(layer.forward for layer in measured.cell.layers)
    for layer, intensity, rate in sorted(points, key=lambda point: -point[0].forward):
        kind = "" if roof is None else " compute" if intensity >= ridge else " memory"
        share = layer.forward / whole
        told = (
            f"{layer.path} ({layer.operator}): {milliseconds(layer.forward)}, {share:.1%} of the forward pass; "
            f"{intensity:.3g} operations a byte, {si(rate, 'FLOP/s')}"
        )
        parts.append(
            Markup(
                '<circle class="point{}" cx="{}" cy="{}" r="{:.1f}" data-network="{}" data-path="{}">'
                "<title>{}</title></circle>"
            ).format(kind, x(intensity), y(rate), 3 + 14 * math.sqrt(share), measured.network, layer.path, told)
        )
    return Chart(title=f"Roofline of {name}", caption=tuple(caption), body=_svg(parts, f"Roofline of {name}"))


def _placed(layer: Layer) -> Iterator[tuple[float, float]]:
    if layer.operations and layer.bytes and layer.forward > 0:
        yield layer.operations / layer.bytes, layer.operations / layer.forward


def _decades(values: Sequence[float], start: float, end: float) -> Scale:
    """The powers of ten around some values."""
    low, high = math.floor(math.log10(min(values) * 0.95)), math.ceil(math.log10(max(values) * 1.05))
    return Scale(10.0**low, 10.0**high, start, end, True)


# --- the matrix


def heat_maps(runs: Sequence[Run]) -> Iterator[Chart]:
    """Each run's cells: networks and ways of measuring down, batches across, darker the more images a second."""
    for run in runs:
        if len(run.cells) < 2:
            continue
        batches = sorted({cell.key.batch for cell in run.cells})
        lines: dict[Key, dict[int, Cell]] = {}
        for cell in run.cells:
            lines.setdefault(msgspec.structs.replace(cell.key, batch=0), {})[cell.key.batch] = cell
        rates = sorted(rate for cell in run.cells if (rate := _rate(cell)) is not None)
        header = Markup().join(Markup('<th scope="col" class="number">batch {}</th>').format(each) for each in batches)
        body = Markup().join(
            Markup('<tr><th scope="row">{}</th>{}</tr>').format(
                f"{key.network}, {key_text(key).partition(', ')[2]}",
                Markup().join(_heat_cell(cells.get(batch), rates) for batch in batches),
            )
            for key, cells in lines.items()
        )
        yield Chart(
            title=f"Bench on {run.hardware}",
            caption=(f"Images a second by the median time; {run.machine}, {run.created[:10]}.",),
            body=Markup(
                '<div class="table"><table class="heat"><thead><tr><th scope="col">network</th>{}</tr></thead>'
                "<tbody>{}</tbody></table></div>"
            ).format(header, body),
        )


def _rate(cell: Cell) -> float | None:
    if cell.status != "ok":
        return None
    if cell.images_per_second is not None:
        return cell.images_per_second
    return cell.key.batch / cell.seconds if cell.seconds else None


def _heat_cell(cell: Cell | None, rates: Sequence[float]) -> Markup:
    if cell is None:
        return Markup("<td></td>")
    rate = _rate(cell)
    if rate is None:
        return Markup('<td class="failed" title="{}">{}</td>').format(cell.reason, cell.status)
    low, high = math.log(rates[0]), math.log(rates[-1])
    step = min(int(5 * (math.log(rate) - low) / (high - low)), 4) if high > low else 2
    told = "" if cell.seconds is None else f"{milliseconds(cell.seconds)} a batch"
    return Markup('<td class="h{}" title="{}">{}</td>').format(step, told, _images(rate))


def _images(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


# --- beside others


def beside(runs: Sequence[Run], published: Sequence[Run]) -> Iterator[Chart]:
    """Each measured cell with the cells of other runs and of published figures that were measured alike."""
    others: dict[Key, list[tuple[str, float, bool]]] = {}
    for run in (*runs, *published):
        for cell in run.cells:
            rate = _rate(cell)
            if rate is not None:
                said = ", ".join(filter(None, (run.hardware, str(run.environment.get("software", "")))))
                others.setdefault(cell.key, []).append((said, rate, run.published is None))
    for key in dict.fromkeys(cell.key for run in runs for cell in run.cells):
        bars = sorted(others.get(key, ()), key=lambda bar: -bar[1])
        if len(bars) > 1:
            yield Chart(
                title=f"{key.network} beside other devices",
                caption=(f"Images a second; {key_text(key)}. Own figures are bold; the others are as published.",),
                body=_bars(bars, key.network),
            )


def _bars(bars: Sequence[tuple[str, float, bool]], name: str) -> Markup:
    left, line = 300, 24
    x = Scale(0, bars[0][1], left, _WIDTH - 90)
    parts = []
    for place, (label, rate, own) in enumerate(bars):
        y = place * line + 4
        classes = "own" if own else ""
        short = label if len(label) <= 44 else f"{label[:43]}…"
        parts.append(_text(left - 8, y + 14, short, "end", classes))
        parts.append(
            Markup('<rect class="bar series-{}" x="{}" y="{}" width="{}" height="17"><title>{}</title></rect>').format(
                1 if own else 0, left, y, max(x(rate) - left, 1), f"{label}: {rate:,.4g} images a second"
            )
        )
        parts.append(_text(x(rate) + 6, y + 14, _images(rate), "start", classes))
    return _svg(parts, f"{name} on several devices", len(bars) * line + 8)


# --- lines


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A line over x, with the band that its seeds lie in."""

    name: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float, float], ...] = ()  # x, low, high
    colour: int
    thin: bool = False


def curves(lines: Sequence[Curve], x_title: str, y_title: str, label: str, most: float) -> Markup:
    """Lines from 0 to `most`, with their names beside them."""
    x = Scale(0, max(point[0] for line in lines for point in line.points), _LEFT, _WIDTH - 200)
    y = Scale(0, most, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(x, y, x_title, y_title, lambda value: f"{value:,.0f}", lambda value: f"{value:g}")]
    for line in lines:
        if line.band:
            there = [f"{x(at)} {y(low)}" for at, low, _ in line.band]
            back = [f"{x(at)} {y(high)}" for at, _, high in reversed(line.band)]
            parts.append(Markup('<path class="band series-{}" d="M{}Z"/>').format(line.colour, "L".join(there + back)))
    for place, line in enumerate(lines):
        path = "M" + "L".join(f"{x(at)} {y(value)}" for at, value in line.points)
        width = 1 if line.thin else 2.5
        row = _TOP + 14 + 19 * place
        parts.append(
            Markup('<path class="line series-{}" stroke-width="{}" d="{}"><title>{}</title></path>').format(
                line.colour, width, path, line.name
            )
        )
        parts.append(
            Markup('<path class="line series-{}" stroke-width="{}" d="M{} {}h20"/>').format(
                line.colour, width, _WIDTH - 188, row - 4
            )
        )
        parts.append(_text(_WIDTH - 160, row, f"{line.name}, {line.points[-1][1]:.1f} %", "start", "small"))
    return _svg(parts, label)
