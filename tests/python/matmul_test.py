#!/usr/bin/env python3
"""`bitanchor matmul` against models of the units written here with fractions, from the papers' formulas."""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from support import bitanchor, finish, require

require("numpy", "ml_dtypes", "safetensors")

import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
import safetensors.numpy  # noqa: E402

# dtype and least exponent of what the unit takes.
INPUTS = {
    "f16": (np.float16, -14),
    "bf16": (ml_dtypes.bfloat16, -126),
    "tf32": (np.float32, -126),
    "xf32": (np.float32, -126),
    "f32": (np.float32, -126),
    "e4m3": (ml_dtypes.float8_e4m3fn, -6),
    "e5m2": (ml_dtypes.float8_e5m2, -14),
    "e4m3fnuz": (ml_dtypes.float8_e4m3fnuz, -7),
    "e5m2fnuz": (ml_dtypes.float8_e5m2fnuz, -15),
}

# unit: inputs, products of a group, fraction bits, arithmetic.
NVIDIA = {
    ("volta", "f16"): (4, 23),
    ("turing", "f16"): (8, 24),
    **{(u, i): (8, 24) for u in ("ampere", "ada") for i in ("f16", "bf16")},
    **{(u, "tf32"): (4, 24) for u in ("ampere", "ada")},
    **{("ada", i): (16, 13) for i in ("e4m3", "e5m2")},
    **{(u, i): (16, 25) for u in ("hopper", "hopper-wgmma", "blackwell") for i in ("f16", "bf16")},
    **{(u, "tf32"): (8, 25) for u in ("hopper", "hopper-wgmma", "blackwell")},
    **{("hopper-wgmma", i): (32, 13) for i in ("e4m3", "e5m2")},
    **{("blackwell", i): (32, 25) for i in ("e4m3", "e5m2")},
    **{("hopper", i): (32, 25) for i in ("e4m3", "e5m2")},  # through f16, in two halves
}
AMD = {("cdna1", "f16"): 4, ("cdna1", "bf16"): 2, ("cdna1", "f32"): 1, ("cdna2", "f16"): 4, ("cdna2", "bf16"): 2,
       ("cdna2", "f32"): 1, ("cdna3", "f16"): 8, ("cdna3", "bf16"): 8, ("cdna3", "xf32"): 4, ("cdna3", "f32"): 1,
       ("cdna3", "e4m3fnuz"): 16, ("cdna3", "e5m2fnuz"): 16}  # fmt: skip


def floor_log2(x: Fraction) -> int:
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= x else e - 1


def to_multiple(x: Fraction, q: int, how: str) -> Fraction:
    """x rounded to a multiple of 2^q: toward zero, down, or to nearest-even."""
    units = x / Fraction(2) ** q
    whole = {"zero": int, "down": lambda u: u.numerator // u.denominator, "even": round}[how](units)
    return whole * Fraction(2) ** q


def rounded(x: Fraction, bits: int, least: int, how: str) -> Fraction:
    """To a format of so many bits; numbers here are never so large that they overflow."""
    return to_multiple(x, max(floor_log2(abs(x)), least) - (bits - 1), how) if x else x


@dataclass(frozen=True)
class Unit:
    name: str
    input: str
    half: bool

    @property
    def L(self) -> int:
        key = (self.name, self.input)
        return NVIDIA[key][0] if key in NVIDIA else AMD[key]

    def term(self, x: Fraction, y: Fraction) -> tuple[Fraction, int]:
        """A product and the exponent that it is aligned by."""
        least = -14 if self.name == "hopper" and self.input in ("e4m3", "e5m2") else INPUTS[self.input][1]
        return x * y, sum(max(floor_log2(abs(f)), least) for f in (x, y)) if x and y else 0

    def c_term(self, c: Fraction) -> tuple[Fraction, int]:
        return c, max(floor_log2(abs(c)), -14 if self.half else -126) if c else 0

    def truncated(self, terms: list[tuple[Fraction, int]], F: int) -> tuple[Fraction, int | None]:
        exponents = [e for value, e in terms if value]
        if not exponents:
            return Fraction(0), None
        E = max(exponents)
        return sum((to_multiple(value, E - F, "zero") for value, _ in terms), Fraction(0)), E

    def nvidia(self, terms: list[tuple[Fraction, int]], c: Fraction, F: int) -> Fraction:
        total, _ = self.truncated([*terms, self.c_term(c)], F)
        if self.half:
            return rounded(total, 11, -14, "even")
        return rounded(total, 14 if F == 13 else 24, -126, "zero")

    def cdna3(self, terms: list[tuple[Fraction, int]], c: Fraction) -> Fraction:
        eight = self.input.startswith("e")
        parts = [self.truncated(terms[odd::2], 24) for odd in (0, 1)] if eight else [self.truncated(terms, 24)]
        e_c = self.c_term(c)[1] if c else -126
        E = max((e for _, e in parts if e is not None), default=e_c)
        T = sum((to_multiple(t, E - 24, "down") for t, _ in parts), Fraction(0)) if eight else parts[0][0]
        e = max(E, e_c)
        far = Fraction(0) if eight and e_c < e - 25 else to_multiple(c, e - 24, "down")
        return rounded(to_multiple(T, e - 31, "down") + far, 24, -126, "even")

    def cdna2(self, terms: list[tuple[Fraction, int]], c: Fraction) -> Fraction:
        """Without subnormals: nothing here comes near them."""
        p = [value for value, _ in terms] + [Fraction(0)] * (self.L - len(terms))
        near = lambda x: rounded(x, 24, -126, "even")  # noqa: E731
        s = near(p[0] + p[1])
        return near(c + (near(s + near(p[2] + p[3])) if self.L == 4 else s))

    def group(self, a: list[Fraction], b: list[Fraction], c: Fraction) -> Fraction:
        terms = [self.term(x, y) for x, y in zip(a, b)]
        if (self.name, self.input) in NVIDIA:
            F = NVIDIA[self.name, self.input][1]
            if self.name == "hopper" and self.input in ("e4m3", "e5m2"):
                d = Fraction(0)
                for half in ((0, 1), (2, 3)):
                    d = self.nvidia([t for k, t in enumerate(terms) if k % 4 in half], d, F)
                return rounded(d + c, *((11, -14) if self.half else (24, -126)), "even")
            return self.nvidia(terms, c, F)
        if self.name == "cdna2" and self.input != "f32":
            return self.cdna2(terms, c)
        if self.name == "cdna3" and self.input != "f32":
            return self.cdna3(terms, c)
        return rounded(sum((value for value, _ in terms), c), 24, -126, "even")

    def chain(self, a: list[Fraction], b: list[Fraction], c: Fraction) -> Fraction:
        for k in range(0, len(a), self.L):
            c = self.group(a[k : k + self.L], b[k : k + self.L], c)
        return c

    def dot(self, a: list[Fraction], b: list[Fraction], c: Fraction, slices: int) -> Fraction:
        groups = -(-len(a) // self.L)
        run = -(-groups // slices) * self.L
        d = self.chain(a[:run], b[:run], c)
        for k in range(run, len(a), run):
            part = self.chain(a[k : k + run], b[k : k + run], Fraction(0))
            d = rounded(d + part, 24, -126, "even")
        return rounded(d, 11, -14, "even") if self.half else d


def fractions(x: np.ndarray, unit: Unit) -> list[Fraction]:
    if unit.input in ("tf32", "xf32"):
        x = (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return [Fraction(float(v)) for v in x]


class Test:
    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.failures: list[str] = []
        self.elements = 0

    def expect(self, right: bool, what: str) -> None:
        if not right:
            self.failures.append(what)

    def run(self, tensors: dict[str, Any], *options: str) -> tuple[dict[str, np.ndarray], str]:
        path, out = self.folder / "in.safetensors", self.folder / "out.safetensors"
        out.unlink(missing_ok=True)
        safetensors.numpy.save_file(tensors, str(path), metadata={"anything": "goes"})
        done = bitanchor(self.program, "matmul", path, "-o", out, *options)
        if done.returncode != 0 or done.stderr:
            self.failures.append(f"{options}: exit {done.returncode}, {done.stderr.strip()}")
            return {}, ""
        self.bytes = out.read_bytes()
        return safetensors.numpy.load_file(str(out)), done.stdout

    def unit(self, unit: Unit, K: int, slices: int, with_c: bool, *options: str) -> None:
        """A product by the program and by the fractions."""
        rng = np.random.default_rng([K, slices, len(unit.name), len(unit.input)])
        dtype = INPUTS[unit.input][0]
        G, M, N = 2, 3, 2
        spread = 1 if unit.input.startswith("e4") else 2
        draw = lambda *shape: (  # noqa: E731
            rng.standard_normal(shape) * np.exp2(rng.integers(-3 * spread, spread, shape))
        ).astype(dtype)
        a, b = draw(G, M, K), draw(G, K, N)
        a[1, :, ::3] = 0
        c = rng.standard_normal((G, M, N)).astype(np.float32)
        tensors = {"a": a, "b": b} | ({"c": c} if with_c else {})
        name = f"{unit}, K {K}, slices {slices}"
        arguments = ["--unit", unit.name, "--split-k", str(slices), "--out", "f16" if unit.half else "f32", *options]
        out, says = self.run(tensors, *arguments, "--threads", "1")
        if not out:
            return
        one_thread = self.bytes
        self.run(tensors, *arguments, "--threads", "3")
        self.expect(self.bytes == one_thread, f"{name}: another result with three threads")
        self.expect("0 of 12 elements undetermined" in says, f"{name}: says {says!r}")
        got = out["d"]
        self.expect(got.dtype == (np.float16 if unit.half else np.float32), f"{name}: d is {got.dtype}")
        c_taken = c.astype(np.float16) if unit.half else c
        for g, i, j in np.ndindex(G, M, N):
            start = Fraction(float(c_taken[g, i, j])) if with_c else Fraction(0)
            want = unit.dot(fractions(a[g, i], unit), fractions(b[g, :, j].copy(), unit), start, slices)
            self.elements += 1
            if Fraction(float(got[g, i, j])) != want:
                self.failures.append(f"{name}: d[{g},{i},{j}] got {float(got[g, i, j])!r} want {float(want)!r}")
                return

    def every_unit(self) -> None:
        for name, input_name in [*NVIDIA, *AMD]:
            options = ["--input", "f32"] if (name, input_name) == ("cdna3", "f32") else []
            halves = [False, True] if input_name in ("f16", "e4m3", "e5m2") and "cdna" not in name else [False]
            for half in halves:
                unit = Unit(name, input_name, half)
                for K, slices, with_c in ((1, 1, True), (unit.L, 1, True), (3 * unit.L + 1, 1, False),
                                          (5 * unit.L, 3, True)):  # fmt: skip
                    self.unit(unit, K, slices, with_c, *options)
        # OCP's names for CDNA3's codes.
        a = np.full((1, 1, 1), 0x41, np.uint8)
        out, says = self.run({"a": a.view(ml_dtypes.float8_e4m3fn), "b": a.view(ml_dtypes.float8_e4m3fn)}, "--unit", "cdna3")
        self.expect(bool(out) and out["d"].item() == 1.125**2 and "F8_E4M3FNUZ" in says, f"cdna3 of F8_E4M3: {says}")

    def every_code(self) -> None:
        """All 256 codes of the 8-bit formats times one, as ml_dtypes reads them."""
        for unit, input_name in (("blackwell", "e4m3"), ("blackwell", "e5m2"), ("cdna3", "e4m3fnuz"), ("cdna3", "e5m2fnuz")):
            dtype = INPUTS[input_name][0]
            a = np.arange(256, dtype=np.uint8).view(dtype).reshape(1, 256, 1)
            out, _ = self.run({"a": a, "b": np.ones((1, 1, 1), dtype)}, "--unit", unit)
            if not out:
                continue
            got, want = out["d"].reshape(256), a.reshape(256).astype(np.float32)
            nan = np.uint32(0x7FFFFFFF if unit == "blackwell" else 0x7FC00000)
            wanted = np.where(np.isnan(want), nan, (want + np.float32(0)).view(np.uint32))
            self.expect(np.array_equal(got.view(np.uint32), wanted), f"{unit} {input_name}: a code is another number")

    def f64(self) -> None:
        """An FMA after another, subnormals and cancellation among them; overflow, infinities and NaN as IEEE has them."""
        rng = np.random.default_rng(64)
        a, b, c = (rng.standard_normal(s) * np.exp2(rng.integers(-9, 9, s)) for s in ((2, 3, 13), (2, 13, 4), (2, 3, 4)))
        a[0, 0] *= 2.0**-530
        b[0] *= 2.0**-540
        c[0, 0] = 2.0**-1074
        a[1, 0, 1], b[1, 1] = a[1, 0, 0], -b[1, 0]
        near = lambda x: rounded(x, 53, -1022, "even")  # noqa: E731
        for unit in ("ampere", "ada", "hopper", "blackwell", "cdna2", "cdna3"):
            for slices, threads in ((1, 1), (5, 3)):
                out, says = self.run({"a": a, "b": b, "c": c}, "--unit", unit, "--split-k", str(slices), "--threads", str(threads))
                got = out.get("d", np.zeros(0))
                self.expect(got.shape == c.shape and got.dtype == np.float64 and "F64" in says, f"{unit} f64: {says!r}")
                if got.shape != c.shape:
                    return
                run = -(-13 // slices)
                for g, i, j in np.ndindex(*c.shape):
                    total = None
                    for first in range(0, 13, run):
                        d = Fraction(0) if first else Fraction(c[g, i, j])
                        for k in range(first, min(first + run, 13)):
                            d = near(d + Fraction(a[g, i, k]) * Fraction(b[g, k, j]))
                        total = d if total is None else near(total + d)
                    self.elements += 1
                    self.expect(Fraction(got[g, i, j]) == total, f"{unit} f64 [{g},{i},{j}], slices {slices}: {got[g, i, j]!r}")
        big, inf = np.finfo(np.float64).max, np.inf
        a = np.array([[[big, -big], [inf, 1], [inf, -inf], [0, 0], [-0.0, -0.0]]])
        out, _ = self.run({"a": a, "b": np.array([[[2.0], [2.0]]])}, "--unit", "hopper")
        want = np.array([inf, inf, np.nan, 0, 0])
        self.expect(bool(out) and out["d"].reshape(5).view(np.uint64).tolist() == want.view(np.uint64).tolist(), f"f64: {out}")

    def undetermined(self) -> None:
        tiny = np.full((1, 2, 16), 2.0**-76, np.float32)
        tiny[0, 1, 0] = 1
        a, b = tiny.astype(ml_dtypes.bfloat16), np.full((1, 16, 2), 2.0**-76, ml_dtypes.bfloat16)
        out, says = self.run({"a": a, "b": b}, "--unit", "hopper")
        self.expect("2 of 4 elements undetermined" in says, f"undetermined: says {says!r}")
        marked = out.get("undetermined")
        self.expect(marked is not None and marked.tolist() == [[[True, True], [False, False]]], f"undetermined: {marked}")
        c = np.full((1, 2, 2), 1e-30, np.float32)
        out, says = self.run({"a": a, "b": b, "c": c}, "--unit", "hopper")
        self.expect("0 of 4" in says and "undetermined" not in out, f"undetermined with c: {says!r}")

    def info(self) -> None:
        done = bitanchor(self.program, "info", "--json")
        units = json.loads(done.stdout)["units"]
        want = ["volta", "turing", "ampere", "ada", "hopper", "hopper-wgmma", "blackwell", "cdna1", "cdna2", "cdna3"]
        self.expect(units == want, f"info: units {units}")
        text = bitanchor(self.program, "matmul", "--help").stdout
        self.expect("bitanchor matmul in.safetensors" in text.split("Usage")[0] and "hopper-wgmma" in text, "no example")

    def hostile(self) -> None:
        """Exit status 2, one line, nothing written."""
        zeros = lambda dtype, *shape: np.zeros(shape, dtype)  # noqa: E731
        a, b = zeros(np.float16, 2, 3, 8), zeros(np.float16, 2, 8, 4)
        good = {"a": a, "b": b}
        f32 = np.float32
        cases: list[tuple[str, dict[str, Any], list[str], str]] = [
            ("no a", {"b": b}, [], "a: got no tensor"),
            ("no b", {"a": a}, [], "b: got no tensor"),
            ("another tensor", good | {"x": a}, [], "x:"),
            ("two axes", {"a": a[0], "b": b}, [], "a.shape"),
            ("four axes", {"a": a[None], "b": b}, [], "a.shape"),
            ("no axes", {"a": a, "b": np.array(1, np.float16)}, [], "b.shape"),
            ("an empty axis", {"a": a[:, :0], "b": b}, [], "a.shape"),
            ("K differs", {"a": a, "b": zeros(np.float16, 2, 7, 4)}, [], "b.shape: got [2, 7, 4], want [2, 8, 4]"),
            ("G differs", {"a": a, "b": zeros(np.float16, 1, 8, 4)}, [], "b.shape"),
            ("dtypes differ", {"a": a, "b": zeros(ml_dtypes.bfloat16, 2, 8, 4)}, [], "b: got BF16, want F16"),
            ("c's dtype", good | {"c": zeros(np.float16, 2, 3, 4)}, [], "c: got F16, want F32"),
            ("c's shape", good | {"c": zeros(f32, 2, 4, 3)}, [], "c.shape"),
            ("an integer type", {"a": zeros(np.int32, 2, 3, 8), "b": zeros(np.int32, 2, 8, 4)}, [], "a: got I32"),
            ("a unit's dtype", good, ["--unit", "volta", "--input", "tf32"], "--input"),
            ("no bf16", {k: v.astype(ml_dtypes.bfloat16) for k, v in good.items()}, ["--unit", "volta"], "a: got BF16"),
            ("no such unit", good, ["--unit", "fermi\n\x1b[31m"], "--unit"),
            ("no f16 result", good, ["--unit", "cdna3", "--out", "f16"], "--out"),
            ("bf16 results", good, ["--out", "bf16"], "--out"),
            ("no f64 of volta", {"a": a.astype(np.float64), "b": b.astype(np.float64)}, ["--unit", "volta"], "a: got F64"),
            ("f64's c", {"a": a.astype(np.float64), "b": b.astype(np.float64), "c": zeros(f32, 2, 3, 4)}, [], "c: got F32, want F64"),
            ("f64's result", {"a": a.astype(np.float64), "b": b.astype(np.float64)}, ["--out", "f32"], "--out"),
            ("f64's slices", {"a": a.astype(np.float64), "b": b.astype(np.float64)}, ["--split-k", "9"], "--split-k"),
            ("f64's input", {"a": a.astype(np.float64), "b": b.astype(np.float64)}, ["--input", "tf32"], "--input"),
            ("no slices", good, ["--split-k", "0"], "--split-k"),
            ("too many slices", good, ["--split-k", "2"], "--split-k"),
            ("half a slice", good, ["--split-k", "1.5"], "--split-k"),
            ("no threads", good, ["--threads", "0"], "--threads"),
        ]  # fmt: skip
        for name, tensors, options, says in cases:
            path, out = self.folder / "bad.safetensors", self.folder / "not-written.safetensors"
            safetensors.numpy.save_file({k: np.ascontiguousarray(v) if v.ndim else v for k, v in tensors.items()}, str(path))
            unit = [] if "--unit" in options else ["--unit", "hopper"]
            self.refused(name, says, "matmul", path, "-o", out, *unit, *options)
        raw = (self.folder / "bad.safetensors").read_bytes()
        for size in (0, 7, 9, len(raw) - 1):
            (self.folder / "cut.safetensors").write_bytes(raw[:size])
            self.refused(f"{size} bytes", "", "matmul", self.folder / "cut.safetensors", "-o", out, "--unit", "hopper")
        header = json.dumps({"a": {"dtype": "F16", "shape": [1, 2**40, 2**40], "data_offsets": [0, 0]}}).encode()
        (self.folder / "huge.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
        self.refused("huge", "", "matmul", self.folder / "huge.safetensors", "-o", out, "--unit", "hopper")
        self.refused("a folder", "", "matmul", self.folder, "-o", out, "--unit", "hopper")
        self.refused("no unit", "--unit", "matmul", path, "-o", out)
        safetensors.numpy.save_file(good, str(path))
        self.refused("an output that cannot be", "", "matmul", path, "-o", self.folder / "no" / "out", "--unit", "hopper")

    def refused(self, name: str, says: str, *arguments: str | Path) -> None:
        done = bitanchor(self.program, *arguments)
        line = done.stderr.encode()
        right = done.returncode == 2 and line.count(b"\n") == 1 and line.endswith(b"\n") and len(line) <= 600
        self.expect(right and says in done.stderr and not done.stdout and b"\x1b" not in line,
                    f"{name}: exit {done.returncode}, {done.stderr!r}")  # fmt: skip
        self.expect(not (self.folder / "not-written.safetensors").exists(), f"{name}: something was written")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True)
    program = parser.parse_args().bitanchor.resolve()
    with tempfile.TemporaryDirectory() as folder:
        test = Test(program, Path(folder))
        test.every_unit()
        test.every_code()
        test.f64()
        test.undetermined()
        test.info()
        test.hostile()
    return finish(test.failures, f"{test.elements} elements of {len(NVIDIA) + len(AMD)} models")


if __name__ == "__main__":
    sys.exit(main())
