"""Read `benchmark.yaml`: every wrong value is a finding, and all of them are raised at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from nnunet_spine_ext.benchmark.plan import DEVICES, FOLDS, STOCK_PLANS, Entry, Plan
from nnunet_spine_ext.benchmark.trainer_names import known_trainers, whats_wrong
from nnunet_spine_ext.errors import DataError, Finding

PLAN_FILE = "benchmark.yaml"

KEYS = (
    "dataset", "trainers", "configurations", "plans", "folds", "epochs", "iterations", "seeds", "gpu_memory_target",
    "baseline", "device", "jobs_at_once", "loading_processes", "keep_epochs", "find_best", "slurm",
)  # fmt: skip
ENTRY_KEYS = ("trainer", "configurations", "plans", "title")


def read_plan(file: Path, *, check_trainers: bool = True) -> Plan:
    """Return the plan in a file.

    Args:
        file: `benchmark.yaml`.
        check_trainers: look every trainer up; not needed, and not possible everywhere, to ask for the state of jobs.

    Raises:
        DataError: all that is wrong with it.
    """
    plan, findings = draft_plan(file, check_trainers=check_trainers)
    if findings:
        raise DataError(findings)
    assert plan is not None
    return plan


def draft_plan(file: Path, *, check_trainers: bool = True) -> tuple[Plan | None, list[Finding]]:
    """Return what can be read of a plan (wrong values replaced by defaults) and what is wrong with it."""
    content, findings = _content(file)
    if content is None:
        return None, findings
    reader = _Reader(file, content)
    reader.refuse_unknown(KEYS)
    dataset_id = reader.whole("dataset", least=1, greatest=999)
    entries = _entries(reader)
    keep_epochs = reader.wholes("keep_epochs", least=1, default=())
    if dataset_id is None and "dataset" not in content:
        reader.report("dataset is missing", "Write the number of the dataset: dataset: 501")
    plan = Plan(
        dataset_id=dataset_id or 0,
        entries=entries,
        folds=reader.wholes("folds", least=0, default=FOLDS),
        seeds=reader.wholes("seeds", least=0, default=(0,)),
        epochs=reader.whole("epochs", least=1),
        iterations=reader.whole("iterations", least=1),
        gpu_memory_target_gb=reader.positive("gpu_memory_target"),
        device=reader.word("device", DEVICES),
        jobs_at_once=reader.whole("jobs_at_once", least=1),
        loading_processes=reader.whole("loading_processes", least=0),
        keep_epochs=keep_epochs,
        with_baseline=reader.word("baseline", ("auto", "none")) == "auto",
        find_best=reader.flag("find_best"),
        slurm=reader.mapping("slurm"),
    )
    _check_together(plan, reader, check_trainers=check_trainers)
    return plan, reader.findings


def _content(file: Path) -> tuple[dict[str, Any] | None, list[Finding]]:
    remedy = "Write one with `nnunet_spine benchmark init`."
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, [Finding(file=file, finding="no such file", remedy=remedy)]
    except (OSError, ValueError, yaml.YAMLError) as error:
        return None, [Finding(file=file, finding=f"is no YAML ({' '.join(str(error).split())})", remedy=remedy)]
    if not isinstance(content, dict):
        return None, [Finding(file=file, finding="holds no table of keys and values", remedy=remedy)]
    return {str(key): value for key, value in content.items()}, []


def _entries(reader: _Reader) -> tuple[Entry, ...]:
    configurations = reader.words("configurations", default=("3d_fullres",))
    plans = reader.text("plans", default=STOCK_PLANS)
    listed = reader.content.get("trainers")
    if not isinstance(listed, list) or not listed:
        reader.report("trainers is no list of names", "Write at least one: trainers: [SpineHybridTrainer]")
        return ()
    entries = [_entry(reader, item, configurations, plans) for item in listed]
    there = tuple(entry for entry in entries if entry is not None)
    seen: set[tuple[str, str, str]] = set()
    for entry in there:
        for key in ((entry.trainer, entry.plans, configuration) for configuration in entry.configurations):
            if key in seen:
                reader.report(f"trainers names {' '.join(key)} twice", "Name each model once.")
            seen.add(key)
    titles = [entry.title for entry in there if entry.title]
    for title in {title for title in titles if titles.count(title) > 1}:
        reader.report(f"trainers gives the title {title!r} twice", "Give each model a title of its own.")
    return there


def _entry(reader: _Reader, item: object, configurations: tuple[str, ...], plans: str) -> Entry | None:
    if isinstance(item, str):
        return Entry(trainer=item, configurations=configurations, plans=plans)
    if not isinstance(item, dict) or not isinstance(item.get("trainer"), str):
        reader.report(
            f"trainers holds {item!r}", "Write a name, or {trainer: …, configurations: […], plans: …, title: …}."
        )
        return None
    inner = _Reader(reader.file, {str(key): value for key, value in item.items()}, prefix=f"{item['trainer']}: ")
    inner.refuse_unknown(ENTRY_KEYS)
    entry = Entry(
        trainer=item["trainer"],
        configurations=inner.words("configurations", default=configurations),
        plans=inner.text("plans", default=plans),
        title=inner.text("title", default="") or None,
    )
    reader.findings += inner.findings
    return entry


def _check_together(plan: Plan, reader: _Reader, *, check_trainers: bool) -> None:
    """Report what is wrong with values that are right by themselves."""
    if plan.iterations is not None and plan.epochs is None:
        reader.report("iterations is set, epochs is not", "Set both, or neither.")
    late = [n for n in plan.keep_epochs if plan.epochs is not None and n > plan.epochs]
    if late:
        reader.report(f"keep_epochs holds {late}, past the end at {plan.epochs}", "Keep earlier epochs.")
    if not check_trainers:
        return
    known = known_trainers()
    for trainer in dict.fromkeys(entry.trainer for entry in plan.entries):
        wrong = whats_wrong(trainer, plan.budget, known)
        if wrong:
            reader.report(f"trainers: {wrong[0]}", wrong[1])


class _Reader:
    """Takes values out of a table; what is wrong with them is collected in `findings`."""

    def __init__(self, file: Path, content: Mapping[str, Any], *, prefix: str = "") -> None:
        self.file = file
        self.content = content
        self.prefix = prefix
        self.findings: list[Finding] = []

    def report(self, finding: str, remedy: str) -> None:
        self.findings.append(Finding(file=self.file, finding=self.prefix + finding, remedy=remedy))

    def refuse_unknown(self, keys: tuple[str, ...]) -> None:
        for key in self.content.keys() - set(keys):
            near = get_close_matches(key, keys, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(keys)}."
            self.report(f"{key} is no key", hint)

    def whole(self, key: str, *, least: int, greatest: int | None = None) -> int | None:
        value = self.content.get(key)
        if value is None:
            return None
        if _is_whole(value) and value >= least and (greatest is None or value <= greatest):
            return int(value)
        span = f"from {least} on" if greatest is None else f"from {least} to {greatest}"
        self.report(f"{key} is {value!r}", f"Write a whole number {span}.")
        return None

    def wholes(self, key: str, *, least: int, default: tuple[int, ...]) -> tuple[int, ...]:
        value = self.content.get(key)
        if value is None:
            return default
        listed = value if isinstance(value, list) else [value]
        right = [n for n in listed if _is_whole(n) and n >= least]
        if len(right) != len(listed) or len(set(right)) != len(right) or (not right and default):
            self.report(f"{key} is {value!r}", f"Write different whole numbers from {least} on, such as [0, 1].")
            return default
        return tuple(right)

    def words(self, key: str, *, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.content.get(key)
        if value is None:
            return default
        listed = value if isinstance(value, list) else [value]
        if not listed or not all(isinstance(w, str) and w for w in listed) or len(set(listed)) != len(listed):
            self.report(f"{key} is {value!r}", f"Write different names, such as [{default[0]}].")
            return default
        return tuple(listed)

    def text(self, key: str, *, default: str) -> str:
        value = self.content.get(key)
        if value is None or (isinstance(value, str) and value):
            return value or default
        self.report(f"{key} is {value!r}", "Write one name.")
        return default

    def word(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.content.get(key)
        if value is None or value in choices:
            return str(value or choices[0])
        self.report(f"{key} is {value!r}", f"Write one of {', '.join(choices)}.")
        return choices[0]

    def positive(self, key: str) -> float | None:
        value = self.content.get(key)
        if value is None:
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
        self.report(f"{key} is {value!r}", "Write a number above 0, in GB.")
        return None

    def flag(self, key: str) -> bool:
        value = self.content.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.report(f"{key} is {value!r}", "Write true or false.")
        return False

    def mapping(self, key: str) -> dict[str, object]:
        value = self.content.get(key)
        if value is None or isinstance(value, dict):
            return {str(name): v for name, v in (value or {}).items()}
        self.report(f"{key} is {value!r}", "Write a table of names and values.")
        return {}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
