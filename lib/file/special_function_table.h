// What a GPU's special-function unit answers, dumped from the GPU itself: what follows the option
// --special-functions.
//
// A safetensors file with either or both of
//   ex2        F32 [N]     ex2.approx.ftz of the N f32 numbers whose bits begin with ex2_first
//   ex2_first  U32 or I64 [1]
//   rcp        F32 [2^23]  rcp.approx.ftz of the f32 numbers in [1, 2), ascending
// Replay asks ex2 for numbers from -0 downward: bits 0x80000000 to 0xc2fc0000 (-126), 1.1e9 of
// them, at 4 bytes each; a stretch of them serves as well. On the GPU, with CuPy (this was written
// without a GPU at hand, so that it never ran):
//
//   extern "C" __global__ void Dump(unsigned first, unsigned n, float* ex2, float* rcp) {
//     unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
//     float x = __uint_as_float(first + i), y = __uint_as_float(0x3f800000u + i);
//     if (i < n) asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(ex2[i]) : "f"(x));
//     if (i < 1u << 23) asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(rcp[i]) : "f"(y));
//   }
//   import cupy, numpy, safetensors.numpy
//   first, n = 0xc0000000 - (1 << 24), 1 << 24
//   ex2, rcp = cupy.empty(n, "f4"), cupy.empty(1 << 23, "f4")
//   kernel = cupy.RawKernel(open("dump.cu").read(), "Dump")
//   kernel((n // 256,), (256,), (numpy.uint32(first), numpy.uint32(n), ex2, rcp))
//   safetensors.numpy.save_file({"ex2": ex2.get(), "ex2_first": numpy.array([first], "u4"),
//                                "rcp": rcp.get()}, "h100.safetensors")
#ifndef BITANCHOR_LIB_FILE_SPECIAL_FUNCTION_TABLE_H_
#define BITANCHOR_LIB_FILE_SPECIAL_FUNCTION_TABLE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/file/safetensors.h"

namespace bitanchor {

// Owns what its spans point to; to be moved only.
struct SpecialFunctionTable {
  uint32_t exp2_first = 0;            // bits of the first argument
  std::span<const float> exp2;        // empty: none
  std::span<const float> reciprocal;  // 2^23 or none

  SafetensorsFile file;
  std::vector<float> aligned[2];  // copies of tensors that lie at odd addresses

  SpecialFunctionTable() = default;
  SpecialFunctionTable(SpecialFunctionTable&&) = default;
  SpecialFunctionTable& operator=(SpecialFunctionTable&&) = default;
};

// Throws InputError naming the tensor, or the path: unknown tensors or none at all, dtypes, shapes,
// arguments beyond the last f32 bits, and an entry ("ex2[17]") that is farther than 2^-20 of itself
// from the true value (subnormal numbers, in and out, being zeros) or not NaN where that is.
SpecialFunctionTable ReadSpecialFunctions(const std::string& path);
SpecialFunctionTable ReadSpecialFunctions(SafetensorsFile file, const std::string& name);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_SPECIAL_FUNCTION_TABLE_H_
