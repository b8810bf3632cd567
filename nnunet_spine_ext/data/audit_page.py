"""`conversion_log.html`: the conversion log for people. One file, no network, made of the JSON log alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Conversion of {{ log.title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; break-after: avoid; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .25rem .6rem; }
tr + tr { border-top: 1px solid #ddd; } thead th { border-bottom: 2px solid #888; }
th, .short { white-space: nowrap; } .number { text-align: right; white-space: nowrap; } .wide { overflow-x: auto; }
.changed { background: #fff4d6; } .remark { background: #e3eefb; }
code { font-size: .85em; overflow-wrap: anywhere; } summary { cursor: pointer; } small { color: #555; }
@media screen and (prefers-color-scheme: dark) {
  body { background: #1b1b1b; color: #ddd; } tr + tr { border-color: #444; } small { color: #aaa; }
  .changed { background: #4a3c10; } .remark { background: #1d3350; }
}
@media print {
  @page { margin: 1.5cm; }
  body { font-size: 8.5pt; margin: 0; max-width: none; padding: 0; color: #000; }
  .wide { overflow: visible; } tr, li { break-inside: avoid; } th, td { padding: .15rem .35rem; }
  th { white-space: normal; } td { overflow-wrap: break-word; } .changed, .remark { print-color-adjust: exact; }
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
  <tr><th>Changed</th><td>{{ log.summary.cases_with_changes | cases }}
    {{ "(" ~ log.summary.cases_with | counts ~ ")" if log.summary.cases_with }}</td></tr>
  <tr><th>Remarks</th><td>{{ log.summary.cases_with_remarks | cases }}</td></tr>
  <tr><th>Written by</th><td>{{ log.converted_by }}</td></tr>
</table>
{% if log.notes %}
<h2>About all cases</h2>
<ul>{% for note in log.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% endif %}
<h2>Changes and remarks</h2>
{% if changes or remarks %}
<div class="wide"><table>
  <thead><tr><th>What</th><th>Why</th><th>File</th><th>Cases</th></tr></thead>
  {% for change, cases in changes %}
  <tr class="changed">
    <td>{{ change.what }}</td><td>{{ change.why }}</td><td>{{ change.file }}</td><td>{{ cases | named(total) }}</td>
  </tr>
  {% endfor %}
  {% for remark, cases in remarks %}
  <tr class="remark"><td colspan="2">{{ remark }}</td><td>remark</td><td>{{ cases | named(total) }}</td></tr>
  {% endfor %}
</table></div>
{% else %}
<p>None: every file is what it was, but for the rules below.</p>
{% endif %}
<h2>What was read</h2>
<div class="wide"><table>
  <thead><tr><th>Case</th><th>Set</th><th>Size x y z</th><th>Spacing mm</th><th>Axes</th><th>Type</th>
    <th class="number">Values</th><th>Label type</th><th>Labelled voxels</th></tr></thead>
  {% for name, case in log.cases.items() %}
  <tr>
    <td>{{ name }}</td><td>{{ case.source.subset }}</td>
    <td class="short">{{ case.image.size_xyz | join(" × ") }}</td>
    <td class="short">{{ case.image.spacing_xyz_mm | map("short") | join(" × ") }}</td>
    <td>{{ case.image.orientation or "–" }}</td><td>{{ case.image.dtype }}</td>
    <td class="number">{{ case.image.minimum | short }} … {{ case.image.maximum | short }}</td>
    {% if case.label %}
    <td>{{ case.label.dtype }}</td>
    <td>{{ case.label.voxels_by_structure | counts }}</td>
    {% else %}<td>–</td><td>–</td>{% endif %}
  </tr>
  {% endfor %}
</table></div>
<p><small>Types are those of the files. Size, spacing, axes and values are those after the changes above, before any
crop.</small></p>
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
<p><small>All of this, checksums included, is in conversion_log.json too.</small></p>
</body>
</html>
"""


def audit_page(log: Mapping[str, Any]) -> str:
    """Return the page that shows a conversion log (`audit.conversion_log`)."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"short": _short, "counts": _counts, "cases": _cases, "named": _named}
    changes, remarks = _changes(log["cases"]), _remarks(log["cases"])
    template = environment.from_string(_TEMPLATE)
    return template.render(log=log, changes=changes, remarks=remarks, total=len(log["cases"]))


def _changes(cases: Mapping[str, Mapping[str, Any]]) -> list[tuple[Mapping[str, str], list[str]]]:
    """Return every change once, with the cases that it was made to; image's and label's in one if they are alike."""
    files: dict[tuple[str, str, str], list[str]] = {}
    for name, case in cases.items():
        for change in case["changes"]:
            files.setdefault((change["what"], change["why"], name), []).append(change["file"])
    found: dict[tuple[str, str, str], list[str]] = {}
    for (what, why, name), of in files.items():
        found.setdefault((what, why, ", ".join(dict.fromkeys(of))), []).append(name)
    return [({"what": what, "why": why, "file": file}, names) for (what, why, file), names in found.items()]


def _remarks(cases: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return every remark once, with the cases that it is about."""
    found: dict[str, list[str]] = {}
    for name, case in cases.items():
        for remark in case["remarks"]:
            found.setdefault(remark, []).append(name)
    return list(found.items())


def _named(names: Sequence[str], total: int) -> str:
    """Return cases for people: all of them in one word, or one by one."""
    return f"all {total}" if len(names) == total > 1 else ", ".join(names)


def _cases(number: int) -> str:
    return f"{number} case" if number == 1 else f"{number} cases"


def _short(number: float) -> str:
    return f"{number:.5g}" if number != int(number) else str(int(number))


def _counts(numbers: Mapping[str, int]) -> str:
    # No line break between a name and its number.
    return ", ".join(f"{name}:\N{NO-BREAK SPACE}{n}" for name, n in numbers.items())
