"""nnU-Net's predictor with a lean export: the same label maps, with less memory, from threads instead of processes.

The sliding window is nnU-Net's. A case's label map is made (`label_maps`) while the network works on the next one, so
the logits of two cases exist at most. `-npp` and `-nps` count threads here.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from nnunetv2.configuration import default_num_processes
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from nnunetv2.utilities.helpers import empty_cache

from nnunet_spine_ext.inference.export import export, export_as_nnunet, not_lean_note, why_not_lean
from nnunet_spine_ext.inference.label_maps import Array, Model, label_map
from nnunet_spine_ext.inference.preprocessing import Case, listed_cases, preprocessed_cases
from nnunet_spine_ext.inference.rebinding import rebound


class TorchInChannels:
    """Torch, but `isinf` looks at one channel after the other and answers for each as a whole."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(torch, name)

    @staticmethod
    def isinf(logits: torch.Tensor) -> torch.Tensor:
        """Return for each channel (axis 0) whether a value is infinite."""
        return torch.stack([torch.isinf(channel).any() for channel in logits])


class LeanPredictor(nnUNetPredictor):
    """`nnUNetPredictor` whose label maps are made structure by structure.

    What cannot be made so with the same result (probabilities, resampling or label managers of other plans) is left to
    nnU-Net's own code, which a line in the output says.
    """

    predict_from_files_sequential = rebound(
        nnUNetPredictor.predict_from_files_sequential, export_prediction_from_logits=export_as_nnunet
    )

    _manage_input_and_output_lists = rebound(
        nnUNetPredictor._manage_input_and_output_lists, create_lists_from_splitted_dataset_folder=listed_cases
    )

    # Untouched but for its check, which takes one and a half times the memory of all logits.
    _internal_predict_sliding_window_return_logits = torch.inference_mode()(
        rebound(inspect.unwrap(nnUNetPredictor._internal_predict_sliding_window_return_logits), torch=TorchInChannels())
    )

    def _internal_get_data_iterator_from_lists_of_filenames(
        self,
        input_list_of_lists: Sequence[Any],
        seg_from_prev_stage_files: Sequence[Any] | None,
        output_filenames_truncated: Sequence[Any] | None,
        num_processes: int,
    ) -> Iterable[Case]:
        none = [None] * len(input_list_of_lists)
        return preprocessed_cases(
            input_list_of_lists,
            seg_from_prev_stage_files or none,
            output_filenames_truncated or none,
            plans=self.plans_manager,
            dataset_json=self.dataset_json,
            configuration=self.configuration_manager,
            threads=num_processes,
            verbose=self.verbose_preprocessing,
        )

    def predict_from_data_iterator(
        self,
        data_iterator: Iterable[Case],
        save_probabilities: bool = False,
        num_processes_segmentation_export: int = default_num_processes,
    ) -> list[Any]:
        """Predict and export every case, as nnU-Net's method of this name does.

        Args:
            data_iterator: preprocessed cases; `data` is a tensor.
            save_probabilities: leaves the export to nnU-Net.
            num_processes_segmentation_export: threads that resample and decide parts of a case.

        Returns:
            For each case None, or its label map if it has no output file.
        """
        model = Model(plans=self.plans_manager, configuration=self.configuration_manager, labels=self.label_manager)
        reason = why_not_lean(model, save_probabilities=save_probabilities)
        try:
            if reason:
                print(not_lean_note(reason))
                written: list[Any] = super().predict_from_data_iterator(
                    data_iterator, save_probabilities, num_processes_segmentation_export
                )
                return written
            return self._predict_lean(data_iterator, model, threads=max(1, num_processes_segmentation_export))
        finally:
            if isinstance(data_iterator, Generator):
                data_iterator.close()  # or its threads would wait for ever after an error
            compute_gaussian.cache_clear()
            empty_cache(self.device)

    def _predict_lean(self, cases: Iterable[Case], model: Model, *, threads: int) -> list[Any]:
        results: list[Future[Array | None]] = []
        # One case is exported at a time; its parts are shared out to the pool.
        with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as exporter:
            for case in cases:
                name = Path(case["ofile"]).name if case["ofile"] else f"image of shape {tuple(case['data'].shape)}"
                print(f"\nPredicting {name}:", flush=True)
                logits = self.predict_logits_from_preprocessed_data(case["data"]).cpu().numpy()
                if results:
                    results[-1].result()
                results.append(exporter.submit(self._finish, logits, case, model, pool, threads))
                del logits
            print("The network is done; waiting for the last label map.", flush=True)
            return [result.result() for result in results]

    def _finish(self, logits: Array, case: Case, model: Model, pool: ThreadPoolExecutor, threads: int) -> Array | None:
        """Write the label map of a case, or return it."""
        if case["ofile"] is None:
            return label_map(logits, case["data_properties"], model=model, pool=pool, threads=threads)
        export(
            logits,
            case["data_properties"],
            Path(case["ofile"]),
            model=model,
            file_ending=self.dataset_json["file_ending"],
            pool=pool,
            threads=threads,
        )
        return None
