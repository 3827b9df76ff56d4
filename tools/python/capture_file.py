"""Capture files as numpy sees them: one safetensors file, its JSON under the key "bitanchor"."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (registers bfloat16 with numpy, which safetensors.numpy needs)
import numpy as np
import safetensors
import safetensors.numpy

METADATA_KEY = "bitanchor"

# The tensors that answer, as opposed to those that ask.
GRADIENTS = ("dq", "dk", "dv")
ANSWERS = ("o", "lse", "q_rope", "k_rope", *GRADIENTS)

# The tensors with a heads axis: [B, S, H, D] in layout bshd, [B, H, S, D] in bhsd.
_FOUR_AXES = ("q", "k", "v", "o", "do", "dq", "dk", "dv", "q_rope", "k_rope")


@dataclass
class Capture:
    """A capture's tensors as the file lays them out, and its metadata."""

    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]

    @property
    def layout(self) -> str:
        return self.metadata.get("layout", "bshd")

    def bshd(self, name: str) -> np.ndarray:
        """The tensor as [B, S, H, D], whatever the file's layout."""
        assert name in _FOUR_AXES, name
        tensor = self.tensors[name]
        if self.layout == "bhsd":
            return tensor.transpose(0, 2, 1, 3)
        if self.layout == "bshd":
            return tensor
        raise ValueError(f"layout: got {self.layout!r}, want 'bshd' or 'bhsd'")

    def set_bshd(self, name: str, value: np.ndarray) -> None:
        """Stores [B, S, H, D] in the file's layout."""
        assert name in _FOUR_AXES, name
        if self.layout == "bhsd":
            value = value.transpose(0, 2, 1, 3)
        self.tensors[name] = np.ascontiguousarray(value)

    def judged_by(self, answers: Iterable[str]) -> Capture:
        """The capture with these of its answers alone."""
        kept = set(self.tensors) - set(ANSWERS) | set(answers)
        return Capture({n: v for n, v in self.tensors.items() if n in kept}, self.metadata)

    @property
    def has_rope(self) -> bool:
        return "rope" in self.metadata


def read_capture(path: str | Path) -> Capture:
    """Reads a capture; nothing is validated, which is `bitanchor check`'s business."""
    with safetensors.safe_open(str(path), framework="np") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    return Capture(tensors, json.loads(header.get(METADATA_KEY, "{}")))


def write_capture(path: str | Path, capture: Capture) -> None:
    """Writes a capture. The same capture gives the same bytes."""
    tensors = {name: np.ascontiguousarray(value) for name, value in capture.tensors.items()}
    metadata = {METADATA_KEY: json.dumps(capture.metadata, sort_keys=True)}
    safetensors.numpy.save_file(tensors, str(path), metadata=metadata)
