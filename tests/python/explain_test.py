#!/usr/bin/env python3
"""`bitanchor explain` names the mistake that was made, first.

Each forward mutant of tools/python/break_capture.py is named on at least two of these problems,
judged by all answers or by o alone; right answers have nothing to explain. Then mistakes in
asking, and faults that leave every element where it may be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from support import DATA, answered, bitanchor, check, finish, require

from packed import Packed, make_problem  # support put tools/python on the path

# Loud rows: scores past 88, so that exponentials overflow without max subtraction.
LOUD = tuple((row, 64.0) for row in (50, 133, 200, 260, 350))
# By what is captured of their answers.
PROBLEMS = {
    ("bf16", "all"): Packed("bf16", (100, 160, 127, 97), 4, 2, 64, 20241120, loud_rows=LOUD),
    ("bf16 8:2", "o alone"): Packed("bf16", (70, 90, 57), 8, 2, 64, 2, loud_rows=LOUD[:3]),
    ("f16 window", "all"): Packed("f16", (130, 31, 120), 4, 2, 128, 4, window_keys=100),
    ("f32", "o alone"): Packed("f32", (100, 60, 90), 4, 2, 64, 5),
}

# Where the table's id is not the mutant's name.
IDS = {
    "causal-shifted-left": "causal-shifted",
    "causal-shifted-right": "causal-shifted",
    "key-block-wrong": "stale-tile",  # of V alone
    "no-max-subtraction": "not-finite",
    "one-nan": "not-finite",
    "rope-bf16-angles": "rope-angle-rounded",
}


class Explained:
    """Counts what was asked and keeps the failures."""

    def __init__(self, executable: Path, folder: Path) -> None:
        self.executable, self.path = executable, folder / "capture.safetensors"
        self.failures: list[str] = []
        self.asked = 0

    def ask(self, says: str, capture, want: str) -> dict:
        """want: the first cause's id, or "pass"."""
        from capture_file import write_capture

        write_capture(self.path, capture)
        judged = check(self.executable, self.path, command="explain")
        causes = judged.report.get("causes", [])
        named = ", ".join(f"{c['id']} {c['explains']:.4f}" for c in causes)
        self.asked += 1
        ok = judged.passed and not causes
        if want != "pass":
            ok = judged.failed and bool(causes) and causes[0]["id"] == want
            ok = ok and all(cause["says"] and cause["fix"] for cause in causes)
        print(f"{says:50} want {want:20} {named or judged.verdict}{'' if ok else '   <-- FAILED'}",
              flush=True)
        if not ok:
            self.failures.append(f"{says}: want {want}, got {named}; {judged.summary()}")
        return causes[0] if causes else {}


    def refused(self, says: str, capture, words: str) -> None:
        """`check` answers with one line that has these words, not with a verdict."""
        from capture_file import write_capture

        write_capture(self.path, capture)
        done = bitanchor(self.executable, "check", str(self.path))
        self.asked += 1
        if done.returncode != 2 or done.stderr.count("\n") != 1 or words not in done.stderr:
            self.failures.append(f"check of {says}: exit {done.returncode}, {done.stderr!r}")


def explain_mutants(explained: Explained, folder: Path) -> None:
    from break_capture import MUTANTS, break_capture
    from capture_file import ANSWERS

    met: dict[str, int] = {}
    for (says, by), packed in PROBLEMS.items():
        right = answered(explained.executable, folder, make_problem(packed))
        capture = right.judged_by(ANSWERS if by == "all" else ("o",))
        explained.ask(f"bitanchor run, {says} by {by}", capture, "pass")
        for name in MUTANTS:
            try:
                broken = break_capture(capture, name)[0]
            except ValueError:  # this problem cannot show it
                continue
            want = "pass" if name == "none" else IDS.get(name, name)
            cause = explained.ask(f"{name}, {says} by {by}", broken, want)
            met[name] = met.get(name, 0) + 1
            if want not in ("pass", "unknown", "not-finite") and cause.get("explains", 0) < 0.97:
                explained.failures.append(f"{name}, {says} by {by}: {cause}")
    for name in MUTANTS:
        if met.get(name, 0) < 2:
            explained.failures.append(f"{name} was asked about {met.get(name, 0)} times")


def explain_blocks(explained: Explained, folder: Path) -> None:
    """Blocks that are not the middle one, which is tried without a search, and of other sizes."""
    from break_capture import break_capture
    from capture_file import Capture

    right = answered(explained.executable, folder, make_problem(PROBLEMS[("bf16", "all")]))
    for block, name in enumerate(("block-skipped", "block-repeated", "key-block-wrong")):
        broken = break_capture(right, name, block=block)[0]
        cause = explained.ask(f"{name}, block {block}", broken, IDS.get(name, name))
        where = f"keys {64 * block}..{64 * block + 63}"
        if where not in cause["says"]:
            explained.failures.append(f"{name}: want {where}, got {cause['says']}")

    # K and V of keys 96..127 are those of 64..95, as a kernel with tiles of 32 keys would load them.
    rotated = {"q": right.tensors["q_rope"], "k": right.tensors["k_rope"], "v": right.tensors["v"]}
    ids = right.tensors["document_ids"]
    metadata = {name: value for name, value in right.metadata.items() if name != "rope"}
    understood = dict(rotated)
    for name in ("k", "v"):
        understood[name] = rotated[name].copy()
        understood[name][:, 96:128] = rotated[name][:, 64:96]
    wrong = answered(explained.executable, folder,
                     Capture({**understood, "document_ids": ids}, metadata))
    cause = explained.ask("a wrong tile of 32 keys", Capture({**wrong.tensors, **rotated}, metadata),
                          "key-block-wrong")
    if "keys 96..127" not in cause["says"]:
        explained.failures.append(f"a wrong tile of 32 keys: got {cause['says']}")


def explain_counts(explained: Explained, folder: Path) -> None:
    """Keys that count twice, and keys of tiles that are left out; the window makes rows short."""
    import numpy as np
    import reference
    from break_capture import Kernel
    from capture_file import Capture

    for by, packed in (("all", PROBLEMS[("bf16", "all")]), ("o", PROBLEMS[("f16 window", "all")])):
        problem = make_problem(packed)
        read = reference.read_problem(problem)
        keys = np.arange(sum(packed.documents))

        def counted(which: np.ndarray, times: int, says: str, want: str, where: str) -> None:
            weight = np.where(which, float(times), 1.0)
            wrong = Kernel(read, block=0, key_weight=weight).run()
            answers = {"o": wrong["o"]} if by == "o" else {"o": wrong["o"], "lse": wrong["lse"]}
            capture = Capture({**problem.tensors, **answers}, problem.metadata)
            cause = explained.ask(f"{says}, {packed.dtype} by {by}", capture, want)
            if where not in cause["says"]:
                explained.failures.append(f"{says}: want {where}, got {cause['says']}")

        counted(keys == 0, 2, "the anchor twice", "anchor-twice", "")
        for tile, last in ((64, True), (128, True), (16, False)):
            says = f"the {'last' if last else 'first'} of every tile of {tile}"
            counted(keys % tile == (tile - 1 if last else 0), 0, says, "tile-key-dropped", says)


def explain_loud(explained: Explained, folder: Path) -> None:
    """Scores below -10,000: in rows of a few keys a mistaken kernel may answer nearly anything."""
    from capture_file import Capture
    from scorecard import PROBLEMS as SCORECARD

    problem = make_problem(SCORECARD["large scores"])
    mask = {**problem.metadata["mask"], "causal": False}
    wrong = Capture(problem.tensors, {**problem.metadata, "mask": mask})
    answers = {n: answered(explained.executable, folder, wrong).tensors[n] for n in ("o", "lse")}
    capture = Capture({**problem.tensors, **answers}, problem.metadata)
    cause = explained.ask("keys after loud queries", capture, "causal-ignored")
    if cause.get("explains", 0) < 0.97:
        explained.failures.append(f"keys after loud queries: {cause}")


def explain_before_rope(explained: Explained, folder: Path) -> None:
    """What is exchanged before the kernel rotates it, and rotations by another base or position.

    `bitanchor run` makes the wrong answers of problems that are changed so.
    """
    import numpy as np
    from capture_file import Capture

    # At 1,100 and beyond: rounded by bf16 to multiples of 8, exact in f16.
    problem = make_problem(Packed("bf16", (100, 160, 127, 97), 4, 2, 64, 31))
    problem.tensors["position_ids"] = problem.tensors["position_ids"] + 1100
    rope = problem.metadata["rope"]

    def ask(says: str, want: str, where: str, tensors: dict, wrong_rope: dict,
            right_rope: dict | None = None, answers=("o", "q_rope", "k_rope")) -> None:
        right = Capture(problem.tensors, {**problem.metadata, "rope": right_rope or rope})
        wrong = Capture({**problem.tensors, **tensors}, {**problem.metadata, "rope": wrong_rope})
        tensors = answered(explained.executable, folder, wrong).tensors
        by = [("o",)] if "k_rope" not in answers else [("o",), answers]
        for names in by:
            capture = Capture({**right.tensors, **{n: tensors[n] for n in names}}, right.metadata)
            cause = explained.ask(f"{says}, by {', '.join(names)}", capture, want)
            if where not in cause["says"]:
                explained.failures.append(f"{says}: want {where}, got {cause['says']}")

    k, v = problem.tensors["k"], problem.tensors["v"]
    ask("k and v exchanged before RoPE", "keys-values-swapped", "", {"k": v, "v": k}, rope)
    for tile, back, moved in ((128, 64, "kv"), (256, 32, "kv"), (192, 64, "k")):
        stale = {name: problem.tensors[name].copy() for name in moved}
        for name, x in stale.items():
            x[:, tile : tile + back] = problem.tensors[name][:, tile - back : tile]
        ask(f"{moved} of a tile of {back} stale before RoPE",
            "key-block-wrong" if moved == "kv" else "stale-tile",
            f"keys {tile}..{tile + back - 1}, before RoPE", stale, rope, answers=("o",))
    positions = problem.tensors["position_ids"]
    bf16 = positions.astype(np.float32).astype(k.dtype).astype(np.int64)
    ask("positions in bf16", "rope-position-rounded", "to BF16", {"position_ids": bf16}, rope)
    for base in (500000.0, 1e7):
        ask(f"base {base:.0f}", "rope-theta", "", {}, {**rope, "rope_theta": base})
    ask("base 10000 for 1000000", "rope-theta", "10000", {}, rope, {**rope, "rope_theta": 1e6})
    for scaling in (
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 128},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
    ):
        ask(f"{scaling['rope_type']} ignored", "rope-scaling-ignored", "", {}, rope, {**rope, **scaling})
    yarn = {**rope, "rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 512}
    ask("yarn's factor ignored", "rope-scaling-ignored", "attention factor", {},
        {**yarn, "attention_factor": 1.0}, yarn)

    # Past 2,048, which f16 holds exactly.
    problem.tensors["position_ids"] = positions + 3000
    f16 = (positions + 3000).astype(np.float16).astype(np.int64)
    ask("positions in f16", "rope-position-rounded", "to F16", {"position_ids": f16}, rope)


def explain_asking(explained: Explained, folder: Path) -> None:
    """A right kernel's answer in a capture that misstates it, and rows that see nothing."""
    import numpy as np
    from capture_file import Capture

    packed = Packed("bf16", (130, 100, 26), 4, 4, 32, 7)
    problem = make_problem(packed)
    problem.metadata.pop("rope")
    right = answered(explained.executable, folder, problem)

    def altered(metadata: dict | None = None, **tensors) -> Capture:
        merged = {**right.metadata, **(metadata or {})}
        return Capture({**right.tensors, **tensors}, merged)

    lse = right.tensors["lse"]
    explained.ask("LSE in base 2", altered(lse=(lse / np.log(2)).astype(np.float32)), "lse-base")
    scale = np.float32(right.metadata["softmax_scale"])
    explained.ask("LSE not scaled", altered(lse=lse / scale), "lse-unscaled")
    swapped = {"q": right.tensors["k"], "k": right.tensors["q"]}
    explained.ask("q and k swapped", altered(**swapped), "queries-keys-swapped")
    explained.refused("q and k swapped", altered(**swapped), "q and k are exchanged")
    swapped = {"v": right.tensors["k"], "k": right.tensors["v"]}
    explained.ask("k and v swapped", altered(**swapped), "keys-values-swapped")
    o = right.tensors["o"]
    transposed = np.ascontiguousarray(o.transpose(0, 2, 1, 3)).reshape(o.shape)
    explained.ask("o transposed", altered(o=transposed), "layout-transposed")
    explained.ask("heads permuted", altered(o=o[:, :, [2, 0, 3, 1]], lse=lse[:, [2, 0, 3, 1]]),
                  "heads-permuted")
    other = o.astype(np.float32).astype(np.float16).view(o.dtype)
    explained.ask("f16 called bf16", altered(o=other), "dtype-misread")
    explained.refused("f16 called bf16", altered(o=other), "o is F16")
    ids = right.tensors["document_ids"]
    late = ids.copy()
    late[0, 230] = late[0, 229]
    explained.ask("one document a token late", altered(document_ids=late), "boundary-shifted")
    unpacked = {"mask": {**right.metadata["mask"], "rule": "full"}}
    full = Capture({n: t for n, t in problem.tensors.items() if n != "document_ids"},
                   {**problem.metadata, **unpacked})
    full = answered(explained.executable, folder, full)
    windowed = {"mask": {**full.metadata["mask"], "window_keys": 77}}
    other = answered(explained.executable, folder, Capture(dict(full.tensors), {**full.metadata, **windowed}))
    explained.ask("a window nobody asked for", Capture(dict(other.tensors), full.metadata), "window-applied")
    explained.ask("a window ignored", Capture(dict(full.tensors), other.metadata), "window-ignored")
    windowed = {"mask": {**full.metadata["mask"], "window_keys": 78}}
    explained.ask("a window too short", Capture(dict(other.tensors), {**full.metadata, **windowed}),
                  "window-shifted")

    # bhsd tensors that are called bshd: as many tokens as heads, else the file would not fit.
    generator = np.random.Generator(np.random.PCG64(1))
    square = {
        name: generator.standard_normal((1, 16, 16, 32), dtype=np.float32) for name in ("q", "k", "v")
    }
    metadata = {"version": 1, "layout": "bhsd", "mask": {"rule": "full", "causal": True}}
    right = answered(explained.executable, folder, Capture(square, metadata))
    misread = Capture(right.tensors, {**metadata, "layout": "bshd"})
    explained.ask("bhsd called bshd", misread, "layout-misread")
    explained.refused("bhsd called bshd", misread, "they are bhsd")

    # Sizes that another layout would fit as well, and an answer that it does not explain.
    long = {n: generator.standard_normal((1, 2, 60, 32), dtype=np.float32) for n in ("q", "k", "v")}
    right = answered(explained.executable, folder, Capture(long, metadata))
    o = right.tensors["o"][:, :, ::-1].copy()
    tensors = {n: t for n, t in right.tensors.items() if n != "lse"}
    explained.ask("o of bhsd backwards", Capture({**tensors, "o": o}, metadata), "unknown")

    # Queries before the first key see nothing.
    tensors = {**square, "q": generator.standard_normal((1, 16, 20, 32), dtype=np.float32)}
    metadata["mask"]["corner"] = "bottom-right"
    right = answered(explained.executable, folder, Capture(tensors, metadata))
    lse = right.tensors["lse"].copy()
    assert np.isneginf(lse).any()
    lse[np.isneginf(lse)] = np.inf
    explained.ask("LSE +inf of empty rows", Capture({**right.tensors, "lse": lse}, metadata), "lse-empty")
    o = right.tensors["o"].copy()
    o[:, :, :4] = np.nan
    explained.ask("0/0 of empty rows", Capture({**right.tensors, "o": o}, metadata), "not-finite")
    explained.ask("the other corner", Capture(right.tensors, {**metadata, "mask": {"rule": "full"}}),
                  "corner-swapped")


def explain_places(explained: Explained, folder: Path) -> None:
    """What stands in the wrong elements: nothing, the negative, another row's answer, a hidden NaN."""
    import numpy as np
    from break_capture import break_capture
    from capture_file import Capture

    right = answered(explained.executable, folder, make_problem(PROBLEMS[("bf16", "all")]))

    def ask(says: str, want: str, where: str, edit) -> None:
        o, lse = right.tensors["o"].copy(), right.tensors["lse"].copy()
        edit(o[0], lse[0])
        cause = explained.ask(says, Capture({**right.tensors, "o": o, "lse": lse}, right.metadata), want)
        if where not in cause.get("says", ""):
            explained.failures.append(f"{says}: want {where!r}, got {cause}")

    def copied(to, of):
        def edit(o, lse):
            o[to] = o[of].copy()
        return edit

    def scaled(at, by: float):
        def edit(o, lse):
            o[at] = (o[at].astype(np.float32) * by).astype(o.dtype)
        return edit

    def head_unwritten(o, lse):
        o[:, 2] = 0
        lse[2] = 0

    ask("a row copied", "rows-copied", "token 203 of head 1 holds that of token 202",
        copied((203, 1), (202, 1)))
    ask("a row of another head", "rows-copied", "token 9 of head 3 holds that of head 0",
        copied((9, 3), (9, 0)))
    tile = slice(192, 256), 2
    ask("a tile copied", "rows-copied", "of 64 wrong rows the first one, token 192 of head 2 holds that of token 128",
        copied(tile, (slice(128, 192), 2)))
    ask("a head copied", "heads-permuted", "0, 1, 2, 2", copied((slice(None), 3), (slice(None), 2)))
    ask("a tile unwritten", "elements-unwritten", "whole rows, all ", scaled(tile, 0))
    ask("a head unwritten, LSE too", "elements-unwritten", "whole rows, all ", head_unwritten)
    ask("a head's dimensions unwritten", "elements-unwritten", "dimensions 32..63",
        scaled((slice(None), 1, slice(32, 64)), 0))
    ask("a head negated", "sign-flipped", "in head 1", scaled((slice(None), 1), -1))

    def mostly_copied(o, lse):
        o[20, 1] = 1
        o[(slice(192, 256), 2)] = o[(slice(128, 192), 2)].copy()

    ask("the first wrong row no copy", "rows-copied", "of 65 wrong rows one, token 193 of head 2", mostly_copied)

    def lse_infinite(o, lse):
        lse[:] = np.inf

    ask("LSE +inf", "not-finite", "in LSE alone", lse_infinite)

    # A NaN that was written as 0 still stands in LSE.
    broken = break_capture(right, "no-max-subtraction")[0]
    o = broken.tensors["o"]
    broken.tensors["o"] = np.where(np.isfinite(o.astype(np.float32)), o, 0).astype(o.dtype)
    cause = explained.ask("a NaN hidden", broken, "not-finite")
    if "zeros hide it" not in cause["says"]:
        explained.failures.append(f"a NaN hidden: got {cause}")


def explain_dimensions(explained: Explained, folder: Path) -> None:
    import numpy as np
    from capture_file import Capture

    right = answered(explained.executable, folder, make_problem(PROBLEMS[("bf16", "all")]))

    def ask(says: str, want: str, where: str, edit) -> None:
        o = right.tensors["o"].astype(np.float32)
        edit(o[0])
        tensors = {**right.tensors, "o": o.astype(right.tensors["o"].dtype)}
        cause = explained.ask(says, Capture(tensors, right.metadata), want)
        if where not in cause.get("says", ""):
            explained.failures.append(f"{says}: want {where!r}, got {cause}")

    def scaled(at, by: float):
        def edit(o) -> None:
            o[at] *= np.float32(by)
        return edit

    def exchanged(o) -> None:
        o[:, :, [8, 9]] = o[:, :, [9, 8]]

    ask("a lane of eight too large", "dimensions-wrong", "dimensions 3 mod 8, 1.007 times",
        scaled((slice(None), slice(None), slice(3, None, 8)), 1 + 2.0**-7))
    ask("some dimensions of a head halved", "dimensions-wrong", "dimensions 16..31, 0.5 times",
        scaled((slice(None), 2, slice(16, 32)), 0.5))
    ask("two dimensions exchanged", "dimensions-wrong", "dimensions 8..9", exchanged)
    ask("o doubled", "output-scaled", ": 2 times", scaled(slice(None), 2))
    ask("o a little too large", "output-scaled", ": 1.1 times", scaled(slice(None), 1.1))
    ask("a head too large", "output-scaled", "1.05 times, in head 1", scaled((slice(None), 1), 1.05))
    ask("two heads, each its own", "output-scaled", "head 0 1.05 times, head 2 0.9",
        lambda o: (scaled((slice(None), 0), 1.05)(o), scaled((slice(None), 2), 0.9)(o)))
    ask("a row alone, wrong everywhere", "unknown", "", scaled((100, 1), 1.5))


def explain_weights(explained: Explained, folder: Path) -> None:
    """Weights that are dropped, and masked keys that have one: kernels in numpy."""
    import faults
    import numpy as np
    import reference
    from break_capture import BLOCK_KEYS, Kernel
    from capture_file import Capture
    from kernels import How, Run

    def ask(says: str, packed: Packed, want: str, where: str, fault, *without: str) -> None:
        problem = make_problem(packed)
        outputs = fault(Run(Kernel(reference.read_problem(problem), block=1), how=How())).answer()
        kept = {name: tensor for name, tensor in outputs.items() if name not in without}
        cause = explained.ask(says, Capture({**problem.tensors, **kept}, problem.metadata), want)
        if where not in cause.get("says", ""):
            explained.failures.append(f"{says}: want {where!r}, got {cause}")

    def stale_values(run: Run) -> Run:
        """Every fourth tile of V is the tile before: errors that rows have in common."""
        v = run.kernel.problem.v.copy()
        tiles = np.arange(v.shape[1]) // BLOCK_KEYS % 4 == 3
        v[:, tiles] = np.roll(run.kernel.problem.v, BLOCK_KEYS, axis=1)[:, tiles]
        from dataclasses import replace
        return replace(run, kernel=run.kernel.changed(v=v))

    packed = PROBLEMS[("bf16", "all")]
    ask("dropout", packed, "dropout", "a probability of 0.1", faults.dropout)
    ask("dropout, by o alone", packed, "dropout", "a probability of 0.1", faults.dropout, "lse")
    long = Packed("bf16", (100, 700), 2, 1, 64, 5, queries=64)
    ask("dropout, no short row", long, "dropout", "a probability of 0.", faults.dropout)
    ask("dropout, no short row nor LSE", long, "unknown", "", faults.dropout, "lse")
    ask("stale tiles of V", long, "unknown", "", stale_values)

    quiet = Packed("bf16", (100, 160, 127), 4, 2, 64, 1, loudness=8,
                   loud_rows=tuple((row, 4096.0) for row in (100, 101, 102, 260, 261, 262)))
    for value in (-10000.0, -2000.0):
        masked = faults.choosing(masked=value)
        ask(f"masked scores {value:g}", quiet, "mask-not-infinite", f": {value:g}", masked)
    ask("the same by o alone", quiet, "mask-not-infinite", "such as -10000", faults.choosing(masked=-1e4),
        "lse")
    ask("masked scores 0", packed, "mask-not-infinite", ": ", faults.choosing(masked=0.0))

    # Rows that see nothing, and average everything instead.
    generator = np.random.Generator(np.random.PCG64(3))
    drawn = {name: generator.standard_normal((1, 2, n, 32), dtype=np.float32)
             for name, n in (("q", 20), ("k", 16), ("v", 16))}
    metadata = {"version": 1, "layout": "bhsd", "mask": {"rule": "full", "corner": "bottom-right"}}
    right = answered(explained.executable, folder, Capture(drawn, metadata))
    o, lse = right.tensors["o"].copy(), right.tensors["lse"].copy()
    o[:, :, :4] = drawn["v"].mean(axis=2, keepdims=True)
    lse[:, :, :4] = np.float32(-1e9)
    for says, tensors, where in (
        ("rows of nothing averaged", {"o": o, "lse": lse}, "-1e+09"),
        ("the same by o alone", {"o": o}, "such as -10000"),
    ):
        tensors = {**drawn, **tensors}
        cause = explained.ask(says, Capture(tensors, right.metadata), "mask-not-infinite")
        if where not in cause.get("says", ""):
            explained.failures.append(f"{says}: want {where!r}, got {cause}")


def explain_noise(explained: Explained, folder: Path) -> None:
    """Noise that no dropout makes, however much it is of dropout's size; dropout where it shows."""
    import numpy as np
    from capture_file import Capture

    generator = np.random.Generator(np.random.PCG64(3))

    def make(shape: tuple[int, ...], queries: int | None = None, **mask) -> Capture:
        B, S, Hq, Hkv, D = shape
        drawn = {}
        for name, n, heads in (("q", queries or S, Hq), ("k", S, Hkv), ("v", S, Hkv)):
            drawn[name] = generator.standard_normal((B, n, heads, D), dtype=np.float32)
        ids = np.repeat([[0] + [1] * (S - 1)], B, axis=0).astype(np.int32)
        if mask.get("rule") == "anchor":
            drawn["document_ids"] = ids
        metadata = {"version": 1, "layout": "bshd", "mask": {"rule": "full", "causal": False, **mask}}
        return answered(explained.executable, folder, Capture(drawn, metadata))

    def ask(says: str, right: Capture, edit, want: str = "unknown") -> None:
        o = right.tensors["o"]
        changed = edit(o.astype(np.float64)).astype(o.dtype)
        explained.ask(says, Capture({**right.tensors, "o": changed}, right.metadata), want)

    def added(o):
        return o + 0.3 * np.abs(o).mean() * generator.standard_normal(o.shape)

    def multiplied(o):
        return o * (1 + 0.3 * generator.standard_normal(o.shape))

    for says, right in (
        ("all see all", make((1, 256, 2, 1, 128))),
        ("decoding", make((1, 512, 2, 1, 128), queries=64)),
        ("a window of one key", make((1, 256, 2, 1, 128), causal=True, window_keys=1)),
        ("few dimensions", make((2, 33, 4, 2, 3), rule="anchor", causal=True)),
    ):
        ask(f"{says}, noise added", right, added)
        ask(f"{says}, noise multiplied", right, multiplied)
        one_key = "window_keys" in right.metadata["mask"]
        ask(f"{says}, o rolled", right, lambda o: np.roll(o, 1, axis=1),
            "values-shifted" if one_key else "unknown")
        if right.tensors["v"].shape[3] < 128 or one_key:
            continue
        q, k, v = (right.tensors[name][0].astype(np.float64) for name in ("q", "k", "v"))
        score = np.einsum("ihd,jd->ihj", q, k[:, 0]) / np.sqrt(q.shape[2])
        weight = np.exp(score - score.max(axis=2, keepdims=True))
        weight /= weight.sum(axis=2, keepdims=True)
        for p in (0.1, 0.4):
            kept = weight * (generator.random(weight.shape) >= p) / (1 - p)
            o = np.einsum("ihj,jd->ihd", kept, v[:, 0])[None]
            ask(f"{says}, dropout of {p}", right, lambda _, o=o: o, "dropout")


def explain_roundings(explained: Explained, folder: Path) -> None:
    """Weights and outputs that are truncated."""
    import numpy as np
    import reference
    from capture_file import Capture

    def truncated(x: np.ndarray) -> np.ndarray:
        bits = x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
        return bits.view(np.float32)

    for dtype, positive in (("bf16", False), ("bf16", True), ("f32", False)):
        packed = Packed(dtype, (200, 312, 256), 4, 2, 64, 21, positive_values=positive)
        problem = make_problem(packed)
        right = answered(explained.executable, folder, problem)
        read = reference.read_problem(right)
        q, k = right.bshd("q_rope"), right.bshd("k_rope")
        seen, heads = reference.visible(read), reference.key_heads(4, 2)
        o = np.zeros(q.shape)
        exact = np.zeros(q.shape)
        for h, key_head in enumerate(heads):
            score = q[0, :, h].astype(np.float64) @ k[0, :, key_head].astype(np.float64).T * read.scale
            score[~seen[0]] = -np.inf
            p = np.exp(score - score.max(axis=1, keepdims=True))
            v = read.v[0, :, key_head].astype(np.float64)
            total = p.sum(axis=1, keepdims=True)
            o[0, :, h] = truncated(p).astype(np.float64) @ v / total
            exact[0, :, h] = p @ v / total
        says = f"{dtype}{', V positive' if positive else ''}"
        changed = Capture({**right.tensors, "o": o.astype(np.float32).astype(q.dtype)}, right.metadata)
        explained.ask(f"weights truncated, {says}", changed, "weights-truncated")
        if dtype == "bf16":
            cut = truncated(exact).astype(q.dtype)
            changed = Capture({**right.tensors, "o": cut}, right.metadata)
            explained.ask(f"output truncated, {says}", changed, "output-truncated")


# Faults of roundings, of exp and of rescaling, in tiled kernels with f32's noise.
SCHEDULED = (
    "softmax-constant-1e-3",
    "softmax-constant-1e-4",
    "coarse-exp",
    "bf16-scores",
    "bf16-score-sums",
    "weights-truncated",
    "weights-rounded-up",
    "weights-fp8",
    "row-sum-1e-4",
    "row-sum-truncated-weights",
    "bf16-accumulator-down",
    "output-truncated",
    "output-not-rescaled",
    "sum-not-rescaled",
    "maximum-stale",
    "never-rescaled",
)


ANY_TILES = ("softmax-constant-1e-4", "row-sum-1e-4")


def explain_schedules(explained: Explained, folder: Path) -> None:
    """With the tiles and their order in the words; right kernels have nothing to explain."""
    import reference
    from break_capture import BLOCK_KEYS, Kernel
    from capture_file import Capture
    from kernels import Run
    from right_kernels import RIGHT
    from wrong_kernels import WRONG

    capture = make_problem(Packed("bf16", (130, 160, 93), 2, 1, 32, 31))
    problem = reference.read_problem(capture)
    kernel = Kernel(problem, block=problem.k.shape[1] // 2 // BLOCK_KEYS)
    for base, faults, words in (
        ("flash-64", SCHEDULED, "tiles of 64 keys"),
        ("flash-128", ("sum-not-rescaled", "output-not-rescaled"), "tile of keys 256..382"),
        ("descending-64", ("bf16-accumulator", "coarse-exp"), "64 keys, the last one first"),
    ):
        right = RIGHT[base]
        run = Run(kernel, right.engine, right.how)
        answer = Capture({**capture.tensors, **run.answer()}, capture.metadata)
        explained.ask(f"{base}, right", answer, "pass")
        for name in faults:
            fault = WRONG[name]
            answer = Capture({**capture.tensors, **fault.fault(run).answer()}, capture.metadata)
            cause = explained.ask(f"{base}, {name}", answer, fault.causes[0])
            # Some do not depend on tiles, and then none are named.
            says = cause.get("says", "")
            if name in ANY_TILES and "keys" in says or name not in ANY_TILES and words not in says:
                explained.failures.append(f"{base}, {name}: want {words}, got {says}")


def explain_committed(explained: Explained) -> None:
    from break_capture import break_capture
    from capture_file import read_capture

    committed = sorted(DATA.glob("*.safetensors"))
    if not committed:
        explained.failures.append(f"no capture in {DATA}")
    for path in committed:
        capture = read_capture(path)
        explained.ask(path.stem, capture, "pass")
        explained.ask(f"{path.stem} broken", break_capture(capture, "key-block-wrong")[0],
                      "stale-tile")
        if "do" in capture.tensors:
            broken = break_capture(capture, "delta-missing")[0]
            cause = explained.ask(f"{path.stem} broken backward", broken, "unknown")
            if "d" not in cause["says"].rsplit("stage out is ")[-1][:2]:
                explained.failures.append(f"no stage in {cause['says']}")


def explain_sampled(explained: Explained, folder: Path) -> None:
    """A few rows are enough, as long as a wrong one is among them; the others are not right for it."""
    import numpy as np
    from break_capture import break_capture
    from capture_file import ANSWERS, Capture, write_capture

    right = answered(explained.executable, folder, make_problem(PROBLEMS[("bf16", "all")]))
    write_capture(explained.path, break_capture(right.judged_by(ANSWERS), "scale-missing")[0])
    judged = check(explained.executable, explained.path, "--sample-rows", "20", command="explain")
    causes = [cause["id"] for cause in judged.report.get("causes", [])]
    ones = Capture({**right.tensors, "o": np.ones_like(right.tensors["o"])}, right.metadata)
    write_capture(explained.path, ones)
    of_ones = check(explained.executable, explained.path, "--sample-rows", "8", command="explain")
    named = [cause["id"] for cause in of_ones.report.get("causes", [])]
    if not of_ones.failed or "rows-copied" in named:
        explained.failures.append(f"ones, 8 rows: {named}, {of_ones.summary()}")
    o = next(output for output in judged.report["outputs"] if output["name"] == "o")
    if causes[:1] != ["scale-missing"] or o["elements"] != 20 * 64:
        explained.failures.append(f"20 rows: {causes}, {judged.summary()}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    args = parser.parse_args()
    require("numpy", "safetensors", "ml_dtypes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        explained = Explained(args.bitanchor, folder)
        explain_committed(explained)
        explain_blocks(explained, folder)
        explain_counts(explained, folder)
        explain_before_rope(explained, folder)
        explain_loud(explained, folder)
        explain_asking(explained, folder)
        explain_places(explained, folder)
        explain_dimensions(explained, folder)
        explain_weights(explained, folder)
        explain_noise(explained, folder)
        explain_roundings(explained, folder)
        explain_schedules(explained, folder)
        explain_mutants(explained, folder)
        explain_sampled(explained, folder)
        done = bitanchor(args.bitanchor, "explain", folder / "nothing")
        if done.returncode != 2 or len(done.stderr.splitlines()) != 1:
            explained.failures.append(f"no file: exit status {done.returncode}: {done.stderr}")
    return finish(explained.failures, f"{explained.asked} captures explained, {len(explained.failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
