"""What is compared: an architecture's name in `untangle train --arch`, and what each peer calls it.

An architecture of which the peers have a form enters every part of the benchmark by one entry of `ARCHITECTURES`.
"""

from dataclasses import dataclass
from typing import Any, Callable


@dataclass(frozen=True)
class Architecture:
    """How others make it. `saelens(d_in, d_sae, k, strength)` gives SAELens' training dictionary; `strength` is the
    penalty's coefficient where there is no k, else None."""

    saelens: Callable[[int, int, int, float | None], Any]
    in_sparsify: bool = False
    # Coefficients that span the wanted L0, for architectures that are not told it; our option is then --l0.
    strengths: tuple[float, ...] = ()

    def options(self, k: int) -> list[str]:
        """What our command line is told."""
        return ["--l0", str(k)] if self.strengths else ["--k", str(k)]


def _top_k(d_in: int, d_sae: int, k: int, _: float | None) -> Any:
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig

    return TopKTrainingSAE(TopKTrainingSAEConfig(d_in=d_in, d_sae=d_sae, k=k))


def _batch_top_k(d_in: int, d_sae: int, k: int, _: float | None) -> Any:
    from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    return BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=d_in, d_sae=d_sae, k=k))


def _matryoshka(d_in: int, d_sae: int, k: int, _: float | None) -> Any:
    from sae_lens import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig

    widths = [d_sae // 16, d_sae // 4, d_sae // 2, d_sae]
    config = MatryoshkaBatchTopKTrainingSAEConfig(d_in=d_in, d_sae=d_sae, k=k, matryoshka_widths=widths)
    return MatryoshkaBatchTopKTrainingSAE(config)


def _jump_relu(d_in: int, d_sae: int, k: int, strength: float | None) -> Any:
    from sae_lens import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig

    return JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(d_in=d_in, d_sae=d_sae, l0_coefficient=strength or 1.0))


def _relu(d_in: int, d_sae: int, k: int, strength: float | None) -> Any:
    from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig

    return StandardTrainingSAE(StandardTrainingSAEConfig(d_in=d_in, d_sae=d_sae, l1_coefficient=strength or 1.0))


def _gated(d_in: int, d_sae: int, k: int, strength: float | None) -> Any:
    from sae_lens import GatedTrainingSAE, GatedTrainingSAEConfig

    return GatedTrainingSAE(GatedTrainingSAEConfig(d_in=d_in, d_sae=d_sae, l1_coefficient=strength or 1.0))


ARCHITECTURES: dict[str, Architecture] = {
    "topk": Architecture(_top_k, in_sparsify=True),
    "batch-topk": Architecture(_batch_top_k),
    "matryoshka": Architecture(_matryoshka),
    "jump-relu": Architecture(_jump_relu, strengths=(0.03, 0.1, 0.3, 1.0, 3.0)),
    "relu": Architecture(_relu, strengths=(0.3, 0.5, 1.0, 2.0, 4.0)),
    "gated": Architecture(_gated, strengths=(0.5, 1.0, 2.0, 4.0)),
}
