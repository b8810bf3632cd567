"""What torch.compile keeps between forward and backward pass, beside what the planner counts without it.

    python benchmarks/compiled_memory.py  >  benchmarks/compiled_memory.md
    python benchmarks/compiled_memory.py --only hybrid unetpp

nnU-Net compiles its networks on a GPU. Inductor's partition of forward and backward graph, with inductor's
decompositions, decides what is kept; it does so on any device. Here it is asked, in full precision on a patch that a
CPU can run, and nothing is compiled to code. Inputs and weights, which are there anyway, are left out on both sides;
the loss, which nnU-Net does not compile, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from functorch.compile import make_boxed_func, min_cut_rematerialization_partition
from measuring import MB, machine, size, table
from planned_networks import CLASSES, STOCK, planned_network
from torch import fx, nn
from torch._dynamo.backends.common import aot_autograd
from torch._inductor import lowering  # noqa: F401  (its decompositions of poolings need it and do not import it)
from torch._inductor.decomposition import select_decomp_table

from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.planning.memory import count_training_memory

PATCH, BATCH = (6, 128, 128), 2


class Partition:
    """Inductor's partition; remembers how much it keeps."""

    def __init__(self) -> None:
        self.kept = 0
        """Bytes, over all graphs of the network."""

    def __call__(
        self, joint: fx.GraphModule, inputs: object, *, num_fwd_outputs: int, **options: object
    ) -> tuple[fx.GraphModule, fx.GraphModule]:
        """Split the joint graph."""
        forward, backward = min_cut_rematerialization_partition(
            joint, inputs, num_fwd_outputs=num_fwd_outputs, **options
        )
        results = next(node for node in forward.graph.nodes if node.op == "output").args[0]
        self.kept += sum(_bytes(node) for node in results[num_fwd_outputs:])
        return forward, backward


def _bytes(node: object) -> int:
    value = node.meta.get("val") if isinstance(node, fx.Node) and node.op != "placeholder" else None
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0


def compiled_bytes(make: Callable[[], nn.Module]) -> int:
    """Return what the compiled network keeps for the backward pass."""
    torch._dynamo.reset()
    partition = Partition()
    backend = aot_autograd(
        fw_compiler=_as_it_is,
        bw_compiler=_as_it_is,
        partition_fn=partition,
        decompositions=select_decomp_table(),
    )
    torch.compile(make().train(), backend=backend)(torch.randn(BATCH, 1, *PATCH))
    return partition.kept


def _as_it_is(graph: fx.GraphModule, _: object) -> Callable[..., object]:
    boxed: Callable[..., object] = make_boxed_func(graph.forward)
    return boxed


def counted_bytes(make: Callable[[], nn.Module]) -> int:
    """Return what the planner counts for the same."""
    memory = count_training_memory(make, patch_size=PATCH, batch_size=BATCH, input_channels=1, precision="fp32")
    return memory.activations


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[STOCK, *NETWORKS], metavar="NETWORK")
    parser.add_argument("--quick", action="store_true", help="the hybrid and stock nnU-Net's network")
    given = parser.parse_args()
    rows = []
    for name in [STOCK, "hybrid"] if given.quick else given.only or [STOCK, *NETWORKS]:
        make = partial(planned_network, name, PATCH)
        counted, compiled = counted_bytes(make), compiled_bytes(make)
        rows.append(
            [f"`{name}`", f"{counted / MB:,.1f}", f"{compiled / MB:,.1f}", f"{100 * (compiled / counted - 1):+.1f} %"]
        )
    print("# What the compiler keeps, beside the planner's count")
    print("\n    python benchmarks/compiled_memory.py\n")
    print(f"Patch {size(PATCH)}, batch {BATCH}, {CLASSES} classes, full precision, without the loss.\n")
    print(table(["network", "counted, MB", "kept when compiled, MB", "difference"], rows))
    print("\nBelow zero the compiler needs less than the planner promises, above zero more.")
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
