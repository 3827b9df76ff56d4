#!/usr/bin/env python3
"""RoPE of transformers' own modules, judged: each by the recipe that stands for it.

Llama, Gemma, GPT-NeoX (a quarter of the head rotated) and OLMo2 on the CPU, in bf16, f16 and f32, with every rope type that
bitanchor knows, at positions where roundings have gone wrong in the past. With the module's own inverse
frequencies every element must lie in the set of what a kernel with sin and cos within 2 ulp may give, and nearly every bf16
one must be the very pattern. With ours (torch's pow differs by an ulp for some) it must pass as well, and the frequencies that
check names as not ours must be torch's: base 1e6, 128 dimensions, positions to 131,071 and beyond 2^24. Frequencies stated
that are not the kernel's, three ulp, and another recipe's answer must not pass.
SKIPPED without torch and transformers.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

# support makes the modules of tools/python known.
from support import check, finish, require

from rope_types import LINEAR, LLAMA2, LLAMA3

POSITIONS = [0, 1, 2, 255, 256, 257, 2047, 2048, 2049, 4095, 8188, 8189, 8190, 8191, 15962, 32769, 65535, 65536, 131071]
HEADS, DIM = 2, 64
MODULES = {  # recipe: module, class prefix, rotated share of the head
    "hf-llama": ("llama", "Llama", 1.0),
    "gpt-neox": ("gpt_neox", "GPTNeoX", 0.25),
    "hf-olmo2": ("olmo2", "Olmo2", 1.0),
    "megatron": ("gemma", "Gemma", 1.0),  # Gemma's module rounds as Llama's does, and so does this row
}
TYPES = {
    "default": LLAMA2,
    "default-1e6": {"rope_type": "default", "rope_theta": 1000000.0},
    "linear": LINEAR,
    "llama3": LLAMA3,
    "dynamic": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
    "yarn": {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "original_max_position_embeddings": 32,
    },
    "yarn-given": {
        "rope_type": "yarn",
        "rope_theta": 1000000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 32768,
        "attention_factor": 0.75,
        "beta_fast": 16.0,
        "beta_slow": 2.0,
    },
    "yarn-mscale": {  # as DeepSeek-V3 has it, between pairs as gpt-oss has it
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 40.0,
        "original_max_position_embeddings": 4096,
        "mscale": 0.707,
        "mscale_all_dim": 1.25,
        "truncate": False,
    },
    "longrope": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "factor": 32.0,
        "original_max_position_embeddings": 32,
        "short_factor": None,  # one number a pair
        "long_factor": None,
    },
}
FAR = [p for p in range(130000, 131072, 7)] + [(1 << 24) - 1, 1 << 24, (1 << 24) + 1, (1 << 24) + 3]
LENGTH = 48  # max_position_embeddings, so that dynamic has something to do
# Answers that a recipe must refuse: made by the first, claimed to be the second.
IMPOSTORS = [("hf-llama", "hf-llama-legacy"), ("hf-llama", "hf-olmo2"), ("hf-olmo2", "hf-llama"), ("hf-olmo2", "gpt-neox-te")]


def ulps_from_ours(theirs, theta: float, dim: int):
    """How many f32 numbers torch's inverse frequencies are above RN(1 / RN(pow(theta, RN(2i/R)))). By f64's pow, whose own
    error would matter once in some ten million."""
    import numpy as np

    exponents = (np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)).astype(np.float64)
    ours = np.float32(1) / (np.float64(theta) ** exponents).astype(np.float32)
    return theirs.view(np.int32) - ours.view(np.int32)


def parameters_for(kind: str, share: float) -> dict:
    """TYPES[kind], with factors for as many pairs as the share of the head has."""
    pairs = int(DIM * share) // 2
    factors = {"short_factor": [1 + i / 64 for i in range(pairs)], "long_factor": [1 + i / 3 for i in range(pairs)]}
    return {name: factors.get(name, value) if value is None else value for name, value in TYPES[kind].items()}


def rotated(module: str, prefix: str, share: float, parameters: dict, positions: list[int], q, k, ulps=None):
    """q and k [1, H, S, D] as the module rotates them, and its inverse frequencies, moved by so many ulp."""
    import torch
    from numpy import spacing

    modeling = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    configuration = importlib.import_module(f"transformers.models.{module}.configuration_{module}")
    dim = q.shape[-1]
    config = getattr(configuration, f"{prefix}Config")(
        hidden_size=HEADS * dim,
        num_attention_heads=HEADS,
        max_position_embeddings=LENGTH,
        rope_parameters={**parameters, "partial_rotary_factor": share},
    )
    if hasattr(config, "head_dim"):
        config.head_dim = dim
    embedding = getattr(modeling, f"{prefix}RotaryEmbedding")(config)
    if ulps is not None:
        embedding.inv_freq += torch.from_numpy(ulps) * torch.from_numpy(spacing(embedding.inv_freq.numpy()))
    cos, sin = embedding(q, torch.tensor([positions]))
    rotary = cos.shape[-1]
    q_turned, k_turned = modeling.apply_rotary_pos_emb(q[..., :rotary], k[..., :rotary], cos, sin)
    return (
        torch.cat((q_turned, q[..., rotary:]), dim=-1),
        torch.cat((k_turned, k[..., rotary:]), dim=-1),
        embedding.inv_freq,
        rotary,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    program = parser.parse_args().bitanchor
    require("numpy", "safetensors", "ml_dtypes", "torch", "transformers", setup="tools/setup.sh --torch")
    import ml_dtypes
    import numpy as np
    import torch
    import transformers
    from capture_file import Capture, write_capture

    transformers.logging.set_verbosity_error()  # it finds these configs odd

    def to_numpy(x):
        x = x.detach().contiguous()
        if x.dtype == torch.bfloat16:
            return x.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        return x.numpy()

    failures = []

    def judge(made: str, claimed: str, kind: str, dtype, folder: Path, given: bool = True, dim: int = DIM,
              positions=POSITIONS, made_ulps=None, stated_ulps=None):
        """What check says, and the module's inverse frequencies. The module's own are moved by made_ulps before it rotates;
        the capture states them, if it does, moved by stated_ulps."""
        module, prefix, share = MODULES[made]
        parameters = parameters_for(kind, share)
        generator = torch.Generator().manual_seed(7)
        q, k = (
            torch.randn(1, HEADS, len(positions), dim, generator=generator).to(dtype) for _ in "qk"
        )
        q_rope, k_rope, inv_freq, rotary = rotated(
            module, prefix, share, parameters, positions, q, k, made_ulps
        )
        inv_freq = to_numpy(inv_freq)
        stated = inv_freq if stated_ulps is None else inv_freq + stated_ulps * np.spacing(inv_freq)
        tensors = {"q": q, "k": k, "v": k, "q_rope": q_rope, "k_rope": k_rope}
        capture = Capture(
            {name: to_numpy(x) for name, x in tensors.items()}
            | ({"inv_freq": stated} if given else {})
            | {"position_ids": np.array([positions])},
            {
                "version": 1,
                "layout": "bhsd",
                "rope": {
                    **parameters,
                    "max_position_embeddings": LENGTH,
                    "rotary_dim": rotary,
                    "pairing": "half",
                    "recipe": claimed,
                },
            },
        )
        path = folder / "capture.safetensors"
        write_capture(path, capture)
        return check(program, path), inv_freq

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for recipe in MODULES:
            for kind in TYPES:
                for dtype, given in (
                    (torch.bfloat16, True),
                    (torch.float16, True),
                    (torch.float32, True),
                    (torch.bfloat16, False),
                ):
                    judged, _ = judge(recipe, recipe, kind, dtype, folder, given)
                    outputs = judged.report.get("outputs", [])
                    exact = sum(output["exact"] for output in outputs)
                    share = exact / max(1, judged.elements())
                    enough = share > 0.999 if dtype == torch.bfloat16 else share > 0.8
                    ok = judged.passed and len(outputs) == 2 and enough
                    how = "its inverse frequencies" if given else "ours"
                    what = f"{recipe} {kind} {dtype}, {how}: {share:.4%} the very pattern"
                    print(f"{'ok  ' if ok else 'FAIL'} {what}")
                    if not ok:
                        failures.append(f"{what}; {judged.summary()}")
        far = {"dim": 128, "positions": POSITIONS + FAR}
        three, none = np.zeros(64, np.float32), np.zeros(64, np.float32)
        three[1] = 3

        def expect(ok: bool, what: str):
            print(f"{'ok  ' if ok else 'FAIL'} {what}")
            if not ok:
                failures.append(what)

        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            judged, inv_freq = judge("hf-llama", "hf-llama", "default-1e6", dtype, folder, given=False, **far)
            ulps = ulps_from_ours(inv_freq, 1e6, 128)
            named = {f["pair"]: f["ulp"] for f in judged.report["inverse_frequencies"]}
            where = [f["from_position"] for f in judged.report["inverse_frequencies"]]
            expect(
                judged.passed
                and len(named) > 0
                and all(ulps[pair] == ulp for pair, ulp in named.items())
                and all(0 < position <= max(POSITIONS + FAR) for position in where),
                f"torch's own frequencies, {dtype}: {np.count_nonzero(ulps)} differ, named {named} from {where}",
            )
            pinned = sum(output["pinned"] for output in judged.report["outputs"])
            expect(  # in f32 two ulp of freedom always show
                pinned == 0 if dtype == torch.float32 else pinned > 0.99 * judged.elements(),
                f"{dtype}: {pinned} of {judged.elements()} elements have one admissible number",
            )
            judged, _ = judge("hf-llama", "hf-llama", "default-1e6", dtype, folder, **far, stated_ulps=three / 3)
            expect(
                judged.failed and not judged.report["inverse_frequencies"],
                f"frequencies stated an ulp off, {dtype}: {judged.wrong()} elements",
            )
            judged, _ = judge(
                "hf-llama", "hf-llama", "default-1e6", dtype, folder, given=False, **far, made_ulps=three - ulps
            )
            expect(judged.failed, f"a frequency three ulp off, {dtype}: {judged.wrong()} elements")
            judged, _ = judge(
                "hf-llama", "hf-llama", "default-1e6", dtype, folder, given=False, **far, made_ulps=none - ulps
            )
            expect(
                judged.passed and not judged.report["inverse_frequencies"],
                f"our frequencies, {dtype}: {judged.report['inverse_frequencies']} named",
            )
        for made, claimed in IMPOSTORS:
            judged, _ = judge(made, claimed, "default", torch.bfloat16, folder)
            ok = judged.failed and judged.wrong() > 0
            what = f"{made}'s answer is not {claimed}'s: {judged.wrong()} elements"
            print(f"{'ok  ' if ok else 'FAIL'} {what}")
            if not ok:
                failures.append(what)
    return finish(failures, f"{len(failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
