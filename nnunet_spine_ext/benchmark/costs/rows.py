"""The rows of costs.csv for one model: each quantity with its unit, and in the note what it is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from nnunet_spine_ext.benchmark.costs.counts import NetworkCount, TrainingCount
from nnunet_spine_ext.benchmark.costs.inference import PredictionCost
from nnunet_spine_ext.benchmark.costs.logs import TrainingTime
from nnunet_spine_ext.benchmark.costs.timing import StepTimes

GB = 2**30

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "parameters": "weights",
        "gmac": "GMAC",
        "counted_training_memory_gb": "GB",
        "measured_training_memory_gb": "GB",
        "iteration_seconds": "s",
        "iteration_seconds_with_loading": "s",
        "training_hours": "h",
        "inference_seconds_per_case": "s",
        "inference_peak_memory_gb": "GB",
    }
)
"""Quantity → unit, in the order of the table. GB are of 2^30 bytes, as a GPU "with 8 GB" has 8."""

COLUMNS = ("model", "quantity", "value", "unit", "note")


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """A line of costs.csv."""

    model: str
    quantity: str
    value: float | None
    """None: not measured; the note says why."""
    note: str

    def cells(self) -> tuple[str, ...]:
        """Return the line as text."""
        value = "" if self.value is None else repr(self.value)
        return self.model, self.quantity, value, UNITS[self.quantity], self.note


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Times of a model and where they were taken."""

    on: str
    """The GPU's name; or CPU, with its name."""
    times: StepTimes


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A measured prediction and where it was made."""

    on: str
    cost: PredictionCost


@dataclass(frozen=True, kw_only=True)
class ModelCosts:
    """What is known of one model; in place of what is not known stands the reason."""

    title: str
    network: NetworkCount | str
    training: TrainingCount | str
    measured: Measured | str
    logged: TrainingTime | str
    predicted: Predicted | str

    def rows(self) -> list[CostRow]:
        """Return a row for each quantity, in the order of the table."""
        found = dict(self._values())
        return [CostRow(model=self.title, quantity=q, value=found[q][0], note=found[q][1]) for q in UNITS]

    def _values(self) -> Iterator[tuple[str, tuple[float | None, str]]]:
        yield "parameters", _parameters(self.network)
        yield "gmac", _gmac(self.network)
        yield "counted_training_memory_gb", _counted_memory(self.training)
        yield "measured_training_memory_gb", _measured_memory(self.measured)
        yield "iteration_seconds", _iteration(self.measured)
        yield "iteration_seconds_with_loading", _iteration_with_loading(self.measured, self.logged)
        yield "training_hours", _hours(self.logged)
        yield "inference_seconds_per_case", _seconds_per_case(self.predicted)
        yield "inference_peak_memory_gb", _prediction_memory(self.predicted)


Value = tuple[float | None, str]


def _parameters(network: NetworkCount | str) -> Value:
    if isinstance(network, str):
        return None, network
    frozen = f"{network.frozen_parameters} of them never learn" if network.frozen_parameters else ""
    return network.parameters, frozen


def _gmac(network: NetworkCount | str) -> Value:
    if isinstance(network, str):
        return None, network
    channels, *patch = network.input_size
    size = "×".join(map(str, patch))
    return network.gmac, f"one forward pass on a patch of {size} voxels, {_several(channels, 'channel')}"


def _counted_memory(training: TrainingCount | str) -> Value:
    if isinstance(training, str):
        return None, training
    note = f"batch {training.batch_size}, half precision; {training.overhead_gb:.1f} GB of it assumed for CUDA"
    return round(training.memory_gb, 3), note


def _measured_memory(measured: Measured | str) -> Value:
    if isinstance(measured, str):
        return None, measured
    times = measured.times
    if times.reserved_bytes is None or times.allocated_bytes is None:
        return None, "no GPU"
    note = (
        f"{measured.on}; {_setting(times)}; reserved by torch, of which tensors took "
        f"{times.allocated_bytes / GB:.2f} GB; the CUDA context comes on top"
    )
    return times.reserved_bytes / GB, note


def _iteration(measured: Measured | str) -> Value:
    if isinstance(measured, str):
        return None, measured
    return median(measured.times.seconds), f"{_how_timed(measured)}; always the same batch, on the device already"


def _iteration_with_loading(measured: Measured | str, logged: TrainingTime | str) -> Value:
    if isinstance(measured, Measured):
        workers = measured.times.loading_processes
        source = _several(workers, "loading process") if workers else "the training process itself"
        return median(measured.times.seconds_with_loading), f"{_how_timed(measured)}; batches from {source}"
    if isinstance(logged, str) or logged.iterations is None:
        return None, measured
    note = f"{_trained_on(logged)}; from the logs: an epoch over its {logged.iterations} steps, validation included"
    return logged.epoch_seconds / logged.iterations, note


def _hours(logged: TrainingTime | str) -> Value:
    if isinstance(logged, str):
        return None, logged
    note = (
        f"{_trained_on(logged)}; one fold: {_several(logged.epochs, 'epoch')} of {logged.epoch_seconds:g} s (median of "
        f"the logs of fold {', '.join(logged.folds)}), without the validation at the end"
    )
    return logged.hours, note


def _seconds_per_case(predicted: Predicted | str) -> Value:
    if isinstance(predicted, str):
        return None, predicted
    cost = predicted.cost
    axes = " and ".join(map(str, cost.mirroring_axes))
    mirroring = f"mirrored along axis {axes}" if cost.mirroring_axes else "no mirroring"
    note = (
        f"{predicted.on}; median of {_several(len(cost.seconds), 'case')} ({', '.join(cost.cases)}), one after the "
        f"other, from file to file; fold {cost.fold} alone, {mirroring}"
    )
    return median(cost.seconds), note


def _prediction_memory(predicted: Predicted | str) -> Value:
    if isinstance(predicted, str):
        return None, predicted
    cost = predicted.cost
    if cost.peak_bytes is None:
        return None, "this system does not say"
    gpu = f"; on the GPU {cost.gpu_peak_bytes / GB:.2f} GB" if cost.gpu_peak_bytes is not None else ""
    return cost.peak_bytes / GB, f"{predicted.on}; main memory of the predicting process, which has no children{gpu}"


def _how_timed(measured: Measured) -> str:
    times = measured.times
    blocks = f"median of {_several(len(times.seconds), 'block')} of {_several(times.steps, 'step')}"
    return f"{measured.on};{_company(times)} {_setting(times)}; {blocks} after {times.warm_up_steps} for warming up"


def _company(times: StepTimes) -> str:
    """Say what else was at work: times taken beside it are no times of the model."""
    found = ""
    if times.used_by_others_bytes is not None and times.used_by_others_bytes > GB:
        found += f" NOT ALONE: {times.used_by_others_bytes / GB:.1f} GB of the GPU were in use before;"
    if times.load_before is not None and times.cores is not None and times.load_before > times.cores + 1:
        found += f" NOT ALONE: load average {times.load_before:.1f} on {_several(times.cores, 'core')} before;"
    return found


def _setting(times: StepTimes) -> str:
    return f"batch {times.batch_size}, {times.precision}, {'torch.compile' if times.compiled else 'not compiled'}"


def _trained_on(logged: TrainingTime) -> str:
    return " and ".join("CPU" if device == "cpu" else device for device in logged.devices)


def _several(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
