#!/usr/bin/env python3
"""RoPE of transformers' own modules, judged: each by the recipe that stands for it.

Llama, Gemma, GPT-NeoX (a quarter of the head rotated) and OLMo2 on the CPU, in bf16, f16 and f32, with every rope type that
bitanchor knows, at positions where roundings have gone wrong in the past. With the module's own inverse
frequencies every element must lie in the set of what a kernel with sin and cos within 2 ulp may give, and nearly every bf16
one must be the very pattern. With ours (torch's pow differs by an ulp for some) so must nearly every bf16 one at positions
below 64. Another recipe's answer must not pass.
SKIPPED without torch and transformers.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import tempfile
from pathlib import Path

# support makes the modules of tools/python known.
from support import check, finish, skip

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
# Without the module's inverse frequencies, theirs and ours must agree well enough for short sequences.
SHORT = list(range(64))
LENGTH = 48  # max_position_embeddings, so that dynamic has something to do
# Answers that a recipe must refuse: made by the first, claimed to be the second.
IMPOSTORS = [("hf-llama", "hf-llama-legacy"), ("hf-llama", "hf-olmo2"), ("hf-olmo2", "hf-llama"), ("hf-olmo2", "gpt-neox-te")]


def parameters_for(kind: str, share: float) -> dict:
    """TYPES[kind], with factors for as many pairs as the share of the head has."""
    pairs = int(DIM * share) // 2
    factors = {"short_factor": [1 + i / 64 for i in range(pairs)], "long_factor": [1 + i / 3 for i in range(pairs)]}
    return {name: factors.get(name, value) if value is None else value for name, value in TYPES[kind].items()}


def rotated(module: str, prefix: str, share: float, parameters: dict, positions: list[int], q, k):
    """q and k [1, H, S, D] as the module rotates them, and its inverse frequencies."""
    import torch

    modeling = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    configuration = importlib.import_module(f"transformers.models.{module}.configuration_{module}")
    config = getattr(configuration, f"{prefix}Config")(
        hidden_size=HEADS * DIM,
        num_attention_heads=HEADS,
        max_position_embeddings=LENGTH,
        rope_parameters={**parameters, "partial_rotary_factor": share},
    )
    if hasattr(config, "head_dim"):
        config.head_dim = DIM
    embedding = getattr(modeling, f"{prefix}RotaryEmbedding")(config)
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
    packages = ("numpy", "safetensors", "ml_dtypes", "torch", "transformers")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        skip(f"no {', '.join(missing)} for {sys.executable}; tools/setup.sh --torch installs them")
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

    def judge(made: str, claimed: str, kind: str, dtype, folder: Path, given: bool = True):
        module, prefix, share = MODULES[made]
        positions = POSITIONS if given else SHORT
        parameters = parameters_for(kind, share)
        generator = torch.Generator().manual_seed(7)
        q, k = (
            torch.randn(1, HEADS, len(positions), DIM, generator=generator).to(dtype) for _ in "qk"
        )
        q_rope, k_rope, inv_freq, rotary = rotated(module, prefix, share, parameters, positions, q, k)
        tensors = {"q": q, "k": k, "v": k, "q_rope": q_rope, "k_rope": k_rope}
        capture = Capture(
            {name: to_numpy(x) for name, x in tensors.items()}
            | ({"inv_freq": to_numpy(inv_freq)} if given else {})
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
        return check(program, path)

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
                    judged = judge(recipe, recipe, kind, dtype, folder, given)
                    outputs = judged.report.get("outputs", [])
                    exact = sum(output["exact"] for output in outputs)
                    share = exact / max(1, judged.elements())
                    enough = share > 0.999 if dtype == torch.bfloat16 else share > 0.8
                    ok = (judged.passed or not given) and len(outputs) == 2 and enough
                    how = "its inverse frequencies" if given else "ours"
                    what = f"{recipe} {kind} {dtype}, {how}: {share:.4%} the very pattern"
                    print(f"{'ok  ' if ok else 'FAIL'} {what}")
                    if not ok:
                        failures.append(f"{what}; {judged.summary()}")
        for made, claimed in IMPOSTORS:
            judged = judge(made, claimed, "default", torch.bfloat16, folder)
            ok = judged.failed and judged.wrong() > 0
            what = f"{made}'s answer is not {claimed}'s: {judged.wrong()} elements"
            print(f"{'ok  ' if ok else 'FAIL'} {what}")
            if not ok:
                failures.append(what)
    return finish(failures, f"{len(failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
