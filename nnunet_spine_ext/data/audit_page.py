"""`conversion_log.html`: the conversion log for people. One file, no network, made of the JSON log alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Conversion of {{ log.title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; }
tr + tr { border-top: 1px solid #ddd; } thead th { border-bottom: 2px solid #888; white-space: nowrap; }
td.number { text-align: right; } .wide { overflow-x: auto; }
.changed { background: #fff4d6; } .remark { background: #e3eefb; }
code { font-size: .85em; overflow-wrap: anywhere; } summary { cursor: pointer; } small { color: #555; }
@media (prefers-color-scheme: dark) {
  body { background: #1b1b1b; color: #ddd; } tr + tr { border-color: #444; } small { color: #aaa; }
  .changed { background: #4a3c10; } .remark { background: #1d3350; }
}
</style>
</head>
<body>
<h1>Conversion of {{ log.title }}</h1>
<table>
  <tr><th>Release</th><td>{{ log.release }}</td></tr>
  <tr><th>Licence</th><td>{{ log.licence }}</td></tr>
  <tr><th>Cite</th><td>{{ log.citation }}</td></tr>
  <tr><th>Cases</th><td>{{ log.summary.training }} training, {{ log.summary.test }} test
    ({{ log.summary.subsets | counts }})</td></tr>
  <tr><th>Changed</th><td>{{ log.summary.cases_with_changes }} cases
    {{ "(" ~ log.summary.cases_with | counts ~ ")" if log.summary.cases_with }}</td></tr>
  <tr><th>Remarks</th><td>{{ log.summary.cases_with_remarks }} cases</td></tr>
  <tr><th>Written by</th><td>{{ log.converted_by }}</td></tr>
</table>
{% if log.notes %}
<h2>About all cases</h2>
<ul>{% for note in log.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% endif %}
<h2>Changes and remarks</h2>
{% if touched %}
<div class="wide"><table>
  <thead><tr><th>Case</th><th>File</th><th>What</th><th>Why</th></tr></thead>
  {% for name, case in touched %}
  {% for change in case.changes %}
  <tr class="changed">
    <td>{{ name }}</td><td>{{ change.file }}</td><td>{{ change.what }}</td><td>{{ change.why }}</td>
  </tr>
  {% endfor %}
  {% for remark in case.remarks %}
  <tr class="remark"><td>{{ name }}</td><td>remark</td><td colspan="2">{{ remark }}</td></tr>
  {% endfor %}
  {% endfor %}
</table></div>
{% else %}
<p>None: every file is what it was, but for the rules below.</p>
{% endif %}
<h2>What was read</h2>
<div class="wide"><table>
  <thead><tr><th>Case</th><th>Set</th><th>Size x y z</th><th>Spacing mm</th><th>Axes</th><th>Type</th><th>Values</th>
    <th>Label type</th><th>Labelled voxels</th></tr></thead>
  {% for name, case in log.cases.items() %}
  <tr>
    <td>{{ name }}</td><td>{{ case.source.subset }}</td>
    <td>{{ case.image.size_xyz | join(" × ") }}</td>
    <td>{{ case.image.spacing_xyz_mm | map("short") | join(" × ") }}</td>
    <td>{{ case.image.orientation or "–" }}</td><td>{{ case.image.dtype }}</td>
    <td class="number">{{ case.image.minimum | short }} … {{ case.image.maximum | short }}</td>
    {% if case.label %}
    <td>{{ case.label.dtype }}</td>
    <td>{{ case.label.voxels_by_structure | counts }}</td>
    {% else %}<td>–</td><td>–</td>{% endif %}
  </tr>
  {% endfor %}
</table></div>
<h2>Rules for every case</h2>
<ul>
  {% for rule in log.every_file %}<li>{{ rule }}</li>{% endfor %}
  {% for name, rule in log.repairs_switched_on.items() %}<li>{{ name }} – {{ rule }}</li>{% endfor %}
</ul>
<h2>Checksums</h2>
<details><summary>SHA-256 of every file read and written</summary>
<div class="wide"><table>
  <thead><tr><th>File</th><th>SHA-256</th></tr></thead>
  {% for case in log.cases.values() %}
  {% for file in [case.image, case.label] if file %}
  <tr><td>{{ file.file }}</td><td><code>{{ file.sha256 }}</code></td></tr>
  {% endfor %}
  {% for file in case.written.values() %}
  <tr><td><b>{{ file.file }}</b></td><td><code>{{ file.sha256 }}</code></td></tr>
  {% endfor %}
  {% endfor %}
</table></div>
<small>Plain: as published. Bold: as written.</small>
</details>
</body>
</html>
"""


def audit_page(log: Mapping[str, Any]) -> str:
    """Return the page that shows a conversion log (`audit.conversion_log`)."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"short": _short, "counts": _counts}
    touched = [(name, case) for name, case in log["cases"].items() if case["changes"] or case["remarks"]]
    return environment.from_string(_TEMPLATE).render(log=log, touched=touched)


def _short(number: float) -> str:
    return f"{number:.5g}" if number != int(number) else str(int(number))


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in numbers.items())
