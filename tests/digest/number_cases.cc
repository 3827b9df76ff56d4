#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"
#include "lib/number/format.h"
#include "lib/number/philox.h"
#include "lib/problem/generate.h"
#include "tests/digest/cases.h"
#include "tests/digest/draw.h"
#include "tests/number/hard_cases.h"

namespace bitanchor::digest {
namespace {

constexpr uint64_t kStride = 7919;  // prime: every bit of the pattern moves

// Every kStride-th f32 of quarter `quarter` of all bit patterns: 0 and 1 are the positive ones
// below and from 2 on, NaNs among them; 2 and 3 the negative ones.
std::vector<float> Sweep(uint64_t quarter) {
  std::vector<float> sweep;
  for (uint64_t bits = quarter << 30; bits < (quarter + 1) << 30; bits += kStride) {
    sweep.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  }
  return sweep;
}

// Edges of f32 and of the elementary functions, both signs, three neighbours each way.
std::vector<float> Edges() {
  std::vector<float> edges;
  for (const uint32_t middle :
       {0x00000000u, 0x00000001u, 0x007fffffu, 0x00800000u, 0x33000000u, 0x33800000u, 0x3f000000u,
        0x3f800000u, 0x40000000u, 0x3f317218u, 0x402df854u, 0x42b17218u, 0x42cff1b5u, 0x42aeac50u,
        0x3fc90fdbu, 0x40490fdbu, 0x43000000u, 0x43150000u, 0x42fe0000u, 0x4b800000u, 0x5f000000u,
        0x7f7fffffu, 0x7f800000u, 0x7f800001u, 0x7fc00000u, 0x7fffffffu}) {
    for (int step = -3; step <= 3; ++step) {
      const uint32_t bits = (middle + static_cast<uint32_t>(step)) & 0x7fffffffu;
      edges.push_back(std::bit_cast<float>(bits));
      edges.push_back(std::bit_cast<float>(bits | 0x80000000u));
    }
  }
  return edges;
}

using Arguments = std::vector<float> (*)();

struct Range {
  const char* name;
  Arguments arguments;
  int finite_percent;  // of exp, whose results there are
};

constexpr Range kRanges[] = {
    {"positive-small", [] { return Sweep(0); }, 100},
    {"positive-large", [] { return Sweep(1); }, 1},
    {"negative-small", [] { return Sweep(2); }, 100},
    {"negative-large", [] { return Sweep(3); }, 1},
    {"edges", Edges, 10},
};

// Arguments whose results lie nearest to the middle between two f32.
std::vector<float> Hardest(std::span<const testing::HardRow> rows) {
  std::vector<float> x;
  for (const testing::HardRow& row : rows) x.push_back(row.x);
  return x;
}

std::vector<float> HardestSinCos() {
  std::vector<float> x = Hardest(testing::kHardSin);
  for (const float cos : Hardest(testing::kHardCos)) x.push_back(cos);
  for (size_t n = x.size(); n > 0; --n) x.push_back(-x[n - 1]);
  return x;
}

// Scores less their maximum: where exp really works.
std::vector<float> ScoreDifferences() {
  std::vector<float> x;
  for (uint32_t n = 0; n < 60000; ++n) {
    x.push_back(-static_cast<float>(Philox4x32({n, 0, 0, 1}, {0, 0})[0] >> 8) * 0x1.ap-18f);
  }
  return x;
}

// position x inverse frequency as RoPE forms it.
std::vector<float> RopeAngles() {
  const RopeRecipe& recipe = *FindRopeRecipe("hf-llama");
  RopeConfig config;
  config.rotary_dim = 128;
  config.rope_theta = 500000;
  const std::vector<float> inv_freq = InverseFrequencies(config, recipe);
  std::vector<float> angles;
  for (int64_t n = 0; n < 1000; ++n) {
    const float position = static_cast<float>(n < 500 ? n : n * n * 131 % (1 << 24));
    for (const float f : inv_freq) angles.push_back(position * f);
  }
  return angles;
}

void AddExp(std::vector<Case>& cases, const std::string& name, Arguments arguments, int finite) {
  cases.push_back(
      {"exp/" + name, Operation::kExp, finite, [arguments](Engine& engine, Results& results) {
         const std::vector<float> x = arguments();
         std::vector<float> y(x.size());
         engine.Exp(x, y);
         results.Add(y);
       }});
}

void AddSinCos(std::vector<Case>& cases, const std::string& name, Arguments arguments, int finite) {
  cases.push_back({"sin-cos/" + name, Operation::kSinCos, finite,
                   [arguments](Engine& engine, Results& results) {
                     const std::vector<float> x = arguments();
                     std::vector<float> sin(x.size()), cos(x.size());
                     engine.SinCos(x, sin, cos);
                     results.Add(sin);
                     results.Add(cos);
                   }});
}

void AddRoundToBF16(std::vector<Case>& cases, const std::string& name, Arguments arguments,
                    int finite) {
  cases.push_back({"round-to-bf16/" + name, Operation::kRoundToBF16, finite,
                   [arguments](Engine& engine, Results& results) {
                     const std::vector<float> x = arguments();
                     std::vector<uint16_t> y(x.size());
                     engine.RoundToBF16(x, y);
                     results.Add(y, DType::kBF16);
                   }});
}

// Functions that no engine computes over arrays.
void AddDefinition(std::vector<Case>& cases, const std::string& name, int finite,
                   std::function<void(Results&)> compute) {
  cases.push_back({name, Operation::kDefinition, finite,
                   [compute = std::move(compute)](Engine&, Results& results) {
                     const FloatEnvironment environment;
                     compute(results);
                   }});
}

void AddPow(std::vector<Case>& cases) {
  AddDefinition(cases, "pow/rope", 100, [](Results& results) {
    std::vector<float> y;
    for (const float theta : {2.0f, 100.0f, 1e4f, 5e5f, 1e6f, 8e6f, 1e7f, 1e9f}) {
      for (int R = 2; R <= 256; R += 2) {
        for (int i = 0; i < R; i += 2) {
          const float exponent = static_cast<float>(i) / static_cast<float>(R);
          y.push_back(number::Pow(theta, exponent));
          y.push_back(number::Pow(theta, -exponent));
        }
      }
    }
    results.Add(y);
  });
  AddDefinition(cases, "pow/edges", 10, [](Results& results) {
    const std::vector<float> edges = Edges();
    std::vector<float> y;
    for (size_t i = 0; i < edges.size(); i += 2) {
      for (size_t j = 0; j < edges.size(); j += 3) y.push_back(number::Pow(edges[i], edges[j]));
    }
    results.Add(y);
  });
  AddDefinition(cases, "pow/wide", 50, [](Results& results) {
    std::vector<float> y;
    for (uint64_t n = 0; n < 50000; ++n) {
      y.push_back(number::Pow(
          std::bit_cast<float>(DrawBits(Values::kWide, DType::kF32, 3, n) & 0x7fffffffu),
          std::bit_cast<float>(DrawBits(Values::kNormal, DType::kF32, 4, n))));
    }
    results.Add(y);
  });
}

struct Mode {
  const char* name;
  Rounding rounding;
};

constexpr Mode kModes[] = {
    {"nearest-even", Rounding::kNearestEven},
    {"nearest-away", Rounding::kNearestAway},
    {"toward-zero", Rounding::kTowardZero},
    {"up", Rounding::kUp},
    {"down", Rounding::kDown},
    {"to-odd", Rounding::kToOdd},
    {"stochastic", Rounding::kStochastic},
};

// f64 near what narrower formats hold: f32 patterns with the bits below them random or a unit away.
double Wide(uint64_t n) {
  const auto words = Philox4x32({static_cast<uint32_t>(n), 0, 0, 2}, {0, 0});
  if (n % 8 == 0) return std::bit_cast<double>((uint64_t{words[0]} << 32) | words[1]);
  const uint32_t narrow = n % 2 == 0 ? words[0] : DrawBits(Values::kSubnormal, DType::kF32, 6, n);
  const uint64_t bits = std::bit_cast<uint64_t>(ToF64(std::bit_cast<float>(narrow)));
  switch (words[2] % 4) {
    case 0:
      return std::bit_cast<double>(bits | (words[1] & 0x1fffffffu));
    case 1:
      return std::bit_cast<double>(bits + 1);
    case 2:
      return std::bit_cast<double>(bits ^ 0x10000000u);
    default:
      return std::bit_cast<double>(bits);
  }
}

void AddConversions(std::vector<Case>& cases, const Mode& mode) {
  constexpr int64_t kWides = 100000;
  AddDefinition(cases, fmt::format("convert/f32-to-16/{}", mode.name), 90,
                [mode](Results& results) {
                  std::vector<uint16_t> bf16, f16;
                  for (uint64_t quarter = 0; quarter < 4; ++quarter) {
                    for (const float x : Sweep(quarter)) {
                      const uint32_t random = StochasticWord(11, bf16.size());
                      bf16.push_back(ToBF16(x, mode.rounding, random).bits);
                      f16.push_back(ToF16(x, mode.rounding, random).bits);
                    }
                  }
                  results.Add(bf16, DType::kBF16);
                  results.Add(f16, DType::kU16);
                });
  AddDefinition(cases, fmt::format("convert/f64/{}", mode.name), 80, [mode](Results& results) {
    std::vector<uint16_t> bf16, f16;
    std::vector<float> f32;
    for (uint64_t n = 0; n < kWides; ++n) {
      const double x = Wide(n);
      const uint32_t random = StochasticWord(uint64_t{1} << 40, n << 20);
      bf16.push_back(ToBF16(x, mode.rounding, random).bits);
      f16.push_back(ToF16(x, mode.rounding, random).bits);
      f32.push_back(RoundToF32(x, mode.rounding, random));
    }
    results.Add(bf16, DType::kBF16);
    results.Add(f16, DType::kU16);
    results.Add(f32);
  });
}

// Random words one below, at and one above the least that rounds up, and the ends.
void AddStochasticEdges(std::vector<Case>& cases) {
  AddDefinition(cases, "convert/f32-to-16/stochastic-edges", 0, [](Results& results) {
    std::vector<uint16_t> bf16, f16;
    for (uint64_t quarter = 0; quarter < 4; ++quarter) {
      for (const float x : Sweep(quarter)) {
        const uint32_t bits = std::bit_cast<uint32_t>(x);
        for (const uint32_t least : {0 - (bits << 16), 0 - (bits << 19), 0u}) {
          for (const uint32_t random : {least - 1, least, least + 1}) {
            bf16.push_back(ToBF16(x, Rounding::kStochastic, random).bits);
            f16.push_back(ToF16(x, Rounding::kStochastic, random).bits);
          }
        }
      }
    }
    results.Add(bf16, DType::kBF16);
    results.Add(f16, DType::kU16);
  });
}

void AddReading(std::vector<Case>& cases) {
  AddDefinition(cases, "read/bf16-and-f16", 95, [](Results& results) {
    std::vector<float> f32;
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      f32.push_back(ToF32(BF16{static_cast<uint16_t>(bits)}));
      f32.push_back(ToF32(F16{static_cast<uint16_t>(bits)}));
      f32.push_back(Canonical(f32.back()));
    }
    results.Add(f32);
  });
}

// The inputs themselves: where one of these differs, the others say nothing about arithmetic.
void AddDraws(std::vector<Case>& cases) {
  for (const Values values : {Values::kNormal, Values::kWide, Values::kSubnormal, Values::kHuge,
                              Values::kInteger, Values::kSpecial, Values::kRareSpecial}) {
    AddDefinition(cases, fmt::format("draw/{}", Name(values)), 95, [values](Results& results) {
      for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
        results.Add(dtype, DrawTensor(values, dtype, {1, 1, 100, 100}, uint64_t{9} << 33));
      }
    });
  }
  AddDefinition(cases, "draw/gen-1", 100, [](Results& results) {
    const Shape4 shape = {2, 5, 3, 64};
    for (const Gen1Tensor tensor :
         {Gen1Tensor::kQ, Gen1Tensor::kK, Gen1Tensor::kV, Gen1Tensor::kDo}) {
      for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
        std::vector<std::byte> bytes(DTypeBytes(dtype) * 2 * 5 * 3 * 64);
        FillGen1(20250101, tensor, DenseView(dtype, bytes.data(), shape));
        results.Add(dtype, bytes);
      }
    }
  });
}

}  // namespace

void AddNumberCases(std::vector<Case>& cases) {
  AddDraws(cases);
  AddReading(cases);
  for (const Mode& mode : kModes) AddConversions(cases, mode);
  AddStochasticEdges(cases);
  for (const Range& range : kRanges) {
    AddExp(cases, range.name, range.arguments, range.finite_percent);
    AddSinCos(cases, range.name, range.arguments, 80);
    AddRoundToBF16(cases, range.name, range.arguments, 75);
    AddDefinition(cases, fmt::format("exp2/{}", range.name), range.finite_percent,
                  [range](Results& results) {
                    std::vector<float> y;
                    for (const float x : range.arguments()) y.push_back(number::Exp2(x));
                    results.Add(y);
                  });
    AddDefinition(cases, fmt::format("log/{}", range.name), 0, [range](Results& results) {
      std::vector<float> y;
      for (const float x : range.arguments()) y.push_back(number::Log(x));
      results.Add(y);
    });
  }
  AddExp(cases, "score-differences", ScoreDifferences, 100);
  AddSinCos(cases, "rope-angles", RopeAngles, 100);
  AddPow(cases);
  AddExp(
      cases, "hardest", [] { return Hardest(testing::kHardExp); }, 100);
  AddSinCos(cases, "hardest", HardestSinCos, 100);
  AddDefinition(cases, "exp2/hardest", 100, [](Results& results) {
    std::vector<float> y;
    for (const float x : Hardest(testing::kHardExp2)) y.push_back(number::Exp2(x));
    results.Add(y);
  });
  AddDefinition(cases, "log/hardest", 100, [](Results& results) {
    std::vector<float> y;
    for (const float x : Hardest(testing::kHardLog)) y.push_back(number::Log(x));
    results.Add(y);
  });
}

}  // namespace bitanchor::digest
