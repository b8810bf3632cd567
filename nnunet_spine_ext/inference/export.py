"""Label maps written by nnU-Net's own writer; a kill leaves no half file for --continue_prediction to keep."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from numpy.typing import NDArray

from nnunet_spine_ext.data.files import writing
from nnunet_spine_ext.inference.label_maps import Model, label_map


def export(
    logits: NDArray[Any],
    properties: Mapping[str, Any],
    target: Path,
    *,
    model: Model,
    file_ending: str,
    pool: Executor | None = None,
    threads: int = 1,
) -> None:
    """Write the label map of a case to `target` + `file_ending`; for the rest see `label_map`.

    Raises:
        DataError: the file cannot be written.
    """
    labels = label_map(logits, properties, model=model, pool=pool, threads=threads)
    file = target.with_name(target.name + file_ending)
    with writing(file), TemporaryDirectory(prefix=".unfinished_", dir=target.parent) as folder:
        # The writer chooses the format by the name, and may write a second file (.json beside .tif).
        model.plans.image_reader_writer_class().write_seg(labels, str(Path(folder) / file.name), properties)
        for written in sorted(Path(folder).iterdir(), key=lambda path: path == Path(folder) / file.name):
            written.replace(target.parent / written.name)


def export_as_nnunet(
    predicted_array_or_file: Any,  # noqa: ANN401
    properties_dict: dict[str, Any],
    configuration_manager: Any,  # noqa: ANN401
    plans_manager: Any,  # noqa: ANN401
    dataset_json_dict_or_file: dict[str, Any],
    output_file_truncated: str,
    save_probabilities: bool = False,
) -> None:
    """Take the place of nnU-Net's `export_prediction_from_logits`, with its arguments."""
    labels = plans_manager.get_label_manager(dataset_json_dict_or_file)
    model = Model(plans=plans_manager, configuration=configuration_manager, labels=labels)
    reason = why_not_lean(model, save_probabilities=save_probabilities)
    if reason:
        print(not_lean_note(reason))
        export_prediction_from_logits(
            predicted_array_or_file,
            properties_dict,
            configuration_manager,
            plans_manager,
            dataset_json_dict_or_file,
            output_file_truncated,
            save_probabilities,
        )
        return
    ending = dataset_json_dict_or_file["file_ending"]
    target = Path(output_file_truncated)
    export(np.asarray(predicted_array_or_file), properties_dict, target, model=model, file_ending=ending)


def why_not_lean(model: Model, *, save_probabilities: bool) -> str | None:
    """Return why a case has to be exported by nnU-Net itself; None if it need not."""
    return "probabilities are asked for" if save_probabilities else model.why_not_lean()


def not_lean_note(reason: str) -> str:
    """Return the line that says so."""
    return f"nnU-Net's own export, with the logits of all channels at the size of the image, because {reason}."
