"""The counted memory against hand values, against real steps, and under the rules of CUDA's autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnunet_spine_ext.errors import PlanError, SetupError
from nnunet_spine_ext.planning.losses import nnunet_loss
from nnunet_spine_ext.planning.memory import CUDA_OVERHEAD_BYTES, TrainingMemory, count_training_memory
from nnunet_spine_ext.planning.simulation import cuda_autocast_available, fake_mode, training_autocast
from tests.planning.steps import hybrid, plain, real_step, residual

OUTPUTS = 3  # of the four-stage networks in steps.py

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain 2d": (lambda: plain(2), (32, 48)),
    "plain 3d": (lambda: plain(), (16, 16, 24)),
    "plain 3d thick slices": (lambda: plain(thick_slices=True), (6, 32, 32)),
    "residual 3d": (lambda: residual(), (16, 16, 16)),
    "residual 3d thick slices": (lambda: residual(thick_slices=True), (6, 32, 32)),
    "hybrid 2d": (lambda: hybrid(2), (32, 32)),
    "hybrid 3d": (lambda: hybrid(thick_slices=True), (6, 32, 32)),
    "hybrid 3d kept": (lambda: hybrid(thick_slices=True, recompute=False), (6, 32, 32)),
    "hybrid 3d residual": (lambda: hybrid(thick_slices=True, plane_block="res", link_block="res"), (6, 32, 32)),
}


def count(build: Callable[[], nn.Module], patch: tuple[int, ...], *, batch: int = 2, **keywords: Any) -> TrainingMemory:
    keywords = {"loss": nnunet_loss(deep_supervision_outputs=OUTPUTS), "precision": "fp32", **keywords}
    return count_training_memory(build, patch_size=patch, batch_size=batch, input_channels=1, **keywords)


def conv_relu() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())


def test_hand_counted_step_in_full_precision() -> None:
    memory = count(conv_relu, (4, 6), loss=None)
    weights = (2 * 1 * 3 * 3 + 2) * 4
    image, target, feature_map = 2 * 1 * 4 * 6 * 4, 2 * 1 * 4 * 6 * 2, 2 * 2 * 4 * 6 * 4
    assert (memory.weights, memory.gradients, memory.optimizer) == (weights, weights, weights)
    assert memory.inputs == image + target
    assert memory.activations == feature_map  # ReLU's output; the convolution needs only image and weights
    # The most lives while the convolution's gradient is computed: ReLU's output and gradient, and the new gradients.
    most = 3 * weights + image + target + 2 * feature_map
    assert most <= memory.peak <= most + 32  # a few scalars of the loss
    assert memory.overhead == 0
    assert memory.total == memory.peak


def test_hand_counted_step_in_half_precision() -> None:
    memory = count(conv_relu, (4, 6), loss=None, precision="fp16")
    half_image, half_map, half_kernel = 2 * 4 * 6 * 2, 2 * 2 * 4 * 6 * 2, 2 * 9 * 2
    assert memory.weights == memory.gradients == (2 * 9 + 2) * 4  # weights and gradients stay in full precision
    assert memory.activations == half_image + half_map
    assert memory.weight_copies == half_kernel
    assert memory.total == memory.peak + CUDA_OVERHEAD_BYTES


def test_a_torch_that_cannot_count_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.8.0+cu128"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match=r"torch 2\.8\.0.* Plan on a machine with a GPU, or install a newer torch"):
        count(conv_relu, (4, 6), loss=None, precision="fp16")
    assert count(conv_relu, (4, 6), loss=None).peak > 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert count(conv_relu, (4, 6), loss=None, precision="fp16").peak > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_bytes_equal_those_of_a_real_step(name: str) -> None:
    build, patch = NETWORKS[name]
    loss = nnunet_loss(deep_supervision_outputs=OUTPUTS)
    assert count(build, patch).activations == real_step(build(), patch=patch, batch=2, loss=loss).saved_bytes()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch on one thread: with more, its CPU convolutions allocate a buffer for each, which no GPU has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["plain 3d thick slices", "residual 3d thick slices", "hybrid 3d"])
def test_peak_equals_what_the_allocator_reports_in_a_real_step(name: str) -> None:
    build, _ = NETWORKS[name]
    patch, loss = (6, 64, 64), nnunet_loss(deep_supervision_outputs=OUTPUTS)
    memory = count(build, patch, optimizer_state_per_parameter=0)
    real = real_step(build(), patch=patch, batch=2, loss=loss).cpu_peak_bytes()
    assert abs(memory.peak - real) < 1024  # of some 40 MB: scalars that an operation makes inside


def test_memory_grows_by_the_same_amount_with_each_sample() -> None:
    counted = [count(plain, (64, 64, 64), batch=batch, precision="fp16") for batch in (1, 2, 3, 4)]
    for amount in ("activations", "inputs", "peak"):
        values = [getattr(memory, amount) for memory in counted]
        steps = {later - earlier for earlier, later in pairwise(values)}
        assert len(steps) == 1, amount


def test_any_size_is_counted_without_having_it() -> None:
    memory = count(plain, (1024, 1024, 1024), precision="fp16")
    assert memory.total_gb > 500


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        # torch's documented lists for CUDA: run in half precision ...
        (lambda x, _: nn.Conv3d(4, 4, 3)(x), torch.float16),
        (lambda x, _: nn.ConvTranspose3d(4, 4, 2)(x), torch.float16),
        (lambda x, _: x.flatten(1) @ x.flatten(1).T, torch.float16),
        (lambda x, _: nn.Linear(4, 4)(x), torch.float16),
        # ... in full precision ...
        (lambda _, h: nn.GroupNorm(1, 4)(h), torch.float32),
        (lambda _, h: nn.LayerNorm(4)(h), torch.float32),
        (lambda _, h: functional.softmax(h, 1), torch.float32),
        (lambda _, h: h.sum(), torch.float32),
        (lambda _, h: h**2, torch.float32),
        (lambda _, h: functional.cross_entropy(h, h[:, 0].long()), torch.float32),
        # ... the widest type of what they get ...
        (lambda x, h: torch.cat([x, h]), torch.float32),
        # ... and all others as they come.
        (lambda _, h: nn.InstanceNorm3d(4, affine=True)(h), torch.float16),
        (lambda _, h: functional.gelu(h), torch.float16),
        (lambda _, h: functional.leaky_relu(h), torch.float16),
        (lambda _, h: functional.max_pool3d(h, 2), torch.float16),
    ],
)
def test_half_precision_follows_the_rules_of_cuda_autocast(
    operation: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], expected: torch.dtype
) -> None:
    with fake_mode(), torch.device("cuda"), cuda_autocast_available("fp16"), training_autocast("fp16"):
        x = torch.empty(2, 4, 4, 4, 4)
        assert operation(x, x.half()).dtype == expected


def test_nothing_of_autocast_remains() -> None:
    count(conv_relu, (4, 6), loss=None, precision="fp16")
    assert not torch.is_autocast_enabled("cuda")
    assert torch.cuda.amp.common.amp_definitely_not_available() is not torch.cuda.is_available()


def test_losses_with_an_ignore_label_and_with_regions_are_counted() -> None:
    plain_loss = count(plain, (16, 16, 16))
    ignoring = count(plain, (16, 16, 16), loss=nnunet_loss(deep_supervision_outputs=OUTPUTS, ignore_label=4))
    regions = count(
        plain, (16, 16, 16), loss=nnunet_loss(deep_supervision_outputs=OUTPUTS, regions=True), target_channels=4
    )
    assert ignoring.activations > plain_loss.activations
    voxels = 2 * (16**3 + 8**3 + 4**3)
    assert regions.inputs - plain_loss.inputs == voxels * (4 * 1 - 2)  # four bool channels instead of one int16


def test_frozen_weights_have_no_gradient_and_no_momentum() -> None:
    def frozen() -> nn.Module:
        network = conv_relu()
        network[0].weight.requires_grad_(False)  # type: ignore[index,union-attr]
        return network

    memory = count(frozen, (4, 6), loss=None)
    assert memory.gradients == memory.optimizer == 2 * 4  # the bias


class ReadsValues(nn.Module):
    """A constructor that needs data (as drop-path schedules do), with a weight used twice."""

    def __init__(self) -> None:
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 0.5, 3)]
        self.first = nn.Conv2d(1, 1, 1, bias=False)
        self.second = nn.Conv2d(1, 1, 1, bias=False)
        self.second.weight = self.first.weight
        self.drop = nn.Dropout(rates[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.drop(self.first(x)))  # type: ignore[no-any-return]


def test_a_constructor_may_read_values_and_tied_weights_count_once() -> None:
    memory = count(ReadsValues, (4, 4), loss=None)
    assert memory.weights == memory.gradients == 4


def test_a_forward_pass_that_reads_values_is_named() -> None:
    class Branches(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * x.max().item()

    with pytest.raises(PlanError, match="Branches reads tensor values in Python"):
        count(lambda: Branches(1, 1, 1), (4, 4), loss=None)


def test_the_error_of_a_network_that_cannot_take_the_patch_comes_through() -> None:
    with pytest.raises(ValueError, match=r"divis|stride"):
        count(lambda: hybrid(thick_slices=True), (6, 30, 30))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["plain 3d thick slices", "hybrid 3d"])
def test_peak_is_what_a_gpu_reports(name: str) -> None:
    build, _ = NETWORKS[name]
    patch, loss = (12, 256, 256), nnunet_loss(deep_supervision_outputs=OUTPUTS)
    memory = count(build, patch, precision="fp16", optimizer_state_per_parameter=0)
    torch.backends.cudnn.benchmark = False
    step = real_step(build(), patch=patch, batch=2, loss=loss)
    network, image = step.network.cuda(), step.image.cuda()
    targets = [target.cuda() for target in step.targets]
    torch.cuda.reset_peak_memory_stats()
    with torch.autocast("cuda"):
        value = loss(network(image), targets)
    value.backward()
    assert memory.peak == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.1)


class Attention(nn.Module):
    """Self-attention over all positions, one head of 8 channels; `mask` as timm passes it."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(1, 24, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0.0)


def test_attention_on_a_gpu_does_not_keep_the_matrix_of_all_pairs() -> None:
    small, large = (count(Attention, (edge, edge), loss=None, precision="fp16").activations for edge in (32, 64))
    # Four times as many positions; the matrix of all pairs would be sixteen times as large.
    assert large < 4.1 * small
    pairs = 2 * (64 * 64) ** 2 * 2
    assert large < pairs / 20
