"""The rows that are trained on: random ones with the spectrum of real ones, a model's, and sums of planted features."""

import subprocess
from pathlib import Path

import numpy as np


def spectrum(path: Path, n: int, d: int, seed: int = 0) -> Path:
    """Random rows whose covariance has eigenvalues 1/j in a random basis, as activations roughly have, and a mean."""
    generator = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(generator.standard_normal((d, d)))
    scales = np.arange(1, d + 1) ** -0.5
    rows = (generator.standard_normal((n, d)) * scales) @ basis.T + 0.1 * generator.standard_normal(d)
    np.save(path, rows.astype(np.float32))
    return path


def organism(binary: str, folder: Path, tokens: int) -> tuple[Path, Path]:
    """Rows of the bundled model without those of special tokens: nine tenths to train on, the rest to judge."""
    import h5py

    store, hook = folder / "organism.h5", "blocks.2.hook_resid_post"
    command = [binary, "--quiet", "capture", "organism", "--text", "organism", "--hook", hook]
    command += ["--store", "f32", "--tokens", str(tokens), "--out", str(store)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with h5py.File(store) as file:
        rows = file[f"activations/{hook}"][:].astype(np.float32)
        ordinary = file["flags"][:] == 0
    return parts(folder, "organism", rows[ordinary])


def planted(folder: Path, n: int, seed: int) -> tuple[Path, Path, np.ndarray, float]:
    """SynthSAEBench's generator (Chanin & Garriga-Alonso 2026, arXiv 2602.14687) by SAELens, reduced to 2,048 features
    in 256 dimensions: rows to train on and to judge, the features' directions, and how many of them a row has on
    average."""
    import torch
    from sae_lens.synthetic.firing_magnitudes import FoldedNormalMagnitudeConfig, LinearMagnitudeConfig
    from sae_lens.synthetic.firing_probabilities import ZipfianFiringProbabilityConfig
    from sae_lens.synthetic.hierarchy import HierarchyConfig
    from sae_lens.synthetic.synthetic_model import (
        LowRankCorrelationConfig,
        OrthogonalizationConfig,
        SyntheticModel,
        SyntheticModelConfig,
    )

    config = SyntheticModelConfig(
        num_features=2048,
        hidden_dim=256,
        firing_probability=ZipfianFiringProbabilityConfig(exponent=0.5, max_prob=0.4, min_prob=5e-4),
        hierarchy=HierarchyConfig(
            total_root_nodes=16,
            branching_factor=4,
            max_depth=3,
            mutually_exclusive_portion=1.0,
            compensate_probabilities=True,
            scale_children_by_parent=True,
        ),
        orthogonalization=OrthogonalizationConfig(num_steps=100, lr=3e-4),
        correlation=LowRankCorrelationConfig(rank=25, correlation_scale=0.1),
        mean_firing_magnitudes=LinearMagnitudeConfig(start=5.0, end=4.0),
        std_firing_magnitudes=FoldedNormalMagnitudeConfig(mean=0.5, std=0.5),
        bias=0.5,
        seed=42 + seed,
    )
    model = SyntheticModel(config)
    torch.manual_seed(seed)
    chunks, active = [], 0.0
    with torch.no_grad():
        for first in range(0, n, 8192):
            hidden, features = model.sample_with_features(min(8192, n - first))
            features = features.to_dense() if features.is_sparse else features
            active += (features > 0).double().sum().item()
            chunks.append(hidden.numpy().astype(np.float32))
    train, test = parts(folder, f"planted-{seed}", np.concatenate(chunks))
    return train, test, model.feature_dict.feature_vectors.detach().numpy(), active / n


def parts(folder: Path, name: str, rows: np.ndarray) -> tuple[Path, Path]:
    """Nine tenths and one tenth, in files."""
    cut = len(rows) * 9 // 10
    train, test = folder / f"{name}-train.npy", folder / f"{name}-test.npy"
    np.save(train, rows[:cut])
    np.save(test, rows[cut:])
    return train, test


def mean_correlation(decoder: np.ndarray, features: np.ndarray) -> float:
    """Mean |cosine| over the pairs of the best one-to-one matching of decoder rows with features; 1 is perfect."""
    from scipy.optimize import linear_sum_assignment

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    cosines = np.abs(unit(decoder) @ unit(features).T)
    return float(cosines[linear_sum_assignment(-cosines)].mean())
