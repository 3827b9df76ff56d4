// The rules themselves. Numbers as in the cited files; see RuleMeasure for what each pair means.
#include <array>

#include "lib/verdict/rule.h"

namespace bitanchor {
namespace {

using ByDType = std::array<RuleLimits, 3>;  // f16, bf16, f32

constexpr ByDType kSilent = {};

constexpr RuleLimits Within(double relative, double absolute, double mismatches = 0) {
  return {relative, absolute, mismatches, true};
}

constexpr ByDType All(RuleLimits limits) { return {limits, limits, limits}; }

// torch.testing's table of defaults.
constexpr ByDType kTorch = {Within(1e-3, 1e-5), Within(1.6e-2, 1e-5), Within(1.3e-6, 1e-5)};
// Theirs are in base 2, and the absolute part with them.
constexpr RuleLimits kFlashinferLse = Within(1e-3, 1e-3 * 0.69314718055994530942);

constexpr std::string_view kWorstShare = "largest error over what is allowed";
constexpr std::string_view kNaNFails = "fails, even where the reference is NaN";

constexpr Rule kRules[] = {
    {.name = "torch",
     .says = "|got - want| <= 1e-5 + rtol |want|, rtol 1.6e-2 (bf16), 1e-3 (f16), 1.3e-6 (f32)",
     .source = "torch.testing.assert_close, its defaults",
     .measure = RuleMeasure::kClose,
     .measures = kWorstShare,
     .nan = kNaNFails,
     .limits = {kTorch, kTorch, kTorch, kTorch}},
    {.name = "flash-attn",
     .says = "largest error <= 2 times that of attention_ref in the model's dtype + 2 times what "
             "+ 0.3 - 0.3 does to the reference; gradients 3 times, nothing added",
     .source = "flash-attention, hopper/test_flash_attn.py; gradients tests/test_flash_attn.py",
     .measure = RuleMeasure::kLargestError,
     .measures = "largest error",
     .nan = kNaNFails,
     .eager = EagerPath::kAttentionRef,
     .limits = {All(Within(2, 2)), kSilent, All(Within(3, 0)), All(Within(3, 0))}},
    {.name = "flex",
     .says =
         "mean error against f64 <= 1.1 times that of uncompiled flex_attention (f32: 10 times)",
     .source = "PyTorch, test/inductor/test_flex_attention.py, _check_equal",
     .measure = RuleMeasure::kMeanError,
     .measures = "mean error",
     .nan = "fails, but passes everything where the uncompiled path has a NaN as well",
     .eager = EagerPath::kFlexMath,
     .reference_rounded = false,
     .limits = {ByDType{Within(1.1, 0), Within(1.1, 0), Within(10, 0)}, kSilent,
                ByDType{Within(1.1, 0), Within(1.1, 0), Within(10, 0)},
                ByDType{Within(1.1, 0), Within(1.1, 0), Within(10, 0)}}},
    {.name = "flashinfer",
     .says = "|got - want| <= 1e-3 + 1e-3 |want|, 1e-2 both in bf16",
     .source = "flashinfer, tests/attention/test_blackwell_fmha.py",
     .measure = RuleMeasure::kClose,
     .measures = kWorstShare,
     .nan = kNaNFails,
     .limits = {ByDType{Within(1e-3, 1e-3), Within(1e-2, 1e-2), Within(1e-3, 1e-3)},
                All(kFlashinferLse), kSilent, kSilent}},
    {.name = "triton-tutorial",
     .says = "|got - want| <= 1e-2",
     .source = "Triton, python/tutorials/06-fused-attention.py",
     .measure = RuleMeasure::kClose,
     .measures = kWorstShare,
     .nan = kNaNFails,
     .limits = {All(Within(0, 1e-2)), kSilent, All(Within(0, 1e-2)), All(Within(0, 1e-2))}},
    {.name = "cutlass-77",
     .says = "largest error < 1e-2 and mean error < 1e-3",
     .source = "CUTLASS, examples/77_blackwell_fmha, reference/reference_abs_error.hpp",
     .measure = RuleMeasure::kLargestAndMean,
     .measures = "largest or mean error over its limit",
     .nan = "fails by the mean; the maximum (fmax) does not see it",
     .limits = {All(Within(1e-3, 1e-2)), All(Within(1e-3, 1e-2)), All(Within(1e-3, 1e-2)),
                All(Within(1e-3, 1e-2))}},
    {.name = "cudnn",
     .says = "|got - want| <= 2e-2 + 2e-2 |got|; dk and dv in bf16 7e-2 + 2e-2 |got|",
     .source = "cudnn-frontend, test/python/test_mhas.py",
     .measure = RuleMeasure::kClose,
     .measures = kWorstShare,
     .nan = kNaNFails,
     .reference_rounded = false,
     .relative_to_got = true,
     .limits = {All(Within(2e-2, 2e-2)), All(Within(2e-2, 2e-2)), All(Within(2e-2, 2e-2)),
                ByDType{Within(2e-2, 2e-2), Within(2e-2, 7e-2), Within(2e-2, 2e-2)}}},
    {.name = "onednn-sdpa",
     .says = "|got - want| <= 8 (1 + keys) eps |want| or <= eps sum p|v|; gradients 32 (1 + keys) "
             "eps |want| or 5e-2",
     .source = "oneDNN, tests/benchdnn/sdpa/sdpa.cpp, setup_cmp",
     .measure = RuleMeasure::kBenchdnn,
     .measures = kWorstShare,
     .nan = "fails; in f16 NaN passes where the reference is NaN",
     .limits = {All(Within(8, 1)), kSilent, All(Within(32, 5e-2)), All(Within(32, 5e-2))}},
    {.name = "ggml",
     .says = "sum (got - want)^2 / sum got^2 <= 5e-4",
     .source = "ggml, tests/test-backend-ops.cpp, FLASH_ATTN_EXT",
     .measure = RuleMeasure::kSquares,
     .measures = "normalised mean squared error",
     .nan = kNaNFails,
     .reference_rounded = false,
     .limits = {All(Within(5e-4, 0)), kSilent, kSilent, kSilent}},
    {.name = "tilelang",
     .says = "|got - want| <= 1e-2 + 1e-2 |want| but for 1% of o's elements",
     .source = "tilelang, examples/flash_attention by profiler.assert_allclose",
     .measure = RuleMeasure::kClose,
     .measures = "elements that mismatch",
     .nan = "is one mismatch, and up to 1% of o may be; passes where the reference is NaN",
     .nan_equal = true,
     .counted = true,
     .limits = {All(Within(1e-2, 1e-2, 1e-2)), kSilent, All(Within(1e-2, 1e-2)),
                All(Within(1e-2, 1e-2))}},
    {.name = "vllm",
     .says = "|got - want| <= 1e-3 + rtol |want|, rtol 1.6e-2 (bf16), 1e-3 (f16); f32 1e-5, 1.3e-6",
     .source = "vllm, tests/kernels/allclose_default.py",
     .measure = RuleMeasure::kClose,
     .measures = kWorstShare,
     .nan = kNaNFails,
     .limits = {ByDType{Within(1e-3, 1e-3), Within(1.6e-2, 1e-3), Within(1.3e-6, 1e-5)}, kSilent,
                kSilent, kSilent}},
};

}  // namespace

const RuleLimits& Rule::Limits(RuleOutput output, DType dtype) const {
  const size_t column = dtype == DType::kF16 ? 0 : dtype == DType::kBF16 ? 1 : 2;
  return limits[static_cast<size_t>(output)][column];
}

std::span<const Rule> Rules() { return kRules; }

const Rule* FindRule(std::string_view name) {
  for (const Rule& rule : kRules) {
    if (rule.name == name) return &rule;
  }
  return nullptr;
}

}  // namespace bitanchor
