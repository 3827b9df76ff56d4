#!/usr/bin/env python3
"""Times PyTorch's CPU attention on the problems of attention_shapes.txt, beside this engine's time.

    tools/setup.sh --torch
    build/venv/bin/python bench/compare.py [--filter REGEX] [--threads 1 2]

For each problem whose recipe and target are the default ones: scaled_dot_product_attention (causal), or
FlexAttention under torch.compile where the mask is documents with an anchor, on tensors of the same
shapes, dtypes and layout [B, H, S, D]; and this engine through attention_bench, in turn, so that both meet
the same machine. NAME/backward is the backward pass alone, of scaled_dot_product_attention (for documents with
a dense mask: FlexAttention has no backward pass on a CPU). Prints GF/s of both (4 D operations per visible pair,
backward 10 D) and the ratio. PyTorch's answers have other bits, its gradients are rounded to bf16 after every
block, and on CPUs with AMX it uses that unit for bf16, which this engine cannot (its sums are not the ascending
fold).
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BENCH = ROOT / "build/release/bench/attention_bench"


def shapes():
    for line in (ROOT / "bench/attention_shapes.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, *numbers = line.split()
        sq, skv, hq, hkv, d = map(int, numbers[:5])
        dtype, documents, recipe, target = numbers[5], int(numbers[6]), numbers[7], numbers[8]
        if target == "-" and recipe == "textbook-bf16p" or dtype == "f32":
            yield name, sq, skv, hq, hkv, d, dtype, documents, False
            if sq >= 16 and skv <= 20000:  # as attention_bench
                yield name + "/backward", sq, skv, hq, hkv, d, dtype, documents, True


def ours(name: str, threads: int, flops: float, cpu_time: bool) -> tuple[float, str]:
    out = subprocess.run(
        [BENCH, f"--benchmark_filter=^{name}/threads:{threads}/", "--benchmark_format=json"],
        check=True, capture_output=True, text=True).stdout
    row = json.loads(out)["benchmarks"][0]
    if not cpu_time:
        return row["GFs"], row["label"]
    seconds = row["cpu_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[row["time_unit"]]
    return flops * row["runs"] / seconds / 1e9, row["label"]


def torch_seconds(torch, sq, skv, hq, hkv, d, dtype, documents, backward, threads, clock) -> float:
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(1)
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32

    def draw(heads, length):
        return torch.randn(1, heads, length, d, generator=generator).to(kind)

    q, k, v = (x.requires_grad_(backward) for x in (draw(hq, sq), draw(hkv, skv), draw(hkv, skv)))
    ids = 1 + torch.arange(skv) * documents // skv
    ids[0] = 0

    def anchor(b, h, i, j):
        return ((ids[i] == ids[j]) | (ids[j] == 0)) & (i >= j)

    if documents and backward:
        at = torch.arange(skv)
        dense = anchor(0, 0, at[:, None], at[None, :])

        def run():
            return F.scaled_dot_product_attention(q, k, v, attn_mask=dense, enable_gqa=hq != hkv)
    elif documents:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        mask = create_block_mask(anchor, None, None, sq, skv, device="cpu")
        torch._dynamo.reset()
        compiled = torch.compile(flex_attention, dynamic=False)

        def run():
            return compiled(q, k, v, block_mask=mask, enable_gqa=hq != hkv)
    elif sq == skv:
        def run():
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=hq != hkv)
    else:  # a few queries at the end of the keys
        visible = torch.ones(sq, skv, dtype=torch.bool).tril(skv - sq)

        def run():
            return F.scaled_dot_product_attention(
                q, k, v, attn_mask=None if sq == 1 else visible, enable_gqa=hq != hkv)

    if backward:
        o, dout = run(), draw(hq, sq)

        def timed():
            return torch.autograd.grad(o, (q, k, v), dout, retain_graph=True)
    else:
        timed = run

    with torch.set_grad_enabled(backward):
        timed()
        seconds = []
        for _ in range(7):
            start = clock()
            timed()
            seconds.append(clock() - start)
            if sum(seconds) > 20:
                break
    return statistics.median(seconds)


def pairs(sq, skv, documents) -> int:
    if documents == 0:
        return sum(skv - sq + i + 1 for i in range(sq))
    sizes = [0] * (documents + 1)
    for j in range(1, skv):
        sizes[1 + j * documents // skv] += 1
    within = sum(n * (n + 1) // 2 for n in sizes)
    return within + skv  # every token sees the anchor, the anchor itself


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default=".", help="problems whose name matches")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cpu-time", action="store_true",
                        help="by the CPU time of one thread, for a machine that others use, too")
    arguments = parser.parse_args()
    clock = time.thread_time if arguments.cpu_time else time.perf_counter
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: tools/setup.sh --torch, then build/venv/bin/python", file=sys.stderr)
        return 2
    if not BENCH.exists():
        print(f"{BENCH} is not built: ./tools/test builds it", file=sys.stderr)
        return 2
    print(f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    print(f"{'problem':24} {'threads':>7} {'ours GF/s':>10} {'PyTorch GF/s':>13} {'ratio':>6}  target")
    for name, sq, skv, hq, hkv, d, dtype, documents, backward in shapes():
        if not re.search(arguments.filter, name) or skv > 65536 and sq == skv:
            continue
        flops = (10 if backward else 4) * d * hq * pairs(sq, skv, documents)
        for threads in [1] if arguments.cpu_time else arguments.threads:
            mine, target = ours(name, threads, flops, arguments.cpu_time)
            try:
                seconds = torch_seconds(
                    torch, sq, skv, hq, hkv, d, dtype, documents, backward, threads, clock)
            except Exception as error:  # its compiler fails on some shapes
                print(f"{name:24} {threads:7} {mine:10.1f}   PyTorch failed: {str(error).splitlines()[0][:60]}")
                continue
            theirs = flops / seconds / 1e9
            print(f"{name:24} {threads:7} {mine:10.1f} {theirs:13.1f} {mine / theirs:6.2f}  {target}", flush=True)
    return 0


sys.exit(main())
