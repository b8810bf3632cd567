"""nnU-Net's look-up of trainers outside its package, and every trap in it, on our own trainers.

The look-up puts the folder on sys.path, imports its modules as top-level modules in alphabetical order until one has
the name, and then drops them from sys.modules.
"""

from __future__ import annotations

import ast
import inspect
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import nnunetv2
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine_ext.paths import TRAINERS_VARIABLE, make_trainers_findable, trainers_dir
from tests.conftest import REPOSITORY
from tests.training.tiny import MakeTrainer, make_plans

FOLDER = REPOSITORY / "trainers"
MODULES = sorted(FOLDER.glob("*.py"))
RECIPES = [path for path in MODULES if path.name != "__init__.py"]
FindTrainer = Callable[[str], type[nnUNetTrainer]]


def classes_in(path: Path) -> list[str]:
    return [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]


TRAINERS = [name for path in RECIPES for name in classes_in(path)]


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Every module imported anywhere in a file, and the number of leading dots."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


# ---- what the folder may hold ------------------------------------------------------------------------------------


def test_the_folder_holds_trainers_only() -> None:
    """A repository root as the folder would have its setup.py executed, its converters and tests imported."""
    assert {p.name for p in FOLDER.iterdir() if p.name != "__pycache__"} == {p.name for p in MODULES}
    assert trainers_dir() == FOLDER
    assert not (REPOSITORY / "setup.py").exists()


def test_modules_are_called_so_that_no_other_module_is_searched_instead() -> None:
    """A module called random.py would not be imported: the standard library's is already there."""
    assert RECIPES
    for path in RECIPES:
        assert re.fullmatch(r"spine_[a-z0-9_]+\.py", path.name)
        assert path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_imports_are_absolute_and_from_our_package(path: Path) -> None:
    """A relative import has no parent package here; an optional dependency would hide every later trainer."""
    for module, level in imports_of(path):
        assert level == 0
        first = module.split(".")[0]
        assert first == "nnunet_spine_ext" or first in sys.stdlib_module_names


def test_what_trainers_import_needs_nothing_optional() -> None:
    """One missing package at import time would make every trainer later in the alphabet unreachable."""
    required = {"batchgenerators", "batchgeneratorsv2", "numpy", "nnunetv2", "SimpleITK", "torch"}
    seen: set[str] = set()
    pending = [module for path in RECIPES for module, _ in imports_of(path)]
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        first = module.split(".")[0]
        if first != "nnunet_spine_ext":
            assert first in required or first in sys.stdlib_module_names, module
            continue
        source = REPOSITORY / Path(*module.split("."))
        source = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
        # Only what runs on import: top-level statements, not the bodies of functions.
        for node in ast.parse(source.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                pending.append(str(node.module))
            elif isinstance(node, ast.Import):
                pending.extend(alias.name for alias in node.names)
    assert "nnunet_spine_ext.training.trainer" in seen


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_nothing_but_trainer_classes_is_defined(path: Path) -> None:
    """What is defined here can never be pickled: its module is gone after the look-up."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body[1:]:
        if isinstance(node, ast.Assign):
            assert ast.unparse(node) == "__getattr__ = epoch_variants(globals())"
            continue
        assert isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef))
        if isinstance(node, ast.ClassDef):
            assert re.fullmatch(r"Spine\w+Trainer", node.name)
            nested = [n for n in ast.walk(node) if isinstance(n, (ast.ClassDef, ast.Lambda)) and n is not node]
            assert not nested
    assert ast.unparse(tree.body[-1]).startswith("__getattr__")


def test_no_trainer_is_named_twice_or_like_one_of_nnunet() -> None:
    """The stock trainer, or the first of the folder, would win silently."""
    assert len(set(TRAINERS)) == len(TRAINERS)
    stock_folder = Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer"
    stock = {name for path in stock_folder.rglob("*.py") for name in classes_in(path)}
    assert "nnUNetTrainerBN" in stock
    assert not set(TRAINERS) & stock


# ---- what the look-up finds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "_7epochs", "_7epochs_3iterations"])
@pytest.mark.parametrize("name", TRAINERS)
def test_every_trainer_is_found_by_nnunet_at_any_length(find_trainer: FindTrainer, name: str, suffix: str) -> None:
    found = find_trainer(name + suffix)
    assert found.__name__ == name + suffix
    assert issubclass(found, nnUNetTrainer)
    assert found.source_file == str(FOLDER / f"{found.__module__}.py")


@pytest.mark.parametrize("name", ["SpineNoSuchTrainer", "SpineHybridTrainer_0epochs", "SpineHybridTrainer_5epoch"])
def test_an_unknown_name_is_not_found(find_trainer: FindTrainer, name: str) -> None:
    with pytest.raises(RuntimeError, match=f"Could not find requested nnunet trainer {name}"):
        find_trainer(name)


@pytest.mark.parametrize("name", TRAINERS)
def test_no_trainer_has_parameters_of_its_own(find_trainer: FindTrainer, name: str) -> None:
    """The base class looks every parameter of the constructor up among its own locals: KeyError."""
    ours = inspect.signature(find_trainer(name).__init__).parameters
    stock = inspect.signature(nnUNetTrainer.__init__).parameters
    assert list(ours) == list(stock)
    assert [p.kind for p in ours.values()] == [p.kind for p in stock.values()]


@pytest.mark.parametrize("name", TRAINERS)
def test_every_trainer_builds_its_network_by_the_new_signature(find_trainer: FindTrainer, name: str) -> None:
    """nnU-Net recognises the new signature by the name of the first parameter; the old one is deprecated."""
    parameters = list(inspect.signature(find_trainer(name).build_network_architecture).parameters)
    assert parameters == [
        "plans_manager",
        "configuration_manager",
        "num_input_channels",
        "num_output_channels",
        "enable_deep_supervision",
    ]


def build(trainer: type[nnUNetTrainer]) -> torch.nn.Module:
    manager = PlansManager(make_plans())
    network: torch.nn.Module = trainer.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 1, 3, False
    )
    return network


def test_two_look_ups_give_two_classes_and_both_work(find_trainer: FindTrainer) -> None:
    """So nothing of ours may compare trainer classes by identity."""
    first, second = find_trainer("SpineBaselineTrainer_2epochs"), find_trainer("SpineBaselineTrainer_2epochs")
    assert first is not second
    assert not issubclass(first, second)
    build(second).load_state_dict(build(first).state_dict())


def test_the_module_is_gone_after_the_look_up_and_the_class_works(find_trainer: FindTrainer) -> None:
    trainer = find_trainer("SpineBaselineTrainer")
    assert trainer.__module__ == "spine_baseline"
    assert "spine_baseline" not in sys.modules
    assert str(FOLDER) not in sys.path
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        assert build(trainer)


def test_the_trainer_itself_cannot_be_pickled(find_trainer: FindTrainer) -> None:
    """The trap that the rule against helpers in the folder is about; if it ever closes, the rule can go."""
    with pytest.raises((pickle.PicklingError, ModuleNotFoundError)):
        pickle.dumps(find_trainer("SpineBaselineTrainer"))


def test_what_the_paper_trainer_sends_to_workers_can_be_pickled(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("SpineHybridPaperTrainer")
    transforms = trainer.get_training_transforms([4, 8, 8], (0.0, 0.0), None, (0, 1, 2), False, [False])
    sent = pickle.loads(pickle.dumps(transforms))
    result = sent(image=torch.zeros(1, 4, 8, 8), segmentation=torch.full((1, 4, 8, 8), -1))
    assert result["segmentation"].unique().tolist() == [0]


def test_a_process_with_nothing_but_the_variable_finds_them(tmp_path: Path) -> None:
    code = (
        "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\n"
        "trainer = find('SpineHybridTrainer_3epochs')\n"
        "print(trainer.__name__, trainer.recipe.epochs, trainer.source_file)"
    )
    environment = {**os.environ, TRAINERS_VARIABLE: str(trainers_dir())}
    environment.pop("PYTHONPATH", None)
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert output.splitlines()[-1] == f"SpineHybridTrainer_3epochs 3 {FOLDER / 'spine_hybrid.py'}"


def test_a_folder_that_does_not_exist_is_skipped_and_only_the_error_shows_it(
    find_trainer: FindTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRAINERS_VARIABLE, "/no/such/folder")
    with pytest.raises(RuntimeError, match="nnUNet_extTrainer=/no/such/folder"):
        find_trainer("SpineHybridTrainer")


def test_our_folder_is_searched_first_and_the_others_stay(
    find_trainer: FindTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "from nnunet_spine_ext.training.trainer import SpineTrainer\nclass SpineOtherTrainer(SpineTrainer): pass\n"
    (tmp_path / "spine_other.py").write_text(other)
    monkeypatch.setenv(TRAINERS_VARIABLE, str(tmp_path))
    make_trainers_findable()
    make_trainers_findable()
    assert os.environ[TRAINERS_VARIABLE].split(os.pathsep) == [str(FOLDER), str(tmp_path)]
    assert find_trainer("SpineHybridTrainer").source_file == str(FOLDER / "spine_hybrid.py")
    assert find_trainer("SpineOtherTrainer").source_file == str(tmp_path / "spine_other.py")


@pytest.mark.parametrize("name", TRAINERS)
def test_every_trainer_says_what_it_tests_what_it_costs_and_how_to_run_it(find_trainer: FindTrainer, name: str) -> None:
    text = find_trainer(name).__doc__ or ""
    assert "Tests:" in text
    assert "Costs:" in text
    assert "nnUNetv2_train 50" in text
    assert f"-tr {name}" in text
