"""The generated documentation: up to date as far as it follows from the sources, and complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_spine_ext.networks import pages, table
from nnunet_spine_ext.networks.facts import NetworkFacts
from nnunet_spine_ext.networks.registry import NETWORKS

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
RERUN = "run: nnunet_spine networks --docs docs"


def committed(page: str) -> str:
    """What stands in a committed page before the figures that were counted when it was written."""
    return (DOCS / page).read_text().split(pages.COST_HEADING)[0].rstrip()


def facts_of(name: str) -> NetworkFacts:
    planned = table.planned_input((12, 64, 64), dataset=None, plans="", configuration="")
    (facts,) = table.registry_facts(table.shown_rows(planned, name=name), planned)
    return facts


def test_reference_page_is_up_to_date() -> None:
    assert committed("reference/networks.md") == pages.reference_page_without_costs().rstrip(), RERUN


@pytest.mark.parametrize("name", NETWORKS)
def test_page_of_each_network_is_up_to_date(name: str) -> None:
    assert committed(f"networks/{name}.md") == pages.network_page_without_costs(NETWORKS[name]).rstrip(), RERUN


def test_no_page_is_left_of_a_network_that_is_gone() -> None:
    assert {path.stem for path in (DOCS / "networks").glob("*.md")} == set(NETWORKS), RERUN


@pytest.mark.parametrize("name", NETWORKS)
def test_a_page_says_what_a_network_is_what_it_costs_and_how_to_train_it(name: str) -> None:
    text = pages.network_page_without_costs(NETWORKS[name])
    assert NETWORKS[name].paper in text
    for trainer in NETWORKS[name].trainers:
        assert f"## {trainer}" in text
        assert f"-tr {trainer}" in text
    header = text.split("## What it is")[1].split("## Spine")[0]
    assert len(header) > 200, "the module's header says next to nothing"


def test_pages_are_written_whole_with_their_figures(tmp_path: Path) -> None:
    facts = facts_of("hybrid")
    written = pages.write_docs(tmp_path, [facts])
    assert {p.relative_to(tmp_path).as_posix() for p in written} == {"reference/networks.md", "networks/hybrid.md"}
    page = (tmp_path / "networks" / "hybrid.md").read_text()
    assert page.startswith(pages.network_page_without_costs(facts.entry))
    assert f"| {facts.parameters / 1e6:.1f} | {facts.gmac:.1f} |" in page.split(pages.COST_HEADING)[1]


def test_trainers_are_quoted_from_their_sources() -> None:
    text = pages.trainer_docstrings()["SpineHybridTrainer"]
    assert text.startswith("UX blocks in plane")
    page = pages.network_page_without_costs(NETWORKS["hybrid"])
    assert "\n\n**Tests:** does the hybrid beat" in page
    assert "\n\n**Costs:** " in page
    assert "\n    nnUNetv2_train 501 3d_fullres 0 -tr SpineHybridTrainer -p SpineHybridPlans" in page
