#!/usr/bin/env python3
"""The command line from outside: exit statuses, one clear line for bad input, the same bits for every choice of engine.

Needs nothing but Python's own library.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
from pathlib import Path

from support import bitanchor

FAILURES: list[str] = []
# gen-1's first eight elements of do under a seed, bf16, as in tests/problem/generate_test.cc.
GEN_1_SEED = 0xFEDCBA9876543210
GEN_1_DO = (0xBF9D, 0xBE76, 0xBF27, 0x3F92, 0x3DDA, 0x3F82, 0x3F7F, 0xBF6B)


def want(condition: bool, what: str) -> None:
    print(f"{'ok  ' if condition else 'FAIL'} {what}")
    if not condition:
        FAILURES.append(what)


def container(header: dict | str, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file as the header says, right or wrong."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def split(path: Path) -> tuple[dict, bytes]:
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def joined(problem: Path, answer: Path) -> bytes:
    """A capture: the problem's tensors and the answer's."""
    header, data = split(problem)
    more, answers = split(answer)
    for name, spec in more.items():
        spec["data_offsets"] = [at + len(data) for at in spec["data_offsets"]]
        header[name] = spec
    return container(header, data + answers)


def tensors(path: Path) -> dict[str, tuple[dict, bytes]]:
    """Of each tensor what the header says, but where it lies, and its bytes."""
    header, data = split(path)
    return {
        name: ({k: v for k, v in spec.items() if k != "data_offsets"}, data[slice(*spec["data_offsets"])])
        for name, spec in header.items() if name != "__metadata__"
    }  # fmt: skip


def with_one_bit_flipped(capture: bytes, name: str) -> bytes:
    size = struct.unpack("<Q", capture[:8])[0]
    header, data = json.loads(capture[8 : 8 + size]), bytearray(capture[8 + size :])
    begin, end = header[name]["data_offsets"]
    data[(begin + end) // 4 * 2] ^= 1
    return container(header, bytes(data))


def hostile(capture: bytes, problem: bytes) -> dict[str, bytes]:
    """Files that must be refused. Each differs from a good one in one thing."""
    size = struct.unpack("<Q", capture[:8])[0]
    header, data = json.loads(capture[8 : 8 + size]), capture[8 + size :]

    def changed(name: str, **fields) -> bytes:
        copy = json.loads(json.dumps(header))
        copy[name].update(fields)
        return container(copy, data)

    spec = '"q":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    ids = header["document_ids"]["data_offsets"][0]
    overlap = [at + 8 for at in header["k"]["data_offsets"]]
    return {
        "truncated in the data": capture[:-5],
        "truncated in the header": capture[: 8 + size // 2],
        "three bytes": capture[:3],
        "empty": b"",
        "header length 2^60": container(header, data, length=2**60),
        "duplicate keys": container("{" + ",".join([spec] * 2) + "}", b"0000"),
        "not JSON": container("{" * 1000, data),
        "overlapping offsets": changed("k", data_offsets=overlap),
        "wrong dtype": changed("q", dtype="I16"),
        "unknown dtype": changed("q", dtype="B16"),
        "ids out of range": container(header, data[:ids] + struct.pack("<q", -1) + data[ids + 8 :]),
        "empty tensor": container({"q": {"dtype": "F32", "shape": [1, 0, 1, 8], "data_offsets": [0, 0]}}),
        "no answer": problem,
    }


def check_rope_config(program: Path, folder: Path) -> None:
    """gen takes RoPE out of a model's config.json."""
    config = folder / "config.json"
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 8192}  # fmt: skip
    model = {"model_type": "llama", "hidden_size": 256, "num_attention_heads": 4, "rope_theta": 500000.0,
             "max_position_embeddings": 131072, "rope_scaling": llama3, "torch_dtype": "bfloat16"}  # fmt: skip
    made = folder / "with-config"
    arguments = ["gen", "-o", made, "--shape", "1,8,4,2,64", "--rope", "hf-llama", "--rope-config", config]
    config.write_text(json.dumps(model))
    ran = bitanchor(program, *arguments)
    want(ran.returncode == 0, f"gen --rope-config {ran.stderr}")
    rope = json.loads(split(made)[0]["__metadata__"]["bitanchor"])["rope"]
    said = {"rope_theta": 500000.0, "rotary_dim": 64, "recipe": "hf-llama", **llama3}
    want(all(rope.get(field) == value for field, value in said.items()), f"gen --rope-config: {rope}")
    for what, wrong in (("head_dim", {**model, "head_dim": 128}), ("rope_theta", {**model, "rope_theta": []})):
        config.write_text(json.dumps(wrong))
        ran = bitanchor(program, *arguments)
        want(ran.returncode == 2 and what in ran.stderr, f"gen --rope-config with wrong {what}: {ran.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    program = parser.parse_args().bitanchor
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problem, forward, answer = folder / "problem", folder / "forward", folder / "answer"
        drawn = ["--shape", "1,200,4,2,64", "--documents", "50,100,50", "--mask", "anchor", "--rope", "hf-llama",
                 "--seed", "3"]  # fmt: skip
        for path, rest in ((forward, []), (problem, ["--do"])):
            made = bitanchor(program, "gen", "-o", path, *drawn, *rest)
            want(made.returncode == 0, f"gen {rest} {made.stderr}")
        asked = tensors(problem)
        gradient = asked.pop("do", None)
        want(asked == tensors(forward), "gen --do leaves all other tensors as they are")
        want(gradient is not None and gradient[0] == asked["q"][0], "gen --do draws do as q is: dtype and shape")
        bitanchor(program, "gen", "-o", answer, "--do", "--shape", "1,2,2,1,2", "--seed", str(GEN_1_SEED))
        want(tensors(answer)["do"][1] == struct.pack("<8H", *GEN_1_DO), "gen --do draws the do of gen-1")
        info = json.loads(bitanchor(program, "info", "--json").stdout)
        targets = [target["name"] for target in info["targets"]]
        want(len(targets) >= 1, f"info names targets: {targets}")

        for recipe in info["recipes"]:
            bits = set()
            choices = [["--engine", "scalar"]] + [["--threads", n] for n in "127"]
            choices += [["--target", target, "--threads", "2"] for target in targets]
            for choice in choices:
                ran = bitanchor(program, "run", problem, "-o", answer, "--recipe", recipe, *choice)
                want(ran.returncode == 0, f"run {recipe} {choice} {ran.stderr}")
                bits.add(answer.read_bytes())
            want(len(bits) == 1, f"{recipe}: {len(choices)} choices of engine, one answer")
            good = folder / "good"
            good.write_bytes(joined(problem, answer))
            want(bitanchor(program, "check", good).returncode == 0, f"{recipe}'s answer passes")
            replay = bitanchor(program, "check", good, "--recipe", recipe)
            want(replay.returncode == 0, f"{recipe}'s answer replays")
            for tensor in ("o", "lse", "q_rope", "k_rope", "dq", "dk", "dv"):
                bad = folder / "bad"
                bad.write_bytes(with_one_bit_flipped(good.read_bytes(), tensor))
                replay = bitanchor(program, "check", bad, "--recipe", recipe)
                want(replay.returncode == 1, f"{recipe}: one bit of {tensor} is seen")

        check_rope_config(program, folder)
        for what, data in hostile(good.read_bytes(), forward.read_bytes()).items():
            bad = folder / "bad"
            bad.write_bytes(data)
            judged = bitanchor(program, "check", bad)
            line = judged.stderr
            one = line.count("\n") == 1 and line.endswith("\n") and len(line.encode()) <= 600
            want(judged.returncode == 2 and one, f"{what}: {judged.returncode} {line.strip()}")
        for arguments in (["check", folder], ["check", folder / "none"], ["check"], [], ["bogus"],
                          ["check", good, "--target", "Z80"], ["check", good, "--contract", "x"],
                          ["check", good, "--threads", "0"], ["check", good, "--seed", "-1"],
                          ["explain", good, "--seed", str(2**64)], ["run", problem, "-o", folder / "no" / "where"],
                          ["run", problem, "-o", "/dev/full"], ["check", good, "--json", "/dev/full"],
                          ["gen", "-o", answer, "--shape", "1,2,3,2,4"], ["gen", "-o", answer, "--shape", "9"],
                          ["gen", "-o", answer, "--shape", "1,2,2,1,2", "--rope-config", good]):
            ran = bitanchor(program, *arguments)
            one = ran.stderr.count("\n") == 1 and len(ran.stderr.encode()) <= 600
            want(ran.returncode == 2 and one, f"{arguments}: {ran.returncode} {ran.stderr.strip()}")
    print(f"{len(FAILURES)} failures")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())
