"""The rows of a CSV text as mappings with the lines they begin on; a row that does not fit its header is named."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

from predictor.importers.draft import Rejected
from predictor.importers.values import text


def csv_rows(source: str) -> Iterator[tuple[int, Mapping[str, str]] | Rejected]:
    """Cells that are empty or say nothing (`NA`, `-`) are left out."""
    table = csv.reader(io.StringIO(source, newline=""))
    try:
        header = [name.strip() for name in next(table, [])]
        while True:
            line = table.line_num + 1
            cells = next(table, None)
            if cells is None:
                return
            if len(cells) > len(header):
                yield Rejected(line, f"the row has {len(cells)} cells, its header {len(header)}")
            elif any(cell.strip() for cell in cells):
                named = zip(header, cells, strict=False)  # a row may end early
                yield line, {name: cell for name, cell in named if name and text(cell) is not None}
    except csv.Error as error:
        yield Rejected(max(1, table.line_num), f"no CSV from here on: {error}")


def csv_header(first_line: str) -> frozenset[str]:
    """The column names on a line, so far as it is one line of CSV."""
    try:
        return frozenset(name.strip() for name in next(csv.reader([first_line]), []))
    except csv.Error:
        return frozenset()
