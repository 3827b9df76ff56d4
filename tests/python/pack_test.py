#!/usr/bin/env python3
"""`bitanchor pack` against a packing of its own: every token is placed by rules written down again here, with its own Philox.

BlockMask tensors are compared with PyTorch's create_block_mask; without torch that part is SKIPPED.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import random
import struct
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support import Checks, bitanchor, check, finish, require, skip

ANCHOR, PADDING, TAG = -1, -2, -3  # source_index of tokens that are none of the input's
BOS, PAD = 1, 0


def philox(counter: tuple[int, int, int, int], seed: int) -> list[int]:
    """Philox4x32-10, from the paper's formulas."""
    words, key = list(counter), [seed % 2**32, seed >> 32]
    for _ in range(10):
        even, odd = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [(odd >> 32) ^ words[1] ^ key[0], odd % 2**32, (even >> 32) ^ words[3] ^ key[1], even % 2**32]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return words


def cuts(length: int, seed: int, window: int, document: int) -> list[int]:
    if not 64 <= length <= 2048:
        return []
    low, high = length // 5, 4 * length // 5
    words = philox((document, window, 16, 0), seed)
    if words[0] < 2**31:
        return [low + (words[1] * (high - low) >> 32)]
    first = low + (words[1] * (high - 12 - low + 1) >> 32)
    return [first, first + 12 + (words[2] * (high - 12 - first + 1) >> 32)]


@dataclass(frozen=True)
class Case:
    documents: list[list[int]]
    S: int
    engine: str = "flex"
    anchor: bool = True
    reset: bool = False
    interleave: bool = False
    min_length: int = 1
    seed: int = 0
    tags: list[list[int]] = field(default_factory=list)  # of each document

    def tag(self, n: int) -> list[int]:
        return self.tags[n] if self.tags else []

    def arguments(self) -> list[str]:
        words = ["-S", self.S, "--engine", self.engine, "--min-length", self.min_length, "--seed", self.seed]
        words += ["--attention", "anchor" if self.anchor else "intra-document"]
        words += ["--anchor-token", BOS] if self.anchor else []
        words += ["--bos", BOS, "--pad-token", PAD, *["--reset-positions"] * self.reset, *["--interleave"] * self.interleave]
        for n, tag in enumerate(self.tags):
            words += ["--domain-tag", f"d{n}=" + ",".join(map(str, tag))]
        return [str(word) for word in words]


Token = tuple[int, int, int, int]  # document id, position, source index, token id


def window(case: Case, w: int, parts: list[tuple[int, list[tuple[int, int]]]]) -> list[Token]:
    """One window of parts of documents: (document, [(source index, token id), ...])."""
    shared = case.anchor and case.engine == "flex"
    copies = case.anchor and case.engine == "flash"
    first = 1 if shared else 0
    pieces = []  # in order: (document of the window, tokens)
    for n, (document, tokens) in enumerate(parts):
        head = [(TAG - t, token) for t, token in enumerate(case.tag(document))]
        head = [(ANCHOR, BOS)] * copies + head
        places = [0, *cuts(len(tokens), case.seed, w, n), len(tokens)] if case.interleave else [0, len(tokens)]
        split = [tokens[begin:end] for begin, end in zip(places, places[1:])]
        pieces.append([head + split[0], *split[1:]])
    order = [n for n, of_document in enumerate(pieces) for _ in of_document]
    if case.interleave:
        for i in range(len(order) - 1, 0, -1):
            j = philox((i, w, 17, 0), case.seed)[0] * (i + 1) >> 32
            order[i], order[j] = order[j], order[i]
    laid = [(0, (ANCHOR, BOS))] if shared else []
    queues = [list(of_document) for of_document in pieces]
    for n in order:
        laid += [(n + first, token) for token in queues[n].pop(0)]
    laid += [(len(parts) + first, (PADDING, PAD))] * (case.S - len(laid))
    result, seen = [], {}
    for s, (document, (source, token)) in enumerate(laid):
        place = seen.get(document, 0)
        seen[document] = place + 1
        anchor = shared and s == 0
        position = s if not copies or place > 0 else 0
        if case.reset:
            position = 0 if anchor else place + first
        result.append((document, position, source, token))
    return result


def pack(case: Case) -> list[list[Token]]:
    """The windows, document after document, token after token."""
    windows: list[list[tuple[int, list[tuple[int, int]]]]] = []
    room = 0
    begin = 0
    for n, document in enumerate(case.documents):
        tokens = [(begin + t, token) for t, token in enumerate(document)]
        begin += len(document)
        has_bos = document[:1] == [BOS]
        if len(document) - has_bos < case.min_length:
            continue
        if case.anchor and has_bos:
            tokens = tokens[1:]
        overhead = len(case.tag(n)) + (case.anchor and case.engine == "flash")
        while tokens:
            if room <= overhead:
                windows.append([])
                room = case.S - (case.anchor and case.engine == "flex")
            part, tokens = tokens[: room - overhead], tokens[room - overhead :]
            windows[-1].append((n, part))
            room -= overhead + len(part)
    return [window(case, w, parts) for w, parts in enumerate(windows)]


def cases() -> list[Case]:
    drawn = random.Random(5)
    made = []
    for n in range(60):
        documents = [
            [BOS] * drawn.randrange(2) + [drawn.randrange(200) for _ in range(drawn.choice([0, 1, 2, 5, 30, 90, 300]))]
            for _ in range(drawn.randrange(1, 12))
        ]
        documents.append([7] * 5)  # something to pack
        flash = drawn.random() < 0.4
        anchor = drawn.random() < 0.75
        case = Case(documents, drawn.randrange(6, 400), "flash" if flash else "flex", anchor, drawn.random() < 0.3,
                    not flash and drawn.random() < 0.5, drawn.choice([1, 1, 3, 5]), drawn.randrange(2**64))  # fmt: skip
        if anchor and drawn.random() < 0.4:
            case = replace(case, tags=[[300 + d] * drawn.randrange(1, 4) for d in range(len(documents))])
        made.append(case)
    return made


def tensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    import numpy as np

    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    metadata = header.pop("__metadata__")
    found = {}
    for name, spec in header.items():
        begin, end = (8 + size + at for at in spec["data_offsets"])
        dtype = {"I32": "<i4", "I64": "<i8"}[spec["dtype"]]
        found[name] = np.frombuffer(raw[begin:end], dtype).reshape(spec["shape"])
    return found, metadata


def sees(case: Case, ids):
    """The mask of one window's ids, [S, S]."""
    import numpy as np

    same = ids[:, None] == ids[None, :]
    if case.anchor and case.engine == "flex":
        same |= ids[None, :] == 0
    return same & np.tri(len(ids), dtype=bool)


def write(test: Checks, case: Case) -> Path:
    file = test.folder / "documents.jsonl"
    lines = [json.dumps({"tokens": tokens, "domain": f"d{n}"}) for n, tokens in enumerate(case.documents)]
    file.write_text("\n".join(lines) + "\n")
    return file


def packed(test: Checks, case: Case, torch: bool) -> None:
    """File and numbers of one case."""
    import numpy as np

    out, report = test.folder / "packed", test.folder / "report.json"
    size = ["--block-q", "16", "--block-k", "32"]
    ran = bitanchor(test.program, "pack", write(test, case), "-o", out, "--json", report, *size, *case.arguments())
    test.want(ran.returncode == 0, f"{case}: {ran.stderr}")
    if ran.returncode != 0:
        return
    want = np.array(pack(case))  # [B, S, 4]
    got, metadata = tensors(out)
    for column, name in enumerate(("document_ids", "position_ids", "source_index", "tokens")):
        test.want(np.array_equal(got[name], want[..., column]), f"{case}: {name}\n{got[name]}\n{want[..., column]}")
    mask = json.loads(metadata["bitanchor"])["mask"]
    test.want(mask["rule"] == ("anchor" if case.anchor and case.engine == "flex" else "document"), f"{case}: {mask}")
    B = len(want)
    starts = not case.interleave and (case.engine == "flash" or not case.anchor)
    test.want(("cu_seqlens" in got) == starts, f"{case}: {sorted(got)}")
    if starts:
        flat = (want[..., 0] + case.S * np.arange(B)[:, None]).ravel()  # ids that no two windows share
        changes = [0, *(np.flatnonzero(np.diff(flat)) + 1), B * case.S]
        test.want(got["cu_seqlens"].tolist() == changes, f"{case}: cu_seqlens {got['cu_seqlens']} {changes}")
        longest = int(np.diff(changes).max())
        test.want(int(metadata["max_seqlen"]) == longest, f"{case}: {metadata['max_seqlen']} {longest}")
    numbers(test, case, want, json.loads(report.read_text())["packings"][0])
    if torch and case.engine == "flex":
        block_mask(test, case, want, got, metadata)
    drawn = json.loads(bitanchor(test.program, "mask", out, "--batch", str(B - 1), "--json", "-", *size).stdout)
    kept = int(sees(case, want[-1, :, 0]).sum())
    test.want(drawn["kept_pairs"] == kept and drawn["batches"] == B, f"{case}: mask {drawn} {kept}")


def numbers(test: Checks, case: Case, want, report: dict[str, Any]) -> None:
    """--json against pairs and tokens counted one by one."""
    import numpy as np

    masks = [sees(case, ids) for ids in want[..., 0]]
    kept, visited, causal, blocks = 0, 0, 0, 0
    for mask in masks:
        kept += int(mask.sum())
        for q in range(0, case.S, 16):
            for k in range(0, case.S, 32):
                blocks += 1
                visited += bool(mask[q : q + 16, k : k + 32].any())
                causal += k <= min(q + 16, case.S) - 1
    B = len(want)
    source = want[..., 2]
    short = [d for d in case.documents if len(d) - (d[:1] == [BOS]) < case.min_length]
    spread = [len({w for w in range(B) if np.isin(source[w], own).any()}) for own in owned(case)]
    expected = {
        "windows": B,
        "tokens": B * case.S,
        "anchors": int((source == ANCHOR).sum()),
        "padding": int((source == PADDING).sum()),
        "tag_tokens": int((source <= TAG).sum()),
        "documents": sum(windows > 0 for windows in spread),
        "cut_documents": sum(windows > 1 for windows in spread),
        "segments": sum(spread),
        "stripped_bos": case.anchor * (sum(d[:1] == [BOS] for d in case.documents) - sum(d[:1] == [BOS] for d in short)),
        "kept_pairs": kept,
        "density": kept / (B * case.S**2),
        "block_density": visited / blocks,
        "speed_up_over_full_causal": {"by_blocks": causal / visited, "by_pairs": B * case.S * (case.S + 1) / 2 / kept},
        "dropped": {"short_documents": len(short), "short_tokens": sum(map(len, short)), "last_window_tokens": 0},
    }
    got = {name: report[name] for name in expected}
    test.want(got == expected, f"{case}: {got} want {expected}")


def owned(case: Case) -> list[range]:
    """The input's tokens that each document has."""
    begins = [sum(map(len, case.documents[:n])) for n in range(len(case.documents) + 1)]
    return [range(begin, end) for begin, end in zip(begins, begins[1:])]


def block_mask(test: Checks, case: Case, want, got: dict[str, Any], metadata: dict[str, str]) -> None:
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    ids = torch.tensor(want[..., 0])

    def mask_mod(b, h, q_idx, kv_idx):
        same = ids[b, q_idx] == ids[b, kv_idx]
        return (same | (ids[b, kv_idx] == 0) if case.anchor else same) & (q_idx >= kv_idx)

    theirs = create_block_mask(mask_mod, len(ids), 1, case.S, case.S, device="cpu", BLOCK_SIZE=(16, 32))
    test.want(json.loads(metadata["BLOCK_SIZE"]) == [16, 32], f"{case}: {metadata}")
    for which in ("kv", "full_kv", "q", "full_q"):
        for what in ("num_blocks", "indices"):
            name = f"{which}_{what}"
            test.want(torch.equal(torch.tensor(got[name]), getattr(theirs, name)), f"{case}: {name}")


def inputs(test: Checks) -> None:
    """One packing from every kind of file, written by others than us."""
    import numpy as np

    lengths = [70, 3, 120]
    of_options = bitanchor(test.program, "pack", "--documents", "70,3,120", "-S", "64", "--json", "-").stdout
    files = {}
    for dtype in ("<i8", ">i4", "<u2", "|u1"):
        buffer = io.BytesIO()
        np.save(buffer, np.array(lengths, dtype))
        files[f"{dtype[1:]}.npy"] = buffer.getvalue()
    for version in ((2, 0), (3, 0)):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.array(lengths), version)
        files[f"version{version[0]}.npy"] = buffer.getvalue()
    files["lines.jsonl"] = "\n".join(map(str, lengths)).encode()
    header = {"lengths": {"dtype": "I64", "shape": [3], "data_offsets": [0, 24]}}
    text = json.dumps(header).encode()
    files["lengths.safetensors"] = struct.pack("<Q", len(text)) + text + struct.pack("<3q", *lengths)
    for name, raw in files.items():
        file = test.folder / name
        file.write_bytes(raw)
        ran = bitanchor(test.program, "pack", file, "-S", "64", "--json", "-")
        test.want(ran.returncode == 0 and ran.stdout == of_options, f"{name}: {ran.stdout} {ran.stderr}")


def captures(test: Checks) -> None:
    """Ids, cu_seqlens and metadata as they are make captures; what a kernel answers without the mask fails."""
    import numpy as np
    from capture_file import Capture, read_capture, write_capture

    case = Case([[BOS, *[9] * n] for n in (40, 25, 70, 33)], 64)
    drawn = np.random.default_rng(3)
    for engine in ("flex", "flash"):
        out = test.folder / "packed"
        case = replace(case, engine=engine)
        bitanchor(test.program, "pack", write(test, case), "-o", out, "--no-block-mask", *case.arguments())
        file = read_capture(out)
        ids, metadata = file.tensors["document_ids"], file.metadata
        B, S = ids.shape
        q, k, v = (drawn.standard_normal((B, S, heads, 16), dtype=np.float32) for heads in (2, 1, 1))
        scores = np.einsum("bihd,bjd->bhij", q.astype(float), k[:, :, 0].astype(float)) / 4
        for masked in (True, False):
            mask = np.array([sees(case, window) if masked else np.tri(S, dtype=bool) for window in ids])
            weights = np.exp(np.where(mask[:, None], scores, -np.inf))
            weights /= weights.sum(-1, keepdims=True)
            o = np.einsum("bhij,bjd->bihd", weights, v[:, :, 0]).astype(np.float32)
            tensors = {"q": q, "k": k, "v": v, "o": o, "document_ids": ids}
            if engine == "flash":  # as a varlen kernel has it: all windows end to end
                tensors = {name: tensors[name].reshape(B * S, -1, 16) for name in "qkvo"}
                tensors["cu_seqlens"] = file.tensors["cu_seqlens"]
                metadata = {**metadata, "layout": "thd"}
            capture = test.folder / "capture"
            write_capture(capture, Capture(tensors, metadata))
            judged = check(test.program, capture)
            test.want(judged.passed if masked else judged.failed, f"{engine}, masked {masked}: {judged.summary()}")


def reference(test: Checks) -> None:
    """Two habits of the paper's reference code, written down as it has them, beside what pack does with the same documents.

    Raw text under flash: a document is cut to the room that is left, the anchor not counted, so that the window overflows and its
    last token is lost; boundaries at the window's end are thrown away, so that a document which fills a window has none.
    """

    def theirs(documents: list[list[int]], S: int) -> tuple[list[list[int]], list[list[int]]]:
        windows, ends, tokens, of_window = [], [], [], []
        for document in documents:
            while document:
                size = min(len(document), S - len(tokens))
                chunk, document = document[:size], document[size:]
                chunk = chunk if chunk[0] == BOS else [BOS, *chunk]
                of_window.append(len(tokens) + len(chunk))
                tokens = tokens + chunk
                if len(tokens) >= S:
                    windows.append(tokens[:S])
                    of_window = [end for end in of_window if end < S]
                    ends.append([*of_window, S] if of_window else [])
                    tokens, of_window = [], []
        return windows, ends

    documents = [[BOS, *range(10, 17)], [BOS, *range(20, 28)], [BOS, *range(30, 38)]]
    windows, ends = theirs(documents, 8)
    kept = {token for tokens in windows for token in tokens}
    test.want(not ends[0] and windows[0] == documents[0], f"the reference keeps boundaries: {ends}")
    test.want({27, 37} & kept != {27, 37}, f"the reference loses no token: {windows}")
    case = Case(documents, 8, "flash")
    out = test.folder / "packed"
    ran = bitanchor(test.program, "pack", write(test, case), "-o", out, *case.arguments())
    test.want(ran.returncode == 0, ran.stderr)
    got, _ = tensors(out)
    own = {token for document in documents for token in document}
    test.want(own <= set(got["tokens"].ravel().tolist()), f"pack loses tokens: {got['tokens']}")
    test.want(got["tokens"][0].tolist() == documents[0] and got["cu_seqlens"][:2].tolist() == [0, 8], f"{got}")


def text(test: Checks) -> None:
    """What stands on stdout, and where a user reads of what is done otherwise elsewhere."""
    ran = bitanchor(test.program, "pack", "--documents", "700,1200,300,2500", "-S", "2048", "--compare").stdout
    rows = [line.split() for line in ran.splitlines() if line.startswith(("flex", "flash", "intra"))]
    test.want([row[0] for row in rows] == ["flex,", "flash,", "intra-document"], ran)
    test.want(all(line.isascii() and len(line) <= 160 for line in ran.splitlines()), ran)
    test.want("2 documents cut across windows" in ran and "no cu_seqlens" in ran, ran)
    dropped = bitanchor(test.program, "pack", "--documents", "2,9,1,70", "--min-length", "3", "-S", "16", "--drop-last").stdout
    test.want("dropped 2 documents of fewer than 3 tokens (3 tokens)" in dropped, dropped)
    test.want("dropped a last window that was not full (4 tokens)" in dropped, dropped)
    test.want(" padding is one more document of its window: it sees itself and the anchor" in ran, ran)
    # A window that is full with an anchor, and not without: what was asked for stands, the other is left out.
    full = bitanchor(test.program, "pack", "--documents", "63", "-S", "64", "--drop-last", "--compare")
    rows = [line.split()[0] for line in full.stdout.splitlines() if line.startswith(("flex", "flash", "intra"))]
    test.want(full.returncode == 0 and rows == ["flex,", "flash,"], f"{full}")
    test.want("note: intra-document is left out: documents: got no full window" in full.stdout, full.stdout)
    told = bitanchor(test.program, "pack", "--help").stdout
    test.want(all(f"\n  {n}. " in told for n in range(1, 8)), told)
    test.want(told.index("bitanchor pack --documents") < told.index("Usage"), told)
    quiet = bitanchor(test.program, "pack", "--documents", "5", "--quiet")
    test.want(quiet.returncode == 0 and not quiet.stdout and not quiet.stderr, f"{quiet}")
    source = bitanchor(test.program, "pack", "--documents", "5,6", "--py", "-").stdout
    compile(source, "mask_mod", "exec")


def errors(test: Checks) -> None:
    """Exit 2, and one line that names what is wrong."""
    lines = test.folder / "tokens.jsonl"
    lines.write_text("[1, 2, 3]\n[1, 5]\n")
    bad = test.folder / "bad.npy"
    bad.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr': '|O'")
    missing = test.folder / "no" / "such"
    some = ["--documents", "30,40"]
    for names, arguments in (
        ("--documents", []),
        ("--documents", [lines, *some]),
        ("--documents", ["--documents", "3,x"]),
        ("--documents", ["--documents", "0"]),
        ("documents", ["--documents", "99999999"]),
        ("--documents", ["--documents", "2147483647,2147483647"]),
        ("no/such", [missing]),
        ("bad.npy", [bad]),
        ("ending", [test.program]),
        ("--anchor-token", [lines]),
        ("--anchor-token", [*some, "--anchor-token", "-1"]),
        ("--anchor-token", [*some, "--anchor-token", str(2**63)]),
        ("--pad-token", [*some, "--pad-token", str(2**64)]),
        ("--seed", [*some, "--seed", "-1"]),
        ("--seed", [*some, "--seed", str(2**64)]),
        ("--block-q", ["--documents", "10000000"]),
        ("twice", [*some, "-o", test.folder / "one", "--json", test.folder / "one"]),
        ("--engine", [*some, "--engine", "sdpa"]),
        ("--attention", [*some, "--attention", "full"]),
        ("--interleave", [*some, "--engine", "flash", "--interleave"]),
        ("--sequence-length", [*some, "-S", "0"]),
        ("--sequence-length", [*some, "-S", "1"]),
        ("--sequence-length", [*some, "-S", "4", "--domain-tag", "5,6,7"]),
        ("--sequence-length", [*some, "-S", "99999999999"]),
        ("--min-length", [*some, "--min-length", "0"]),
        ("documents", [*some, "--min-length", "41"]),
        ("documents", [*some, "-S", "100", "--drop-last"]),
        ("--domain-tag", [*some, "--domain-tag", "x"]),
        ("--domain-tag", [*some, "--domain-tag", "web=5"]),
        ("--domain-tag", [*some, "--domain-tag", "5", "--domain-tag", "6"]),
        ("--domain-tag", [*some, "--domain-tag", "5", "--attention", "intra-document"]),
        ("--block-q", [*some, "--block-q", "0"]),
        ("--py", [*some, "--py", "-", "--json", "-"]),
        ("no/such", [*some, "-o", missing]),
        ("no/such", [*some, "--json", missing]),
        ("no/such", [*some, "--py", missing]),
        ("--seed", [*some, "--seed", "x"]),
    ):
        ran = bitanchor(test.program, "pack", *arguments)
        one_line = ran.stderr.endswith("\n") and ran.stderr.count("\n") == 1 and len(ran.stderr) <= 600
        test.want(ran.returncode == 2 and one_line and names in ran.stderr and not ran.stdout,
                  f"{arguments}: status {ran.returncode}, {ran.stderr!r} {ran.stdout!r}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    program = parser.parse_args().bitanchor.resolve()
    require("numpy", "safetensors", "ml_dtypes")
    torch = importlib.util.find_spec("torch") is not None
    with tempfile.TemporaryDirectory() as name:
        test = Checks(program, Path(name))
        test.want(philox((0, 0, 0, 0), 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], "Philox")
        for n, case in enumerate(cases()):
            packed(test, case, torch and n % 5 == 0)
        for ask in (inputs, captures, reference, text, errors):
            ask(test)
    status = finish(test.failures, f"{test.checks} checks of {len(cases())} packings, {len(test.failures)} failures")
    if status == 0 and not torch:
        skip(f"BlockMask: no torch for {sys.executable}; tools/setup.sh --torch installs it")
    return status


if __name__ == "__main__":
    sys.exit(main())
