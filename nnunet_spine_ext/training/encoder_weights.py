"""Published weights for the encoder of a network, from a local file, when a training begins.

    export NNUNET_SPINE_ENCODER_WEIGHTS=/path/resnext50_32x4d.pth

The file holds the state of the whole published network (timm's or torchvision's, `.pth`, `.bin` or `.safetensors`);
classifiers in it are not used. Nothing is downloaded, and prediction never reads it: it has the trained weights.

The first convolution of a published network sees red, green and blue; here it sees n channels of grey images
(modalities times slices) and perhaps two coordinate maps. Each image channel gets the mean over the published channels
times 3 / n, so that n equal images give what three equal colours gave; coordinate maps begin with 0, without influence.
A transformer's position vectors (TransUNet) are interpolated to the grid of the patch; that of its class is left out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks.slices import SliceWise
from nnunet_spine_ext.training.network import unwrapped

WEIGHTS_VARIABLE = "NNUNET_SPINE_ENCODER_WEIGHTS"

COLOURS = 3
COORDINATE_CHANNELS = 2

_CONTAINERS = ("state_dict", "model", "model_state_dict")
"""Keys under which training scripts put the state of a network."""
_COUNTER = "num_batches_tracked"
"""Of BatchNorm; older files have none, and its value is without effect here."""
_POSITIONS = "pos_embed"
_SHOWN = 4


def load_encoder_weights(network: nn.Module, *, file: Path) -> str:
    """Load published weights into the encoder of `network`, in place; return a line for the log.

    Args:
        network: built, perhaps compiled or wrapped for several GPUs.
        file: with the state of the published network.

    Raises:
        SetupError: no such file, or one that does not fit the encoder; the message names what does not.
    """
    inner = unwrapped(network)
    encoders = list(_published_parts(inner))
    if not encoders:
        return f"WARNING: {WEIGHTS_VARIABLE} has no effect: {type(inner).__name__} has no published encoder."
    maps = COORDINATE_CHANNELS if isinstance(inner, SliceWise) and inner.coordinates else 0
    lines = [_load(encoder, _read(file), coordinate_channels=maps, file=file) for encoder in encoders]
    return "\n".join(lines)


def file_in_environment() -> Path | None:
    """Return the file that the environment names, or None."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    return Path(named).expanduser() if named else None


def adapted_first_weight(published: Tensor, *, channels: int, coordinate_channels: int) -> Tensor:
    """Return the first convolution's weight (O, 3, h, w) for `channels`, of which the last are coordinate maps.

    Three published channels are colours. Any other number that is the right one is a training of one's own, whose
    channels are kept.
    """
    if published.shape[1] == channels != COLOURS:
        return published
    images = channels - coordinate_channels
    image = (published.sum(dim=1, keepdim=True) / images).expand(-1, images, -1, -1)
    maps = image.new_zeros((len(image), coordinate_channels, *image.shape[2:]))
    return torch.cat((image, maps), dim=1)


def adapted_positions(published: Tensor, *, grid: Sequence[int]) -> Tensor:
    """Return position vectors (1, N, E) of a square grid, perhaps with that of a class before them, for `grid`."""
    edge = math.isqrt(published.shape[1])
    vectors = published[:, published.shape[1] - edge**2 :]
    if list(grid) == [edge, edge]:
        return vectors
    square = vectors.float().reshape(1, edge, edge, -1).permute(0, 3, 1, 2)
    resized = functional.interpolate(square, size=tuple(grid), mode="bicubic", antialias=True, align_corners=False)
    return resized.flatten(2).transpose(1, 2)


def _published_parts(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a network whose weights have the names of a published network's."""
    # timm takes seconds to import, and finding a trainer must not.
    from nnunet_spine_ext.networks.backbones.encoder import BackboneEncoder
    from nnunet_spine_ext.networks.vit_hybrid import HybridEncoder

    for module in network.modules():
        if isinstance(module, BackboneEncoder):
            yield module.network
        elif isinstance(module, HybridEncoder):
            yield module.transformer if module.tied else module.resnet


def _load(encoder: nn.Module, published: Mapping[str, Tensor], *, coordinate_channels: int, file: Path) -> str:
    state = encoder.state_dict()
    first = _first_convolution(encoder)
    chosen = {key: value for key, value in published.items() if key in state}
    note = ""
    if first in chosen and chosen[first].ndim == state[first].ndim:
        before, channels = chosen[first].shape[1], state[first].shape[1]
        chosen[first] = adapted_first_weight(chosen[first], channels=channels, coordinate_channels=coordinate_channels)
        note = f"the first convolution from {before} channels to {channels}, {coordinate_channels} of them maps"
    if _POSITIONS in state and _POSITIONS in chosen:
        grid = encoder.patch_embed.grid_size  # type: ignore[union-attr]
        chosen[_POSITIONS] = adapted_positions(chosen[_POSITIONS], grid=grid)  # type: ignore[arg-type]
        note += f", position vectors for a grid of {' x '.join(map(str, grid))}"  # type: ignore[arg-type]
    _check(state, chosen, file=file)
    encoder.load_state_dict(chosen, strict=False)
    unused = [key for key in published if key not in state]
    return f"Encoder weights: {len(chosen)} entries from {file}, {note}; not used: {_listed(unused) or 'none'}."


def _check(state: Mapping[str, Tensor], chosen: Mapping[str, Tensor], *, file: Path) -> None:
    missing = [key for key in state if key not in chosen and not key.endswith(_COUNTER)]
    misfits = [
        f"{key} {tuple(chosen[key].shape)} instead of {tuple(state[key].shape)}"
        for key in chosen
        if chosen[key].shape != state[key].shape
    ]
    if missing or misfits:
        found = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has {_listed(misfits)}"] * bool(misfits)
        raise SetupError(
            f"{file} does not fit the encoder of this network: it {' and '.join(found)}. Give {WEIGHTS_VARIABLE} the "
            "state of the encoder that the network's options name, under timm's or torchvision's names, or unset it."
        )


def _read(file: Path) -> Mapping[str, Tensor]:
    """Return the state in a file, without the container or prefix of a training script."""
    if not file.is_file():
        raise SetupError(f"{WEIGHTS_VARIABLE} names {file}, which does not exist. Correct it, or unset it.")
    try:
        content = _loaded(file)
    except Exception as error:
        raise SetupError(f"{file} cannot be read as weights ({type(error).__name__}: {error}).") from error
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise SetupError(f"{file} is no state of a network: expected names and tensors.")
    return {key.removeprefix("module."): value for key, value in content.items()}


def _loaded(file: Path) -> Any:  # noqa: ANN401  (whatever a file holds)
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file  # comes with timm

        return load_file(file)
    # Tensors only: a file from elsewhere must not run code.
    return torch.load(file, map_location="cpu", weights_only=True)


def _first_convolution(encoder: nn.Module) -> str:
    return next(f"{name}.weight" for name, module in encoder.named_modules() if isinstance(module, nn.Conv2d))


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    rest = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + rest
