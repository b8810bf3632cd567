"""The parameters of paper 000's published code, rebuilt from its structure by arithmetic alone.

No network is built here and no constant is fitted. Widths are h, 2h, 4h, 8h, 16h at 1/2 … 1/32 of an image of
`slices` x `size` x `size`; slices are never pooled. `LN` is the code's LayerNorm over C, H, W and slices: two weights
for every voxel.

Every function returns counts by kind: `weights` (used convolutions), `norm` (LayerNorm), `dead` (convolutions built and
never called) and `dead_norm` (LayerNorm of those).
"""

from __future__ import annotations

from collections import Counter

STEM_KERNEL = 27
PLANE_KERNEL = 7
THICKNESS = (3, 5, 7)
LEVELS = 5


class Paper000:
    """One network of the paper's table: with or without UX blocks, with or without HANC links."""

    def __init__(self, h: int, *, ux: bool, hanc: bool, size: int = 128, slices: int = 12) -> None:
        self.h, self.ux, self.hanc, self.size, self.slices = h, ux, hanc, size, slices

    def width(self, level: int) -> int:
        """Channels at 1/2^level, level 1 … 5."""
        return self.h * 2 ** (level - 1)

    def layer_norm(self, channels: int, level: int) -> int:
        return 2 * channels * self.slices * (self.size // 2**level) ** 2

    def res_block(self, inputs: int, outputs: int, level: int) -> Counter[str]:
        """Conv 1x3x3, LN, conv 3x3x3, LN; a 1x1x1 shortcut with bias, built always, used only if the width changes."""
        shortcut = inputs * outputs + outputs
        return Counter(
            weights=9 * inputs * outputs + 27 * outputs * outputs + (shortcut if inputs != outputs else 0),
            dead=shortcut if inputs == outputs else 0,
            norm=2 * self.layer_norm(outputs, level),
        )

    def ux_block(self, level: int) -> Counter[str]:
        """LN, conv 1x7x7, LN, conv 1x1x1, run twice; LN, conv 3x7x7, LN, conv 1x1x1, never run. All with bias."""
        c, norm = self.width(level), self.layer_norm(self.width(level), level)
        plane = PLANE_KERNEL**2
        return Counter(
            weights=(plane * c * c + c) + (c * c + c),
            dead=(3 * plane * c * c + c) + (c * c + c),
            norm=2 * norm,
            dead_norm=2 * norm,
        )

    def plane_block(self, level: int) -> Counter[str]:
        return self.ux_block(level) if self.ux else self.res_block(self.width(level), self.width(level), level)

    def link(self, level: int) -> Counter[str]:
        """Conv 1x3x3, LN; convs n x 3 x 3, LN each; nine maps to C by a 1x1x1 conv with bias. The last link: 2C."""
        c = self.width(level)
        if not self.hanc:
            return self.res_block(c, c, level)
        e = 2 * c if level == LEVELS else c
        neighbourhoods = sum(9 * n * e * e for n in THICKNESS)
        return Counter(
            weights=9 * c * e + neighbourhoods + 3 * len(THICKNESS) * e * c + c,
            norm=(1 + len(THICKNESS)) * self.layer_norm(e, level),
        )

    def up_block(self, inputs: int, outputs: int, level: int) -> Counter[str]:
        """Transposed conv 1x2x2, LN, conv 1x3x3, LN; a 1x1x1 shortcut with bias. `level` is the one reached."""
        return Counter(
            weights=4 * inputs * outputs + 9 * outputs * outputs + inputs * outputs + outputs,
            norm=2 * self.layer_norm(outputs, level),
        )

    def stem(self) -> Counter[str]:
        return Counter(weights=STEM_KERNEL**2 * self.h + self.h)

    def ups(self) -> Counter[str]:
        h = self.h
        total = self.up_block(16 * h, 8 * h, 4)  # the bottleneck alone; all others with the link's channels
        for inputs, outputs, level in ((16, 4, 3), (8, 2, 2), (4, 1, 1), (2, 1, 0)):
            total += self.up_block(inputs * h, outputs * h, level)
        return total

    def one_channel_output(self) -> Counter[str]:
        """The second output block, h channels to one."""
        return self.res_block(self.h, 1, 0)

    def total(self) -> Counter[str]:
        total = self.stem() + self.ups() + self.res_block(self.h, self.h, 0) + self.one_channel_output()
        for level in range(1, LEVELS):
            total += self.plane_block(level) + self.res_block(self.width(level), self.width(level + 1), level + 1)
        for level in range(1, LEVELS + 1):
            total += self.link(level)
        return total

    def second_pair_of_ours(self, *, through: int) -> int:
        """Our second pair of UX convolutions, `through` x 7 x 7 and 1x1x1; the paper's is the first again."""
        if not self.ux:
            return 0
        widths = [self.width(level) for level in range(1, LEVELS)]
        return sum((through * PLANE_KERNEL**2 * c * c + c) + (c * c + c) for c in widths)

    def heads_of_ours(self, classes: int) -> int:
        """Our linear heads, one at each of the five resolutions of the decoder."""
        widths = [self.h, *(self.width(level) for level in range(1, LEVELS))]
        return sum(w * classes + classes for w in widths)


class Mended000(Paper000):
    """Our preset of it: one norm weight per channel, nothing dead, the second pair its own, linear heads."""

    def __init__(self, h: int, *, ux: bool, hanc: bool, through: int = 1, classes: int = 2) -> None:
        super().__init__(h, ux=ux, hanc=hanc)
        self.through, self.classes = through, classes

    def layer_norm(self, channels: int, level: int) -> int:
        return 2 * channels

    def res_block(self, inputs: int, outputs: int, level: int) -> Counter[str]:
        return _without(super().res_block(inputs, outputs, level), "dead")

    def ux_block(self, level: int) -> Counter[str]:
        c = self.width(level)
        second = (self.through * PLANE_KERNEL**2 * c * c + c) + (c * c + c)
        first = _without(super().ux_block(level), "dead", "dead_norm")
        return first + Counter(weights=second, norm=2 * self.layer_norm(c, level))

    def one_channel_output(self) -> Counter[str]:
        return Counter(weights=self.heads_of_ours(self.classes))


def _without(counts: Counter[str], *kinds: str) -> Counter[str]:
    return Counter({kind: n for kind, n in counts.items() if kind not in kinds})
