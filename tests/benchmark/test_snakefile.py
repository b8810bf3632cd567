"""The Snakefile: one rule per model and seed, which declares summary.json and nothing else."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from nnunet_spine_ext.benchmark.jobs.snakefile import snakefile_text
from tests.benchmark.fake import make_comparison, make_plan


def rules(text: str) -> dict[str, dict[str, str]]:
    """Rule name → directive → its text."""
    found: dict[str, dict[str, str]] = {}
    rule = directive = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"rule (\w+):", line):
            rule, found[match[1]] = match[1], {}
        elif match := re.fullmatch(r"    (\w+):", line):
            directive = match[1]
            found[rule][directive] = ""
        elif line.startswith("        ") and rule:
            found[rule][directive] += line.strip()
        elif line and not line.startswith(" "):
            rule = rule if line.startswith("rule") else ""
    return found


def test_one_rule_per_model_and_seed(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(trainers=["A", "B"], folds=[0, 3], seeds=(0, 7), device="cuda"))
    text = snakefile_text(comparison)
    found = rules(text)
    assert set(found) == {
        "all", "A__nnUNetPlans__3d_fullres_seed_0", "A__nnUNetPlans__3d_fullres_seed_7",
        "B__nnUNetPlans__3d_fullres_seed_0", "B__nnUNetPlans__3d_fullres_seed_7",
    }  # fmt: skip
    assert "FOLDS = [0, 3]\n" in text
    outputs: set[str] = set()
    for name, rule in found.items():
        if name == "all":
            continue
        output = eval(rule["output"])
        assert output.endswith("/fold_{fold}/validation/summary.json")
        outputs |= {output.format(fold=fold) for fold in (0, 3)}
        assert rule["resources"] == "gpu=1"
        command = shlex.split(eval(rule["shell"]))
        assert command[:5] == ["nnunet_spine", "benchmark", "run", str(comparison.folder), "--job"]
        assert command[5].replace("{wildcards.fold}", "3") in {job.name for job in comparison.jobs}
    assert outputs == {str(job.summary) for job in comparison.jobs}
    wanted = re.findall(r"expand\(('.*?'), fold=FOLDS\)", found["all"]["input"])
    assert {eval(path).format(fold=fold) for path in wanted for fold in (0, 3)} == outputs
    compile(re.sub(r"(?ms)^(rule|onsuccess).*", "", text), "Snakefile", "exec")


def test_paths_with_blanks_and_braces_survive(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path / "a b{c}", make_plan(folds=[0]))
    (rule,) = [rule for name, rule in rules(snakefile_text(comparison)).items() if name != "all"]
    assert eval(rule["output"]).format(fold=0) == str(comparison.jobs[0].summary)
    assert shlex.split(eval(rule["shell"]).replace("{{", "{").replace("}}", "}"))[3] == str(comparison.folder)
