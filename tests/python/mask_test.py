#!/usr/bin/env python3
"""`bitanchor mask` against PyTorch: BlockMask tensors as create_block_mask makes them, and the mask_mod it writes.

The mask_mod compared with is written here from the definition. Without torch the tests that need none still run and the rest is
SKIPPED.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import struct
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from support import Checks, bitanchor, finish, skip

LISTS = ("kv", "full_kv", "q", "full_q")


@dataclass(frozen=True)
class Case:
    """A mask: one list of ids per batch, queries' own where they are not the keys at the corner."""

    name: str
    Sq: int
    Skv: int
    rule: str = "full"
    causal: bool = True
    window: int | None = None
    corner: str = "top-left"
    ids: list[list[int]] = field(default_factory=list)  # [B][Skv]; none for rule full
    q_ids: list[list[int]] = field(default_factory=list)  # [B][Sq]
    block: tuple[int, int] = (128, 128)

    @property
    def offset(self) -> int:
        return 0 if self.corner == "top-left" else self.Skv - self.Sq

    @property
    def batches(self) -> int:
        return max(len(self.ids), 1)

    def queries(self) -> list[list[int]]:
        return self.q_ids or [ids[self.offset : self.offset + self.Sq] for ids in self.ids]

    def sees(self, b: int, i: int, j: int) -> bool:
        """The definition, pair by pair."""
        at = i + self.offset
        if self.causal and j > at or self.window is not None and at - j >= self.window:
            return False
        if self.rule == "full":
            return True
        return self.ids[b][j] == self.queries()[b][i] or self.rule == "anchor" and self.ids[b][j] == 0


def documents(*lengths: int, anchor: bool = False, first: int = 1) -> list[int]:
    ids = [first + n for n, length in enumerate(lengths) for _ in range(length)]
    return [0, *ids[1:]] if anchor else ids


def cases() -> list[Case]:
    packed = documents(256, 512, 256, anchor=True)
    ragged = documents(57, 200, 130, 33, anchor=True)
    interleaved = [0, *[1] * 150, *[2] * 90, *[1] * 60, *[3] * 40, *[2] * 70, *[3] * 89]
    other = documents(250, 150, 100, anchor=True)
    return [
        Case("dense", 256, 256, causal=False),
        Case("dense, ragged", 300, 200, causal=False),
        Case("causal", 512, 512),
        Case("causal, ragged", 333, 333),
        Case("causal, top-left, more keys", 200, 500),
        Case("causal, bottom-right, more keys", 200, 500, corner="bottom-right"),
        Case("causal, bottom-right, more queries: rows that see nothing", 500, 200, corner="bottom-right"),
        Case("one query", 1, 400, corner="bottom-right"),
        Case("one pair", 1, 1),
        Case("window", 500, 500, window=64),
        Case("window, blocks of 64 x 32", 500, 500, window=100, block=(64, 32)),
        Case("window without causal, bottom-right", 300, 500, causal=False, window=1, corner="bottom-right"),
        Case("anchor", 1024, 1024, "anchor", ids=[packed]),
        Case("anchor, ragged, window", 420, 420, "anchor", ids=[ragged], window=130, block=(64, 64)),
        Case("anchor, not causal", 420, 420, "anchor", ids=[ragged], causal=False, block=(32, 128)),
        Case("anchor, bottom-right", 100, 420, "anchor", ids=[ragged], corner="bottom-right", block=(64, 64)),
        Case("anchor, interleaved, two batches", 500, 500, "anchor", ids=[interleaved, other], block=(64, 64)),
        Case("document, two equal batches", 420, 420, "document", ids=[ragged, ragged], block=(64, 64)),
        Case("document, queries of their own", 90, 300, "document", causal=False, ids=[documents(100, 100, 100)],
             q_ids=[documents(40, 50, first=2)], block=(32, 32)),
        Case("no pair at all", 90, 300, "document", causal=False, ids=[[1] * 300], q_ids=[[2] * 90]),
        Case("ids past 32 bits", 200, 200, "document", ids=[[2**40] * 100 + [2**62] * 100], block=(64, 64)),
        Case("window past every length", 200, 200, window=2**62, block=(64, 64)),
    ]  # fmt: skip


def container(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata}
    data = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def capture(case: Case) -> bytes:
    """A problem file of the case; q, k and v are there because a file needs them."""
    B = case.batches
    tensors = {"q": ("F32", [B, case.Sq, 1, 1], bytes(4 * B * case.Sq))}
    tensors |= {name: ("F32", [B, case.Skv, 1, 1], bytes(4 * B * case.Skv)) for name in "kv"}
    for name, ids, S in (("document_ids", case.ids, case.Skv), ("q_document_ids", case.q_ids, case.Sq)):
        if ids:
            flat = [number for of_batch in ids for number in of_batch]
            tensors[name] = ("I64", [B, S], struct.pack(f"<{len(flat)}q", *flat))
    mask = {"rule": case.rule, "causal": case.causal, "window_keys": case.window, "corner": case.corner}
    return container(tensors, {"bitanchor": json.dumps({"version": 1, "mask": mask})})


def safetensors(path: Path) -> tuple[dict[str, tuple[list[int], list[int]]], dict[str, str]]:
    """Of each I32 tensor its shape and numbers; and the metadata."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, spec in header.items():
        assert spec["dtype"] == "I32", spec
        begin, end = (8 + size + at for at in spec["data_offsets"])
        tensors[name] = (spec["shape"], list(struct.unpack(f"<{(end - begin) // 4}i", raw[begin:end])))
    return tensors, metadata


class Test(Checks):
    def mask(self, *arguments: str | Path):
        return bitanchor(self.program, "mask", *arguments)

    def write(self, case: Case) -> list[str | Path]:
        problem = self.folder / "problem"
        problem.write_bytes(capture(case))
        return [problem, "--block-q", str(case.block[0]), "--block-k", str(case.block[1])]


def numbers(test: Test, case: Case) -> None:
    """--json against pairs counted one by one."""
    for b in range(case.batches):
        report = json.loads(test.mask(*test.write(case), "--batch", str(b), "--json", "-").stdout)
        rows = [[case.sees(b, i, j) for j in range(case.Skv)] for i in range(case.Sq)]
        kept = sum(map(sum, rows))
        blind = [i for i, row in enumerate(rows) if not any(row)]
        Bq, Bk = case.block
        kinds = {"full": 0, "partial": 0, "empty": 0}
        causal = 0
        for q in range(0, case.Sq, Bq):
            for k in range(0, case.Skv, Bk):
                seen = [pair for row in rows[q : q + Bq] for pair in row[k : k + Bk]]
                kinds["full" if all(seen) else "partial" if any(seen) else "empty"] += 1
                causal += k <= min(q + Bq, case.Sq) - 1 + case.offset
        visited = kinds["full"] + kinds["partial"]
        got = (report["kept_pairs"], report["blocks"], report["queries_that_see_nothing"],
               report["first_query_that_sees_nothing"], report["block_size"])  # fmt: skip
        want = (kept, kinds, len(blind), blind[0] if blind else None, [Bq, Bk])
        test.want(got == want, f"{case.name}, batch {b}: got {got} want {want}")
        speed = report["speed_up"]
        want_dense = sum(kinds.values()) / visited if visited else None
        test.want(speed["over_dense"]["by_blocks"] == want_dense, f"{case.name}: over dense {speed}")
        if case.causal:
            pairs = sum(max(0, min(i + case.offset + 1, case.Skv)) for i in range(case.Sq))
            want_causal = {"by_blocks": causal / visited if visited else None, "by_pairs": pairs / kept if kept else None}
            test.want(speed["over_dense_causal"] == want_causal, f"{case.name}: {speed} want {want_causal}")
        else:
            test.want(speed["over_dense_causal"] is None, f"{case.name}: not causal, {speed}")


def block_mask(test: Test, case: Case) -> None:
    """--block-mask and --py against PyTorch."""
    import torch
    from torch.nn.attention.flex_attention import BlockMask, create_block_mask, create_mask

    flex, source = test.folder / "flex", test.folder / "mask_mod.py"
    ran = test.mask(*test.write(case), "--block-mask", flex, "--py", source, "--quiet")
    test.want(ran.returncode == 0 and not ran.stdout, f"{case.name}: {ran.returncode} {ran.stdout} {ran.stderr}")
    tensors, metadata = safetensors(flex)
    test.want(json.loads(metadata["BLOCK_SIZE"]) == list(case.block), f"{case.name}: {metadata}")
    test.want(json.loads(metadata["seq_lengths"]) == [case.Sq, case.Skv], f"{case.name}: {metadata}")

    k_ids, q_ids = torch.tensor(case.ids), torch.tensor(case.queries())

    def mask_mod(b, h, q_idx, kv_idx):
        at = q_idx + case.offset
        keep = at >= kv_idx if case.causal else b >= 0
        if case.window is not None:
            keep = keep & (at - kv_idx < case.window)
        if case.rule != "full":
            allowed = q_ids[b, q_idx] == k_ids[b, kv_idx]
            keep = keep & (allowed | (k_ids[b, kv_idx] == 0) if case.rule == "anchor" else allowed)
        return keep

    B = case.batches
    want = create_block_mask(mask_mod, B, 1, case.Sq, case.Skv, device="cpu", BLOCK_SIZE=case.block)
    got = {name: torch.tensor(values, dtype=torch.int32).reshape(shape) for name, (shape, values) in tensors.items()}
    names = [f"{which}_{what}" for which in LISTS for what in ("num_blocks", "indices")]
    test.want(sorted(got) == sorted(names), f"{case.name}: tensors {sorted(got)}")
    for name in names:
        theirs = getattr(want, name)
        equal = theirs.dtype == torch.int32 and torch.equal(got[name], theirs)
        test.want(equal, f"{case.name}: {name}\n{got[name]}\n{theirs}")
    made = BlockMask.from_kv_blocks(
        *(got[name] for name in names[:4]), BLOCK_SIZE=tuple(json.loads(metadata["BLOCK_SIZE"])),
        mask_mod=mask_mod, seq_lengths=tuple(json.loads(metadata["seq_lengths"]))
    )  # fmt: skip
    test.want(torch.equal(made.to_dense(), want.to_dense()), f"{case.name}: from_kv_blocks is another mask")
    test.want(made.shape == want.shape, f"{case.name}: shape {made.shape} {want.shape}")

    pasted: dict[str, Any] = {}
    exec(compile(source.read_text(), source.name, "exec"), pasted)  # noqa: S102: what a user pastes
    dense = create_mask(pasted["make_mask_mod"](), B, 1, case.Sq, case.Skv, device="cpu")
    theirs = create_mask(mask_mod, B, 1, case.Sq, case.Skv, device="cpu")
    test.want(dense.dtype == torch.bool and torch.equal(dense, theirs), f"{case.name}: --py is another mask")


def options(test: Test) -> None:
    """Options make the mask that gen makes; a file's mask is the file's."""
    chosen = ["--documents", "60,120,20", "--mask", "anchor", "--window-keys", "50", "--corner", "bottom-right"]
    problem = test.folder / "generated"
    made = bitanchor(test.program, "gen", "-o", problem, "--shape", "1,150,1,1,8", "--kv-length", "200", *chosen)
    test.want(made.returncode == 0, f"gen {made.stderr}")
    of_file = test.mask(problem, "--json", "-").stdout
    of_options = test.mask(*chosen, "--lengths", "150,200", "--json", "-").stdout
    test.want(json.loads(of_file) == json.loads(of_options), f"{of_file} {of_options}")
    sum_of = json.loads(test.mask("--documents", "60,120,20", "--json", "-").stdout)
    test.want((sum_of["Sq"], sum_of["Skv"], sum_of["mask"]["rule"]) == (200, 200, "full"), f"{sum_of}")
    dense = json.loads(test.mask("--lengths", "100", "--no-causal", "--json", "-").stdout)
    test.want(dense["kept_pairs"] == 10000 and dense["speed_up"]["over_dense_causal"] is None, f"{dense}")


def text(test: Test) -> None:
    """The drawing: exact where it is small, and never wider than it promises."""
    small = test.mask("--documents", "3,2", "--mask", "anchor", "--ascii").stdout.splitlines()
    rows = [line.split()[-1] for line in small if line[:1].isdigit()]
    want = ["##........", "####......", "######....", "##....##..", "##....####"]
    test.want(rows == want, f"drawing {rows}")
    blind = test.mask("--lengths", "500,200", "--corner", "bottom-right").stdout
    test.want("queries that see nothing: 300 of 500, the first is 0" in blind, blind)
    nothing = test.mask(*test.write(next(case for case in cases() if case.name == "no pair at all"))).stdout
    test.want("kept pairs: 0 of 27000 (0%)" in nothing and "no work" in nothing, nothing)
    for lengths in ("64", "65", "5000", "100000", "1,100000", "7,33"):
        for more in ([], ["--mask", "document", "--corner", "bottom-right"], ["--block-q", "8", "--block-k", "2000"]):
            ran = test.mask("--lengths", lengths, *more)
            drawn = [line for line in ran.stdout.splitlines() if set(line) & set("█▒·") and line[:1] in " 0123456789"]
            cells = max((len([c for c in line if c in "█▒·"]) for line in drawn), default=0)
            test.want(ran.returncode == 0 and 0 < cells <= 64, f"--lengths {lengths} {more}: {cells} cells {ran.stderr}")
            test.want(len(drawn) <= 64, f"--lengths {lengths} {more}: {len(drawn)} rows")
    tall = test.mask("--lengths", "100000,1").stdout
    test.want(0 < len([line for line in tall.splitlines() if line[-1:] in "█▒·" and line[:2] != "██"]) <= 64, tall)
    plain = test.mask("--documents", "900,100", "--mask", "anchor", "--ascii").stdout
    test.want(plain.isascii(), plain)


def picture(test: Test) -> None:
    svg = test.folder / "mask.svg"
    for arguments in (["--documents", "256,512,256", "--mask", "anchor"], ["--lengths", "20,30"], ["--lengths", "1,9999"]):
        ran = test.mask(*arguments, "--svg", svg, "--quiet")
        root = ElementTree.parse(svg).getroot()
        test.want(ran.returncode == 0 and root.tag.endswith("svg") and "viewBox" in root.attrib, f"{arguments}: {root}")
        said = [child.tag.rpartition("}")[2] for child in root]
        test.want(said[:2] == ["title", "desc"], f"{arguments}: {said[:2]}")


def errors(test: Test) -> None:
    """Exit 2, and one line that names what is wrong."""
    file = test.folder / "problem"
    file.write_bytes(capture(cases()[0]))
    missing = test.folder / "no" / "such"
    for names, arguments in (
        ("--documents", []),
        ("missing-file", ["missing-file"]),
        ("documents", ["--documents", "3,4", "--lengths", "8"]),
        ("--documents", ["--documents", "3,x"]),
        ("--documents", ["--documents", "0"]),
        ("--documents", ["--documents", "9999999999"]),
        ("--documents", ["--documents", ",".join(["16777216"] * 200)]),
        ("--lengths", ["--lengths", "1,2,3"]),
        ("--lengths", ["--lengths", "99999999999999999999"]),
        ("--mask", ["--lengths", "4", "--mask", "sliding"]),
        ("--window", ["--lengths", "4", "--window", "0"]),
        ("--batch", ["--lengths", "4", "--batch", "1"]),
        ("--batch", ["--lengths", "4", "--batch", "-1"]),
        ("--block-q", ["--lengths", "4", "--block-q", "0"]),
        ("--block-q", ["--lengths", "1000000", "--block-q", "1", "--block-k", "1"]),
        ("queries", ["--lengths", "9,4", "--mask", "anchor"]),
        ("--documents", [file, "--documents", "256"]),
        ("--window", [file, "--window", "3"]),
        ("--py", ["--lengths", "4", "--json", "-", "--py", "-"]),
        ("no/such", ["--lengths", "4", "--svg", missing]),
        ("no/such", ["--lengths", "4", "--py", missing]),
        ("no/such", ["--lengths", "4", "--json", missing]),
        ("no/such", ["--lengths", "4", "--block-mask", missing]),
    ):
        ran = test.mask(*arguments)
        one_line = ran.stderr.endswith("\n") and ran.stderr.count("\n") == 1 and len(ran.stderr) <= 600
        test.want(ran.returncode == 2 and one_line and names in ran.stderr and not ran.stdout,
                  f"{arguments}: status {ran.returncode}, {ran.stderr!r} {ran.stdout!r}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    program = parser.parse_args().bitanchor.resolve()
    torch = importlib.util.find_spec("torch") is not None
    with tempfile.TemporaryDirectory() as name:
        test = Test(program, Path(name))
        for case in cases():
            numbers(test, case)
            if torch:
                block_mask(test, case)
        for check in (options, text, picture, errors):
            check(test)
    status = finish(test.failures, f"{test.checks} checks of {len(cases())} masks, {len(test.failures)} failures")
    if status == 0 and not torch:
        skip(f"BlockMask and mask_mod: no torch for {sys.executable}; tools/setup.sh --torch installs it")
    return status


if __name__ == "__main__":
    sys.exit(main())
