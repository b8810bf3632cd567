"""The registry as it stands in its rows: nothing is built or counted, so it is there at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.published import why_it_differs

HEADER = ("network", "dims", "what", "paper", "trainers")

KNOWN_SIZES_HEADER = ("network", "form", "parameters there", "parameters here", "why they differ")


def dims_text(row: NetworkEntry) -> str:
    """Return the dimensions of a network in words."""
    return "2D (3D slice by slice)" if row.dims == (2,) else ", ".join(f"{d}D" for d in row.dims)


def as_text(rows: Iterable[NetworkEntry]) -> str:
    """Return an aligned table."""
    return "\n".join(aligned([HEADER, *(_cells(row) for row in rows)]))


def as_markdown(rows: Iterable[NetworkEntry], *, link: str = "") -> str:
    """Return a Markdown table; `link` is the folder of the networks' own pages, if there are any."""
    return markdown_table(HEADER, [(_linked(row.name, link), *_cells(row)[1:]) for row in rows])


def known_sizes_as_markdown(rows: Iterable[NetworkEntry]) -> str:
    """Return a Markdown table of every size known from a source, beside ours."""
    cells = [
        (row.name, known.what, f"{known.published:,}", f"{known.parameters:,}", why_it_differs(row, known))
        for row in rows
        for known in row.oracles
    ]
    return markdown_table(KNOWN_SIZES_HEADER, cells)


def as_json(rows: Iterable[NetworkEntry]) -> str:
    """Return the rows as a JSON list."""
    return json.dumps([record(row) for row in rows], indent=2)


def record(row: NetworkEntry) -> dict[str, object]:
    """Return a row as JSON holds it."""
    return {
        "name": row.name,
        "family": row.family,
        "summary": row.summary,
        "paper": row.paper,
        "dims": list(row.dims),
        "network": row.network,
        "options": dict(row.options),
        "trainers": list(row.trainers),
        "known_sizes": [
            {"what": o.what, "parameters": o.parameters, "published": o.published, "why": why_it_differs(row, o)}
            for o in row.oracles
        ],
    }


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a text table."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _cells(row: NetworkEntry) -> tuple[str, ...]:
    return (row.name, dims_text(row), row.summary, row.cite, ", ".join(row.trainers))


def _linked(name: str, folder: str) -> str:
    return f"[{name}]({folder}/{name}.md)" if folder else name
