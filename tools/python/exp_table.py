#!/usr/bin/env python3
"""Prints the constants of simd/exp_table.h: the 32 powers 2^(k/32) as f32, and what each misses.

    tools/python/exp_table.py > simd/exp_table.h

Every number is computed with 60 decimal digits and rounded once. T[k] = RN_f32(2^(k/32)) and
d[k] = RN_f32(k ln2/32 - ln T[k]), so that 2^(k/32) = T[k] e^d[k] to 2^-48. ln2/32 = L1 + L2 with L1 its f32
rounding.
"""
from decimal import Decimal, getcontext
import math
import struct

getcontext().prec = 60


def round_to_f32(x: Decimal) -> float:
    """RN_f32(x), x normal: through the integer significand, so that it rounds once."""
    if x == 0:
        return 0.0
    exponent = math.frexp(float(x))[1]
    scaled = x * Decimal(2) ** (24 - exponent)
    significand = int(scaled.to_integral_value(rounding="ROUND_HALF_EVEN"))
    value = math.ldexp(significand, exponent - 24)
    assert struct.unpack("f", struct.pack("f", value))[0] == value
    return value


def literal(x: float) -> str:
    mantissa, exponent = x.hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{int(exponent)}f"


def rows(values: list[float], per_line: int) -> str:
    lines = [values[i : i + per_line] for i in range(0, len(values), per_line)]
    return ",\n".join("    " + ", ".join(literal(v) for v in line) for line in lines)


def main() -> None:
    step = Decimal(2).ln() / 32
    powers = [round_to_f32((step * k).exp()) for k in range(32)]
    missing = [round_to_f32(step * k - Decimal(t).ln()) for k, t in enumerate(powers)]
    high = round_to_f32(step)
    low = round_to_f32(step - Decimal(high))
    inverse = round_to_f32(1 / step)
    print(f"""// Written by tools/python/exp_table.py, which says what each number is. Do not edit.
// clang-format off
#ifndef BITANCHOR_SIMD_EXP_TABLE_H_
#define BITANCHOR_SIMD_EXP_TABLE_H_

namespace bitanchor::simd {{

inline constexpr float kExpSteps = {literal(inverse)};    // 32/ln2
inline constexpr float kExpStepHigh = {literal(high)};  // L1
inline constexpr float kExpStepLow = {literal(low)};   // L2
alignas(64) inline constexpr float kExpPower[32] = {{  // T
{rows(powers, 6)}}};
alignas(64) inline constexpr float kExpMissing[32] = {{  // d
{rows(missing, 6)}}};
// Every fourth of them.
alignas(32) inline constexpr float kExpPower8[8] = {{
{rows(powers[::4], 6)}}};
alignas(32) inline constexpr float kExpMissing8[8] = {{
{rows(missing[::4], 6)}}};

}}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_EXP_TABLE_H_""")


main()
