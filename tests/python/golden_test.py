#!/usr/bin/env python3
"""Goldens from outside: the committed ones on every target, digests by hashlib, inputs by numpy, hostile folders.

gen-1 and the ids and positions of documents are computed here from lib/NUMERICS.md alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable

from support import DATA, bitanchor, finish, skip

try:
    import numpy as np
except ImportError as error:
    skip(f"{error}: tools/setup.sh installs what is missing")

GOLDENS = DATA / "golden"
FAILURES: list[str] = []
TENSOR_NUMBERS = {"q": 0, "k": 1, "v": 2, "do": 3}
MASK32 = np.uint64(0xFFFFFFFF)


def want(condition: bool, what: str) -> None:
    print(f"{'ok  ' if condition else 'FAIL'} {what}")
    if not condition:
        FAILURES.append(what)


# ---- gen-1, from NUMERICS.md ----


def philox(counter: list[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Philox4x32-10: words as uint64 arrays below 2^32."""
    k0, k1 = key
    for _ in range(10):
        even = np.uint64(0xD2511F53) * counter[0]
        odd = np.uint64(0xCD9E8D57) * counter[2]
        counter = [(odd >> np.uint64(32)) ^ counter[1] ^ np.uint64(k0), odd & MASK32,
                   (even >> np.uint64(32)) ^ counter[3] ^ np.uint64(k1), even & MASK32]  # fmt: skip
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return counter


def nearest_bf16(n: int) -> int:
    """The bits of n 2^-32 in bf16; there are no ties."""
    if n == 0:
        return 0
    magnitude = abs(n)
    exponent = magnitude.bit_length() - 1
    significand = (2 * magnitude + 2 ** (exponent - 7)) // 2 ** (exponent - 6)  # floor(x + 1/2)
    if significand == 256:
        exponent, significand = exponent + 1, 128
    return (n < 0) << 15 | exponent - 32 + 127 << 7 | significand - 128


def gen_1(seed: int, tensor: str, elements: int) -> np.ndarray:
    """bf16 bits."""
    e = np.arange(elements, dtype=np.uint64)
    zero = np.zeros(elements, dtype=np.uint64)
    words = philox([e & MASK32, e >> np.uint64(32), zero + np.uint64(TENSOR_NUMBERS[tensor]), zero],
                   (seed % 2**32, seed >> 32))  # fmt: skip
    u = sum((word & np.uint64(0xFFFF)) + (word >> np.uint64(16)) for word in words)
    return np.array([nearest_bf16(80265 * (int(x) - 262140)) for x in u], dtype="<u2")


def in_dtype(bits: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return bits
    f32 = (bits.astype("<u4") << np.uint32(16)).view("<f4")
    half = f32.astype("<f2")
    assert np.array_equal(half.astype("<f4"), f32), "f16 holds every number of gen-1"
    return half if dtype == "F16" else f32


def tokens(golden: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and positions of one sequence of keys."""
    Skv = golden["shape"]["Skv"]
    lengths = golden["documents"] or [Skv]
    ids = np.repeat(np.arange(len(lengths)), lengths)
    if golden["mask"]["rule"] == "anchor":
        ids += 1
        ids[0] = 0
    positions = np.arange(Skv)
    if golden["reset_positions"]:
        positions = np.concatenate([np.arange(length) for length in lengths])
    return ids.astype("<i8"), positions.astype("<i8")


def inputs(golden: dict[str, Any]) -> dict[str, np.ndarray]:
    """Everything a drawn problem consists of."""
    B, Sq, Skv, Hq, Hkv, D = (golden["shape"][size] for size in ("B", "Sq", "Skv", "Hq", "Hkv", "D"))
    elements = {"q": B * Sq * Hq * D, "k": B * Skv * Hkv * D, "v": B * Skv * Hkv * D}
    if golden["do"]:
        elements["do"] = elements["q"]
    drawn = {name: in_dtype(gen_1(golden["seed"], name, n), golden["dtype"]) for name, n in elements.items()}
    off = Skv - Sq if golden["mask"]["corner"] == "bottom-right" else 0
    ids, positions = tokens(golden)
    if golden["mask"]["rule"] != "full":
        drawn["document_ids"] = np.tile(ids, B)
        drawn["q_document_ids"] = np.tile(ids[off : off + Sq], B)
    if golden["rope"] is not None:
        drawn["position_ids"] = np.tile(positions, B)
        drawn["q_position_ids"] = np.tile(positions[off : off + Sq], B)
    return drawn


# ---- digests by hashlib ----


def tensors(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """dtype and an array of a safetensors file's elements, 2, 4 or 8 bytes each."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    widths = {"BF16": "<u2", "F16": "<u2", "F32": "<u4", "I32": "<i4", "I64": "<i8"}
    return {
        name: (spec["dtype"], np.frombuffer(data[slice(*spec["data_offsets"])], widths[spec["dtype"]])
               .reshape(spec["shape"]))
        for name, spec in header.items() if name != "__metadata__"
    }  # fmt: skip


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def spec_of(dtype: str, array: np.ndarray) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(array.shape), "sha256": digest(array)}


def gen_options(golden: dict[str, Any], folder: Path) -> list[str]:
    """Those of `gen` and `golden make` that draw the golden's problem."""
    shape, mask, rope = golden["shape"], golden["mask"], golden["rope"]
    options = ["--shape", ",".join(str(shape[size]) for size in ("B", "Sq", "Hq", "Hkv", "D")),
               "--kv-length", str(shape["Skv"]), "--mask", mask["rule"], "--corner", mask["corner"],
               "--dtype", golden["dtype"].lower(), "--seed", str(golden["seed"])]  # fmt: skip
    if golden["documents"]:
        options += ["--documents", ",".join(map(str, golden["documents"]))]
    if mask["window_keys"] is not None:
        options += ["--window", str(mask["window_keys"])]
    flags = {"--not-causal": not mask["causal"], "--reset-positions": golden["reset_positions"], "--do": golden["do"]}
    options += [flag for flag, on in flags.items() if on]
    if rope is not None:
        config = folder / "config.json"
        config.write_text(json.dumps({k: v for k, v in rope.items() if k not in ("recipe", "pairing")}))
        options += ["--rope", rope["recipe"], "--rope-config", str(config)]
    return options


def check_digests(program: Path, path: Path, folder: Path) -> None:
    """Of one golden: inputs by numpy from the page, outputs by hashlib over what `run` writes, and made again."""
    golden, name = json.loads(path.read_text()), path.stem
    for tensor, array in inputs(golden).items():
        want(golden["inputs"][tensor]["sha256"] == digest(array), f"{name}: {tensor} is as NUMERICS.md says")
    want(set(golden["inputs"]) == set(inputs(golden)), f"{name}: inputs {list(golden['inputs'])}")
    problem, answer, options = folder / "problem", folder / "answer", gen_options(golden, folder)
    for ran in (bitanchor(program, "gen", "-o", problem, *options),
                bitanchor(program, "run", problem, "-o", answer, "--recipe", golden["recipe"])):  # fmt: skip
        want(ran.returncode == 0, f"{name}: gen and run {ran.stderr}")
    for part, file in (("inputs", problem), ("outputs", answer)):
        got = {tensor: spec_of(*what) for tensor, what in tensors(file).items()}
        want(got == golden[part], f"{name}: {part} by hashlib: {' '.join(golden[part])}")
    for more in ([], ["--tensors"]):
        again = folder / f"again{len(more)}"
        made = bitanchor(program, "golden", "make", again, "--name", name, "--recipe", golden["recipe"],
                         *options, *more)  # fmt: skip
        text = (again / f"{name}.json").read_text().replace('"tensors": true', '"tensors": false')
        same = made.returncode == 0 and text == path.read_text()
        want(same, f"{name}: made again {more}, the same text {made.stderr}")
        want(bitanchor(program, "golden", "verify", again).returncode == 0, f"{name}: verified {more}")
        shutil.rmtree(again)


def check_targets(program: Path) -> None:
    targets = [target["name"] for target in json.loads(bitanchor(program, "info", "--json").stdout)["targets"]]
    want(len(targets) >= 1, f"info names targets: {targets}")
    names = sorted(path.stem for path in GOLDENS.glob("*.json"))
    want(len(names) >= 6, f"goldens: {names}")
    choices = {target: ["--target", target, "--threads", "2"] for target in targets}
    choices["the definition"] = ["--engine", "scalar"]
    for ran, choice in choices.items():
        verified = bitanchor(program, "golden", "verify", GOLDENS, *choice, "--json", "-")
        report = json.loads(verified.stdout)
        want(verified.returncode == 0 and report["verdict"] == "pass", f"committed goldens by {ran}")
        want(report["ran"] == ran, f"{ran}: ran {report['ran']}")
        fine = [one["name"] for one in report["goldens"] if one["status"] == "ok"]
        want(fine == names, f"{ran}: every golden is ok")


# ---- what must be seen ----


def ended(ran: subprocess.CompletedProcess[str], status: int, what: str, *says: str) -> None:
    """With this status, having said these words: bad input in one line, all else on stdout."""
    line = ran.stderr
    one = line.count("\n") == 1 and line.endswith("\n") and len(line.encode()) <= 600
    said = all(word in line + ran.stdout for word in says)
    good = ran.returncode == status and said and (one if status == 2 else not line)
    want(good, f"{what}: exit {ran.returncode} {line.strip()}")


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def check_mismatches(program: Path, folder: Path) -> None:
    """Wrong digests, and stored tensors that are wrong."""
    goldens = folder / "goldens"
    shutil.copytree(GOLDENS, goldens)
    name = "anchor-bf16-llama3"
    path = goldens / f"{name}.json"
    for part in ("inputs", "outputs"):
        for tensor in json.loads(path.read_text())[part]:
            def flip(document: dict[str, Any]) -> None:
                entry = document[part][tensor]
                entry["sha256"] = ("0" if entry["sha256"][0] != "0" else "1") + entry["sha256"][1:]  # fmt: skip

            edited(path, flip)
            ran = bitanchor(program, "golden", "verify", goldens, "--threads", "1")
            repeat = f"repeat: bitanchor golden verify {goldens} --only {name} --threads 1"
            ended(ran, 1, f"another digest of {tensor}", f"MISMATCH  {name}", f"{part}.{tensor}.sha256", repeat,
                     "5 ok, 1 MISMATCH")  # fmt: skip
            shutil.copy(GOLDENS / path.name, path)
    for what, change in {"seed": lambda d: d.update(seed=2), "causal": lambda d: d["mask"].update(causal=False),
                         "documents": lambda d: d.update(documents=[31, 39, 26]),
                         "rope": lambda d: d["rope"].update(factor=8.5),
                         "scale": lambda d: d.update(softmax_scale=0.25),
                         "recipe": lambda d: d.update(recipe="textbook-bf16p")}.items():  # fmt: skip
        edited(path, change)
        ended(bitanchor(program, "golden", "verify", goldens, "--only", name), 1, f"another {what}", "MISMATCH")
        shutil.copy(GOLDENS / path.name, path)

    options = gen_options(json.loads(path.read_text()), folder)
    bitanchor(program, "golden", "make", goldens, "--name", name, *options, "--tensors", "--force")
    ended(bitanchor(program, "golden", "verify", goldens), 0, "stored tensors", "and the stored tensors", "6 ok")
    flips = (("outputs", "o", (0, 5, 3, 1)), ("outputs", "lse", (0, 2, 95)), ("outputs", "dv", (0, 0, 0, 0)),
             ("problem", "k", (0, 9, 1, 63)), ("problem", "position_ids", (0, 7)))  # fmt: skip
    for file, tensor, at in flips:
        stored = goldens / f"{name}.{file}.safetensors"
        good = stored.read_bytes()
        flip_element(stored, tensor, at)
        report = folder / "report.json"
        ran = bitanchor(program, "golden", "verify", goldens, "--only", name, "--json", report)
        index = f"[{', '.join(map(str, at))}]: got "
        field = f"stored {file.replace('problem', 'inputs')}.{tensor}.sha256"
        ended(ran, 1, f"one bit of the stored {tensor}", f"{tensor}: 1 of ", index, field)
        seen = json.loads(report.read_text())["goldens"][0]["tensors"]
        bits = [int(seen[0]["first"][0][key], 16) for key in ("got_bits", "want_bits")]
        named = [one["name"] for one in seen]
        want(named == [tensor] and bits[0] ^ bits[1] == 1, f"{tensor}: the report has its bits: {seen}")
        stored.write_bytes(good)
    for file in ("outputs", "problem"):
        stored = goldens / f"{name}.{file}.safetensors"
        good = stored.read_bytes()
        for what, data in (("truncated", good[:-3]), ("empty", b""), ("no tensors", struct.pack("<Q", 2) + b"{}")):
            stored.write_bytes(data)
            ran = bitanchor(program, "golden", "verify", goldens)
            want(ran.returncode in (1, 2), f"{what} {file}: exit {ran.returncode} {ran.stderr.strip()}")
        stored.unlink()
        ended(bitanchor(program, "golden", "verify", goldens), 2, f"no {file}", stored.name)
        stored.write_bytes(good)


def flip_element(path: Path, tensor: str, at: tuple[int, ...]) -> None:
    """The lowest bit of one element."""
    raw = bytearray(path.read_bytes())
    size = struct.unpack("<Q", raw[:8])[0]
    spec = json.loads(raw[8 : 8 + size])[tensor]
    elements = int(np.prod(spec["shape"]))
    width = (spec["data_offsets"][1] - spec["data_offsets"][0]) // elements
    raw[8 + size + spec["data_offsets"][0] + width * int(np.ravel_multi_index(at, spec["shape"]))] ^= 1
    path.write_bytes(raw)


def check_captures(program: Path, folder: Path) -> None:
    """Goldens of a file: PyTorch's, which are in layout bhsd."""
    for stem in ("torch-sdpa-backward-causal-bf16", "torch-flex-anchor-bf16"):
        capture, answer, goldens = DATA / f"{stem}.safetensors", folder / "answer", folder / f"of-{stem}"
        made = bitanchor(program, "golden", "make", goldens, "--name", "capture", "--problem", capture)
        want(made.returncode == 0, f"a golden of {stem} {made.stderr}")
        golden = json.loads((goldens / "capture.json").read_text())
        bitanchor(program, "run", capture, "-o", answer)
        given, answers = tensors(capture), tensors(answer)
        bhsd = "backward" in stem
        for part, arrays in (("inputs", given), ("outputs", answers)):
            for name, entry in golden[part].items():
                if name not in arrays or name.endswith("_ids"):
                    want(name.endswith("_ids"), f"{stem}: {name} is an id")
                    continue
                dtype, array = arrays[name]
                array = array.transpose(0, 2, 1, 3) if bhsd and array.ndim == 4 else array
                want(entry == spec_of(dtype, array), f"{stem}: {name} by hashlib, as bshd")
        verify = partial(bitanchor, program, "golden", "verify", goldens)
        make = partial(bitanchor, program, "golden", "make", goldens, "--name", "capture", "--problem")
        ended(verify(), 2, "a capture that is not there", "--problem capture=FILE")
        ended(verify("--problem", f"capture={capture}"), 0, "given again", "1 ok")
        other = folder / "other"
        other.write_bytes(capture.read_bytes())
        flip_element(other, "v", (0, 0, 0, 0))
        another = verify("--problem", f"capture={other}")
        ended(another, 1, "another capture", "inputs.v.sha256", "--problem capture=")
        raw = capture.read_bytes()
        other.write_bytes(raw.replace(b'causal\\": true', b'causal\\":false'))
        want(other.read_bytes() != raw, "the metadata was changed")
        another = verify("--problem", f"capture={other}")
        ended(another, 1, "other metadata", "mask.causal: got false, want true")
        for wrong in ("capture", f"other={capture}", str(capture)):
            ended(verify("--problem", wrong), 2, f"--problem {wrong}")
        kept = make(capture, "--tensors", "--force")
        want(kept.returncode == 0, f"kept {kept.stderr}")
        want((goldens / "capture.problem.safetensors").read_bytes() == raw, "the capture is copied as it is")
        ended(verify("--engine", "scalar"), 0, "from the copy", "1 ok")
        own = goldens / "capture.problem.safetensors"
        ended(make(own, "--force"), 2, "its own stored problem, not to be kept")
        want(own.exists(), "its own stored problem stays")


def check_making_again(program: Path, folder: Path) -> None:
    goldens = folder / "made"
    small = ["--shape", "1,5,2,1,8", "--name", "one"]
    make = partial(bitanchor, program, "golden", "make", goldens)
    ended(make(*small), 0, "made", "made")
    text = (goldens / "one.json").read_text()
    ended(make(*small), 0, "the same again", "unchanged")
    ended(make(*small, "--seed", "1"), 2, "another seed", "seed is 0, not 1", "--force")
    ended(make(*small, "--tensors"), 2, "with tensors", "--force")
    want((goldens / "one.json").read_text() == text and len(list(goldens.iterdir())) == 1, "what is there stays")
    ended(make(*small, "--seed", "1", "--tensors", "--force"), 0, "--force")
    want(len(list(goldens.iterdir())) == 3, "--tensors makes two more files")
    ended(make(*small, "--force"), 0, "--force without tensors")
    want([path.name for path in goldens.iterdir()] == ["one.json"], "and takes them away again")
    want((goldens / "one.json").read_text() == text, "the same golden has the same bytes")
    (goldens / "two.outputs.safetensors").write_text("mine")
    ended(make("--shape", "1,5,2,1,8", "--name", "two", "--tensors"), 2, "somebody's file is in the way")
    want((goldens / "two.outputs.safetensors").read_text() == "mine", "somebody's file stays")
    (goldens / "two.outputs.safetensors").unlink()
    (goldens / "two.json").write_text("{}")
    ended(make("--shape", "1,5,2,1,8", "--name", "two"), 2, "something that is no golden")
    (goldens / "two.json").unlink()
    for bad in ("../one", "a/b", "", "A", "..", "x" * 65, "a.json", "\x1b[2J"):
        ended(make("--shape", "1,5,2,1,8", f"--name={bad}"), 2, f"--name {bad!r}")
    (folder / "file").write_text("")
    capture = DATA / "torch-sdpa-causal-f32.safetensors"
    tiny = ["--shape", "1,5,2,1,8"]
    for arguments in ([], [goldens], [goldens, "--problem", capture], [goldens, *tiny, "--recipe", "none"],
                      [goldens, "--problem", capture, "--name", "a", "--seed", "1"], [goldens, "--shape", "1,5,2,1"],
                      [folder / "file", *tiny], [folder / "no" / "where", *tiny],
                      [goldens, "--shape", "1,1000000000,1000,1,1", "--mask", "document"]):  # fmt: skip
        ended(bitanchor(program, "golden", "make", *arguments), 2, f"make {arguments}")


def check_hostile_folders(program: Path, folder: Path) -> None:
    """Nothing verified is never exit 0."""
    goldens = folder / "hostile"
    goldens.mkdir()
    verify = partial(bitanchor, program, "golden", "verify")
    ended(verify(goldens), 2, "an empty folder", "no golden")
    ended(verify(folder / "absent"), 2, "no folder")
    ended(verify(GOLDENS / "reset-bf16p.json"), 2, "a file for a folder")
    (goldens / "README.md").write_text("none here")
    ended(verify(goldens), 2, "a folder without goldens", "no golden")
    shutil.copy(GOLDENS / "reset-bf16p.json", goldens)
    ended(verify(goldens), 0, "one golden", "1 ok, 0 MISMATCH")
    ended(verify(goldens, "--only", "absent"), 2, "--only what is not there")
    ended(verify(goldens, "--target", "Z80"), 2, "a target that is not there")
    ended(verify(goldens, "--json", "/dev/full"), 2, "a report that cannot be written")
    good = (goldens / "reset-bf16p.json").read_text()
    bad = goldens / "bad.json"
    named = good.replace('"reset-bf16p"', '"bad"')

    def shaped(**sizes: int) -> str:
        """Another shape, with which all outputs agree, so that only its size is wrong."""
        document = json.loads(named)
        shape = document["shape"]
        old = dict(shape)
        shape.update(sizes)
        as_q, as_k = ([shape["B"], shape[S], shape[H], shape["D"]] for S, H in (("Sq", "Hq"), ("Skv", "Hkv")))
        for name, output in document["outputs"].items():
            output["shape"] = as_k if name in ("k_rope", "dk", "dv") else as_q
        document["outputs"]["lse"]["shape"] = [shape["B"], shape["Hq"], shape["Sq"]]
        assert shape != old
        return json.dumps(document)

    bad.write_text(huge := shaped(Sq=2**31, Skv=2**31))
    ended(verify(goldens), 2, "more than this memory", "one that fits this machine's")
    for what, text in {
        "truncated": named[: len(named) // 2], "empty": "", "not JSON": "golden", "an array": "[]",
        "a byte-order mark": "\ufeff" + named,
        "a duplicate key": named.replace('"seed": 4,', '"seed": 4, "seed": 4,'),
        "a duplicate key in a tensor": named.replace('"dtype":"F32"', '"dtype":"F32","dtype":"F32"', 1),
        "an unknown key": named.replace('"seed": 4,', '"seed": 4, "path": "/tmp",'),
        "an unknown generator": named.replace("gen-1", "gen-2"),
        "an unknown recipe": named.replace('"textbook-bf16p"', '"textbok"'),
        "another version": named.replace('"version": 1', '"version": 2'), "another's name": good,
        "a path for a name": named.replace('"bad"', '"../bad"'),
        "a digest of 65": named.replace('"sha256":"', '"sha256":"a', 1),
        "documents that do not add up": named.replace("[1,64]", "[1,63]"),
        "documents of 0": named.replace("[1,64]", "[0,65]"), "no documents": named.replace("[1,64]", "[[]]"),
        "heads that do not divide": shaped(Hq=5), "a huge batch": shaped(B=2**62),
        "2^41 elements": shaped(Skv=2**36), "more than this memory": huge, "no size": shaped(D=0),
        "deep nesting": "[" * 100000, "a key left out": named.replace('  "recipe": "textbook-bf16p",\n', ""),
        "a huge text": named + " " * (1 << 22),
    }.items():  # fmt: skip
        bad.write_text(text)
        ended(verify(goldens), 2, what)
    bad.unlink()
    bad.mkdir()
    ended(verify(goldens), 2, "a directory for a golden")
    bad.rmdir()
    os.mkfifo(bad)
    ended(verify(goldens), 2, "a pipe for a golden")
    bad.unlink()
    bad.symlink_to("/dev/zero")
    ended(verify(goldens), 2, "a device for a golden")
    bad.unlink()
    if os.geteuid() != 0:  # whom no permission keeps from reading
        bad.write_text(named)
        bad.chmod(0)
        ended(verify(goldens), 2, "an unreadable golden")
        bad.unlink()
    (goldens / "Upper.json").write_text(good.replace("reset-bf16p", "Upper"))
    ended(verify(goldens), 2, "a name in capitals")
    (goldens / "Upper.json").unlink()
    (goldens / "stray.outputs.safetensors").write_text("")
    ended(verify(goldens), 2, "tensors of no golden")
    (goldens / "stray.outputs.safetensors").unlink()
    quiet = verify(goldens, "--quiet")
    want(quiet.stdout.count("\n") == 1, f"--quiet: {quiet.stdout.strip()}")
    ended(quiet, 0, "--quiet", "1 ok")
    for arguments in ([], ["verify"], ["make"], ["bogus"]):
        ended(bitanchor(program, "golden", *arguments), 2, f"golden {arguments}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    program = parser.parse_args().bitanchor
    check_targets(program)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in sorted(GOLDENS.glob("*.json")):
            check_digests(program, path, folder)
        check_mismatches(program, folder)
        check_captures(program, folder)
        check_making_again(program, folder)
        check_hostile_folders(program, folder)
    return finish(FAILURES, f"{len(FAILURES)} failures")


if __name__ == "__main__":
    sys.exit(main())
