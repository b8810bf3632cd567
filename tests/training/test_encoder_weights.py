"""Published weights in an encoder: what arrives where, and what is refused, with made-up files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, nn

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks import registry
from nnunet_spine_ext.networks.vit_hybrid import HybridEncoder
from nnunet_spine_ext.training.encoder_weights import WEIGHTS_VARIABLE, adapted_first_weight, load_encoder_weights
from nnunet_spine_ext.training.slice_trainer import SliceTrainer
from tests.networks.tiny import PLANS
from tests.training.tiny import MakeTrainer, log_of, make_plans

ENCODER = "test_resnet"
FIRST = "conv1.0.weight"
"""The stem of timm's test_resnet: three convolutions."""


class Small(SliceTrainer):
    network_name = "res50-unet"
    network_options = {"encoder": ENCODER}  # noqa: RUF012


def published(seed: int = 0) -> dict[str, Tensor]:
    """The state of a whole published network, classifier included, with no two weights alike."""
    torch.manual_seed(seed)
    state = timm.create_model(ENCODER, pretrained=False).state_dict()
    return {key: torch.rand_like(value) if value.is_floating_point() else value for key, value in state.items()}


def network(**slices: Any) -> Any:
    words = {**PLANS["2d"].words(), "options": {"encoder": ENCODER, "slices": slices}}
    return registry.build("res50-unet", words, input_channels=1, num_classes=2, patch_size=(4, 48, 32))


def saved(folder: Path, content: Any, name: str = "weights.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


# ---- what arrives ------------------------------------------------------------------------------------------------


def test_every_weight_of_the_encoder_is_the_published_one(tmp_path: Path) -> None:
    state, made = published(), network(neighbours=2, coordinates=True)
    head = {key: value.clone() for key, value in made.state_dict().items() if ".encoder." not in key}
    line = load_encoder_weights(made, file=saved(tmp_path, state))
    encoder = made.network.encoder.network.state_dict()
    assert len(encoder) > 50
    for key, value in encoder.items():
        if key != FIRST:
            torch.testing.assert_close(value, state[key], atol=0, rtol=0)
    assert all(torch.equal(made.state_dict()[key], value) for key, value in head.items())
    assert f"{len(encoder)} entries from {tmp_path / 'weights.pth'}" in line
    assert "the first convolution from 3 channels to 7, 2 of them maps" in line
    assert "not used: fc.weight, fc.bias" in line


def test_image_channels_get_the_mean_colour_and_maps_nothing(tmp_path: Path) -> None:
    state, made = published(), network(neighbours=2, coordinates=True)
    load_encoder_weights(made, file=saved(tmp_path, state))
    first = made.network.encoder.network.state_dict()[FIRST]
    assert first.shape[1] == 7
    for channel in range(5):
        torch.testing.assert_close(first[:, channel], state[FIRST].mean(1) * 3 / 5)
    assert not first[:, 5:].any()


def test_equal_slices_give_what_equal_colours_gave() -> None:
    weight, grey = torch.randn(8, 3, 3, 3), torch.randn(2, 1, 9, 9)
    expected = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight)
    adapted = adapted_first_weight(weight, channels=7, coordinate_channels=2)
    image = torch.cat((grey.expand(-1, 5, -1, -1), torch.rand(2, 2, 9, 9)), dim=1)
    torch.testing.assert_close(nn.functional.conv2d(image, adapted), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("slices", "channels"), [({}, 1), ({"neighbours": 1}, 3), ({"neighbours": 2}, 5), ({"coordinates": True}, 3)]
)
def test_any_number_of_slices(tmp_path: Path, slices: dict[str, Any], channels: int) -> None:
    state, made = published(), network(**slices)
    load_encoder_weights(made, file=saved(tmp_path, state))
    first = made.network.encoder.network.state_dict()[FIRST]
    assert first.shape[1] == channels
    images = channels - 2 * bool(slices.get("coordinates"))
    for channel in range(images):  # also of three: slices are no colours
        torch.testing.assert_close(first[:, channel], state[FIRST].mean(1) * 3 / images)
    assert not first[:, images:].any()


def test_channels_of_a_training_of_ones_own_are_kept(tmp_path: Path) -> None:
    state, made = published(), network(neighbours=2)
    state[FIRST] = torch.randn(len(state[FIRST]), 5, *state[FIRST].shape[2:])
    load_encoder_weights(made, file=saved(tmp_path, state))
    assert torch.equal(made.network.encoder.network.state_dict()[FIRST], state[FIRST])


@pytest.mark.parametrize("container", [None, "state_dict", "model"])
def test_files_of_training_scripts_are_understood(tmp_path: Path, container: str | None) -> None:
    state = {f"module.{key}": value for key, value in published().items() if not key.endswith("num_batches_tracked")}
    made = network()
    load_encoder_weights(made, file=saved(tmp_path, {container: state, "epoch": 3} if container else state))
    assert torch.equal(made.network.encoder.network.state_dict()["bn1.weight"], state["module.bn1.weight"])


def test_safetensors_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = published()
    save_file(state, str(tmp_path / "weights.safetensors"))
    made = network()
    load_encoder_weights(made, file=tmp_path / "weights.safetensors")
    assert torch.equal(made.network.encoder.network.state_dict()["bn1.weight"], state["bn1.weight"])


def test_wrappers_are_seen_through(tmp_path: Path) -> None:
    state, made = published(), network()
    load_encoder_weights(torch.compile(made), file=saved(tmp_path, state))  # type: ignore[arg-type]
    assert torch.equal(made.network.encoder.network.state_dict()["bn1.weight"], state["bn1.weight"])


def hybrid_state(edge: int) -> dict[str, Tensor]:
    """The state of a published hybrid transformer: a square grid, and a class with its own position vector."""
    torch.manual_seed(1)
    state = hybrid((16 * edge, 16 * edge)).transformer.state_dict()
    state["pos_embed"] = torch.randn(1, 1 + edge**2, 32)
    return {**state, "cls_token": torch.randn(1, 1, 32), "head.weight": torch.randn(5, 32)}


def hybrid(size: tuple[int, int]) -> HybridEncoder:
    return HybridEncoder(1, size=size, blocks=(1, 1, 1), width=32, embedding=32, depth=1, heads=2, dropout=0.0)


def test_a_transformer_gets_position_vectors_for_its_grid(tmp_path: Path) -> None:
    state = hybrid_state(3)
    # A ramp along the columns: bicubic interpolation keeps its rise and that no row differs from another.
    state["pos_embed"][0, 1:] = torch.arange(3.0).repeat(3)[:, None].expand(9, 32)
    made = hybrid((64, 32))
    line = load_encoder_weights(made, file=saved(tmp_path, state))
    assert torch.equal(made.transformer.state_dict()["norm.weight"], state["norm.weight"])
    vectors = made.transformer.pos_embed.detach().view(4, 2, 32)
    assert (vectors[:, 1] > vectors[:, 0] + 0.5).all()
    torch.testing.assert_close(vectors, vectors[:1].expand(4, 2, 32))
    assert "position vectors for a grid of 4 x 2" in line
    assert "cls_token" in line


def test_position_vectors_of_the_same_grid_stay_as_they_are(tmp_path: Path) -> None:
    state, made = hybrid_state(3), hybrid((48, 48))
    load_encoder_weights(made, file=saved(tmp_path, state))
    assert torch.equal(made.transformer.pos_embed.detach(), state["pos_embed"][:, 1:])


# ---- what is refused ---------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=f"{WEIGHTS_VARIABLE} names .*absent.pth, which does not exist"):
        load_encoder_weights(network(), file=tmp_path / "absent.pth")


def test_the_weights_of_another_network_are_refused_and_none_is_loaded(tmp_path: Path) -> None:
    made = network()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    other = timm.create_model("resnet18", pretrained=False).state_dict()
    with pytest.raises(SetupError, match=r"does not fit the encoder .* lacks conv1\.0\.weight") as caught:
        load_encoder_weights(made, file=saved(tmp_path, other))
    assert "has " in str(caught.value)  # bn1 is there, but of another width
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())


@pytest.mark.parametrize("content", [b"no weights at all", None])
def test_what_is_no_state_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save({"epoch": 3, "loss": [1.0]}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(SetupError, match=r"weights\.pth (cannot be read|is no state)"):
        load_encoder_weights(network(), file=path)


def test_a_file_may_not_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.write_text, (tmp_path / "ran", "code")

    with pytest.raises(SetupError, match="cannot be read"):
        load_encoder_weights(network(), file=saved(tmp_path, Evil()))
    assert not (tmp_path / "ran").exists()


# ---- in a training -----------------------------------------------------------------------------------------------


def test_a_training_begins_with_the_file(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = published()
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(saved(tmp_path, state)))
    trainer = make_trainer(Small)
    trainer.initialize()
    assert torch.equal(trainer.network.network.encoder.network.state_dict()["bn1.weight"], state["bn1.weight"])
    assert "Encoder weights: " in log_of(trainer)


def test_a_training_without_the_variable_says_nothing(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Small)
    trainer.initialize()
    assert "Encoder weights" not in log_of(trainer)


def test_a_wrong_file_stops_the_training_but_not_a_prediction(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "absent.pth"))
    with pytest.raises(SetupError, match="absent"):
        make_trainer(Small).initialize()
    manager = PlansManager(make_plans())
    # What nnU-Net's predictor calls.
    Small.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 1, 3, False)


def test_a_network_without_published_encoder_is_told(tmp_path: Path) -> None:
    line = load_encoder_weights(nn.Conv2d(1, 1, 1), file=saved(tmp_path, published()))
    assert line.startswith("WARNING")
    assert "Conv2d has no published encoder" in line


def test_a_trainer_of_a_network_without_published_encoder_tells_that_the_file_is_not_used(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(saved(tmp_path, published())))
    trainer = make_trainer("SpineBaselineTrainer")
    trainer.initialize()
    assert f"WARNING: {WEIGHTS_VARIABLE} has no effect: PlainConvUNet has no published encoder." in log_of(trainer)
