"""Figures for the page: inline SVG that needs no other file."""

from __future__ import annotations

import base64

from markupsafe import Markup

from nnunet_spine_ext.report.charts.boxes import draw_boxes
from nnunet_spine_ext.report.charts.charts import draw_chart
from nnunet_spine_ext.report.charts.figures import Boxes, Chart, Figure, Matrix, Ready
from nnunet_spine_ext.report.charts.matrix import draw_matrix


def draw(figure: Figure) -> Markup:
    """Return `figure` as SVG."""
    if isinstance(figure, Boxes):
        return draw_boxes(figure)
    if isinstance(figure, Matrix):
        return draw_matrix(figure)
    return draw_chart(figure) if isinstance(figure, Chart) else _embed(figure)


def _embed(figure: Ready) -> Markup:
    """Return a whole SVG file as an image, so that its styles and ids stay its own."""
    data = base64.b64encode(figure.svg).decode("ascii")
    return Markup("<img class='plot' alt='{}' src='data:image/svg+xml;base64,{}'>").format(figure.title, data)
