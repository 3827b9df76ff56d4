"""Contracts of kernels that nobody here wrote: PyTorch's eager attention, forward and backward, is
inside `eager` and outside tighter contracts; a user's contract from a file is read and refused.
SKIPPED without torch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

from support import check, finish, skip

try:
    import torch
except ImportError as error:
    skip(f"no torch: {error}")

from capture_file import Capture, write_capture

CASES = [(128, 4, 2, 64, 1.0), (300, 2, 1, 128, 1.0), (77, 2, 2, 32, 4.0)]  # S, Hq, Hkv, D, |q|
TYPES = {"bf16": torch.bfloat16, "f16": torch.float16}


def eager(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """transformers' eager_attention_forward, causal; all [1, H, S, D]."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    mask = torch.full((q.shape[2], k.shape[2]), torch.finfo(q.dtype).min, dtype=q.dtype).triu(1)
    scores = torch.matmul(q, k.transpose(2, 3)) * (1 / math.sqrt(q.shape[3])) + mask
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype)
    return torch.matmul(weights, v)


def numpy_of(tensor: torch.Tensor):
    import ml_dtypes

    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def make_capture(dtype: torch.dtype, case, seed: int) -> Capture:
    S, Hq, Hkv, D, size = case
    torch.manual_seed(seed)
    draw = lambda heads, scale=1.0: (torch.randn(1, heads, S, D) * scale).to(dtype)  # noqa: E731
    q, k, v = (x.requires_grad_() for x in (draw(Hq, size), draw(Hkv), draw(Hkv)))
    do = draw(Hq)
    o = eager(q, k, v)
    o.backward(do)
    tensors = {"q": q, "k": k, "v": v, "o": o, "do": do, "dq": q.grad, "dk": k.grad, "dv": v.grad}
    metadata = {"version": 1, "layout": "bhsd", "kernel": f"PyTorch {torch.__version__}, eager"}
    return Capture({name: numpy_of(x) for name, x in tensors.items()}, metadata)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True)
    program = parser.parse_args().bitanchor
    failures: list[str] = []
    judged = 0
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        path = folder / "capture.safetensors"
        for name, dtype in TYPES.items():
            for seed, case in enumerate(CASES):
                write_capture(path, make_capture(dtype, case, seed))
                for contract, want in ((f"eager-{name}", "pass"), (f"flash-gpu-{name}", "fail")):
                    got = check(program, path, "--contract", contract)
                    judged += 1
                    shares = {o["name"]: o.get("worst_share_of_bound")
                              for o in got.report.get("outputs", [])}
                    print(f"{name} {case} {contract}: {got.verdict} {shares}")
                    if got.verdict != want:
                        failures.append(f"{name} {case} {contract}: {got.verdict} {got.stderr}")
        own = folder / "own.json"
        own.write_text(json.dumps({"name": "own", "base": "eager-f16", "weight_rounding": 2**-10}))
        got = check(program, path, "--contract", own)
        if not got.passed or got.report["judged_by"]["name"] != "own":
            failures.append(f"own contract: {got.status} {got.stderr}")
        own.write_text('{"name": "own", "base": "eager-f16", "weight_rounding": "much"}')
        got = check(program, path, "--contract", own)
        if got.status != 2 or not got.stderr.startswith("bitanchor: weight_rounding: got"):
            failures.append(f"wrong type: {got.status} {got.stderr}")
    return finish(failures, f"{judged} answers of PyTorch's eager attention judged, "
                            f"{len(failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
