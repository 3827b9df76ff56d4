// By hand: the table's constants, what separates the units from one another, and the corners that
// nothing public decides.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lib/matrix_unit/dot_add.h"

namespace bitanchor::matrix_unit {
namespace {

const Model& ModelOf(const char* unit, const char* input) {
  for (const Model& model : Models()) {
    if (model.unit == unit && model.input == input) return model;
  }
  ADD_FAILURE() << "no model of " << unit << " for " << input;
  return Models()[0];
}

std::vector<Unpacked> Operands(const Model& model, const std::vector<double>& values) {
  std::vector<Unpacked> operands;
  for (const double x : values) {
    operands.push_back(Operand(model, RoundBits(model.format, x, Rounding::kNearestEven, 0)));
  }
  return operands;
}

struct Row {
  const Model& model;
  std::vector<double> a, b;
  float c = 0;
  int64_t slices = 1;

  Prediction F32() const {
    return ChainedDotAdd(model, model.f32, Operands(model, a), Operands(model, b),
                         std::bit_cast<uint32_t>(c), slices);
  }
  Prediction F16() const {
    return ChainedDotAdd(model, *model.f16, Operands(model, a), Operands(model, b), ToF16(c).bits,
                         slices);
  }
  float Value() const { return std::bit_cast<float>(F32().bits); }
};

// A table of the papers', typed in again.
TEST(Models, HaveThePapersConstants) {
  struct Constants {
    int L, F, bits;  // of the result to f32
    bool half;
  };
  const std::map<std::string, Constants> want = {
      {"volta f16", {4, 23, 24, true}},           {"turing f16", {8, 24, 24, true}},
      {"ampere f16", {8, 24, 24, true}},          {"ampere bf16", {8, 24, 24, false}},
      {"ampere tf32", {4, 24, 24, false}},        {"ada f16", {8, 24, 24, true}},
      {"ada bf16", {8, 24, 24, false}},           {"ada tf32", {4, 24, 24, false}},
      {"ada e4m3", {16, 13, 14, true}},           {"ada e5m2", {16, 13, 14, true}},
      {"hopper f16", {16, 25, 24, true}},         {"hopper bf16", {16, 25, 24, false}},
      {"hopper tf32", {8, 25, 24, false}},        {"hopper e4m3", {32, 25, 24, true}},
      {"hopper e5m2", {32, 25, 24, true}},        {"hopper-wgmma f16", {16, 25, 24, true}},
      {"hopper-wgmma bf16", {16, 25, 24, false}}, {"hopper-wgmma tf32", {8, 25, 24, false}},
      {"hopper-wgmma e4m3", {32, 13, 14, true}},  {"hopper-wgmma e5m2", {32, 13, 14, true}},
      {"blackwell f16", {16, 25, 24, true}},      {"blackwell bf16", {16, 25, 24, false}},
      {"blackwell tf32", {8, 25, 24, false}},     {"blackwell e4m3", {32, 25, 24, true}},
      {"blackwell e5m2", {32, 25, 24, true}},     {"cdna1 f16", {4, 0, 24, false}},
      {"cdna1 bf16", {2, 0, 24, false}},          {"cdna1 f32", {1, 0, 24, false}},
      {"cdna2 f16", {4, 0, 24, false}},           {"cdna2 bf16", {2, 0, 24, false}},
      {"cdna2 bf16_1k", {4, 0, 24, false}},       {"cdna2 f32", {1, 0, 24, false}},
      {"cdna3 f16", {8, 24, 24, false}},          {"cdna3 bf16", {8, 24, 24, false}},
      {"cdna3 xf32", {4, 24, 24, false}},         {"cdna3 f32", {1, 0, 24, false}},
      {"cdna3 e4m3fnuz", {16, 24, 24, false}},    {"cdna3 e5m2fnuz", {16, 24, 24, false}}};
  size_t seen = 0;
  for (const Model& model : Models()) {
    const std::string name = std::string(model.unit) + " " + std::string(model.input);
    ASSERT_TRUE(want.contains(name)) << name;
    const Constants& constants = want.at(name);
    EXPECT_EQ(model.products, constants.L) << name;
    EXPECT_EQ(model.fraction_bits, constants.F) << name;
    EXPECT_EQ(model.f32.format.precision, constants.bits) << name;
    EXPECT_EQ(model.f16.has_value(), constants.half) << name;
    EXPECT_EQ(FindModel(model.unit, model.dtype, model.input), &model) << name;
    ++seen;
  }
  EXPECT_EQ(seen, want.size());
  EXPECT_EQ(Units().size(), 10u);
  EXPECT_EQ(FindModel("cdna2", DType::kBF16)->input, "bf16");
  EXPECT_EQ(FindModel("volta", DType::kBF16), nullptr);
  EXPECT_EQ(FindModel("fermi", DType::kF16), nullptr);
}

// c = 0 and sixteen products of 2^-152: a floor of -126 drops them below 2^-151, one of -133 keeps
// 2^-148 of them.
TEST(Corners, TheFloorUnderE) {
  const std::vector<double> a(16, 0x1p-76);
  for (const char* unit : {"hopper", "hopper-wgmma", "blackwell"}) {
    const Model& model = ModelOf(unit, "bf16");
    EXPECT_FALSE((Row{model, a, a}.F32().determined)) << unit;
    EXPECT_EQ((Row{model, a, a}.F32().bits), 0u) << unit;
    bool corner = false;
    EXPECT_EQ(DotAdd(model, model.f32, model.f32.readings[1], Operands(model, a),
                     Operands(model, a), 0, corner),
              2u)
        << unit;
    EXPECT_TRUE(corner);
    // Any c that is not zero, and any product of 2^-126, is above every floor.
    EXPECT_TRUE((Row{model, a, a, 0x1p-149f}.F32().determined)) << unit;
    std::vector<double> one_more = a;
    one_more[3] = 0x1p-50;
    EXPECT_TRUE((Row{model, one_more, a}.F32().determined)) << unit;
  }
  // Eight of 2^-150: 2^-150 is the last place of a floor of -126, but not where F is 24.
  const std::vector<double> b(8, 0x1p-75);
  EXPECT_TRUE((Row{ModelOf("ampere", "bf16"), b, b}.F32().determined));
  const std::vector<double> less(8, 0x1.8p-76);
  EXPECT_FALSE((Row{ModelOf("ampere", "bf16"), less, less}.F32().determined));
}

// The undetermined first group's result goes on as the c of the next ones, reading by reading.
TEST(Corners, UndeterminedGoesThroughChains) {
  const Model& model = ModelOf("hopper", "bf16");
  std::vector<double> a(32, 0x1p-76), b = a;
  EXPECT_FALSE((Row{model, a, b}.F32().determined));
  a[16] = b[16] = 1;  // and drowns in 1: the readings agree again
  EXPECT_TRUE((Row{model, a, b}.F32().determined));
  EXPECT_EQ((Row{model, a, b}.Value()), 1);
}

// The later model of B200 has a floor of -15 from f16 to f16: 2^-25, half of f16's last place, and
// a little more, which that floor cuts off. The tie then goes to zero.
TEST(Corners, BlackwellFromF16ToF16) {
  const std::vector<double> a = {0x1p-13, 0x1p-24, 0x1p-13}, b = {0x1p-13, 0x1p-18, 0x1p-13};
  const Row row{ModelOf("blackwell", "f16"), a, b};
  EXPECT_EQ(row.F16().bits, 1u);
  EXPECT_FALSE(row.F16().determined);
  EXPECT_TRUE(row.F32().determined);
  EXPECT_TRUE((Row{ModelOf("hopper", "f16"), a, b}.F16().determined));
  EXPECT_TRUE((Row{ModelOf("blackwell", "f16"), a, b, -0x1p-24f}.F16().determined));
}

// A product past f32 on CDNA3: infinite, or a term like any other.
TEST(Corners, HugeProductsOfCDNA3) {
  const Row row{ModelOf("cdna3", "bf16"), {0x1p100, -0x1p100, 3}, {0x1p28, 0x1p28, 1}};
  EXPECT_FALSE(row.F32().determined);
  EXPECT_EQ(row.F32().bits, 0x7fc00000u);
  EXPECT_TRUE((Row{ModelOf("cdna3", "bf16"), {0x1p100}, {0x1p28}}.F32().determined));
}

TEST(Units, TruncateTowardZeroBelowTheLargestTerm) {
  const Model& model = ModelOf("ampere", "bf16");
  // 2^-25 is lost next to 1, 2^-24 is not; of either sign.
  for (const double sign : {1.0, -1.0}) {
    EXPECT_EQ((Row{model, {1, sign * 0x1p-25, sign * 0x1p-25}, {1, 1, 1}}.Value()), 1);
    const float below = static_cast<float>(sign < 0 ? 1 - 0x1p-23 : 1 + 0x1p-23);
    EXPECT_EQ((Row{model, {1, sign * 0x1p-24, sign * 0x1p-24}, {1, 1, 1}}.Value()), below);
  }
  // An f32 c is a term too.
  EXPECT_EQ((Row{model, {0x1p-25, 0x1p-25}, {1, 1}, 1.0f}.Value()), 1);
}

// Fifteen halves, and a large one as the last. Hopper has them in one group; Ampere has summed the
// first eight before.
TEST(Units, GroupsOfEightAndOfSixteenDiffer) {
  std::vector<double> a(16, 1.0), b(16, 0x1p-1);
  b[15] = 0x1p25;
  EXPECT_EQ((Row{ModelOf("hopper", "bf16"), a, b}.Value()), 0x1p25f);
  EXPECT_EQ((Row{ModelOf("ampere", "bf16"), a, b}.Value()), 0x1p25f + 4);
  b[15] = 0x1p24;
  EXPECT_EQ((Row{ModelOf("hopper", "bf16"), a, b}.Value()), 0x1p24f + 6);  // 7.5, toward zero
  EXPECT_EQ((Row{ModelOf("ampere", "bf16"), a, b}.Value()), 0x1p24f + 4);
}

// Hopper's mma on 8-bit inputs: k mod 4 in {0, 1} first, and c at the end.
TEST(Units, HopperTakesEightBitsThroughF16) {
  const Model& mma = ModelOf("hopper", "e5m2");
  std::vector<double> a(32, 0.0), b(32, 1.0);
  // 2^15 * 2^15 first, then 2^-2: below 2^(30 - 25) it vanishes; alone in the second half, with d1
  // as its c, too. But cancelled inside the first half it survives in the second.
  a[0] = b[0] = 0x1p15;
  a[1] = 0x1p15;
  b[1] = -0x1p15;
  a[2] = 0x1p-2;
  EXPECT_EQ((Row{mma, a, b}.Value()), 0x1p-2f);
  EXPECT_EQ((Row{ModelOf("blackwell", "e5m2"), a, b}.Value()), 0);
  std::swap(a[1], a[3]);
  std::swap(b[1], b[3]);
  EXPECT_EQ((Row{mma, a, b}.Value()), 0);
  // c is added once at the end, to nearest: 1 + 2^-24 + 2^-30 goes up.
  const std::vector<double> x = {0x1p-12, 0x1p-15}, y = {0x1p-12, 0x1p-15};
  EXPECT_EQ((Row{mma, x, y, 1.0f}.Value()), 1 + 0x1p-23f);
  EXPECT_EQ((Row{ModelOf("blackwell", "e5m2"), x, y, 1.0f}.Value()), 1);
}

TEST(Units, ZerosAndOverflow) {
  for (const Model& model : Models()) {
    const uint32_t minus_zero = 0x80000000u;
    const bool ieee = model.arithmetic == Arithmetic::kFMA;
    const std::vector<Unpacked> a = Operands(model, {-0.0}), b = Operands(model, {1});
    // fnuz has no -0.
    const uint32_t zero = ChainedDotAdd(model, model.f32, a, b, minus_zero).bits;
    EXPECT_EQ(zero, ieee ? minus_zero : 0u) << model.unit << " " << model.input;
    // The largest c, and 1 more ulp of it: infinite, of RZ as well. 8-bit factors are too small.
    if (model.operand.max_exponent < 100) continue;
    const std::vector<Unpacked> x = Operands(model, {0x1p60}), y = Operands(model, {0x1p45});
    const float largest = std::bit_cast<float>(0x7F7FFFFFu);
    EXPECT_EQ((ChainedDotAdd(model, model.f32, x, y, std::bit_cast<uint32_t>(largest)).bits),
              0x7F800000u)
        << model.unit << " " << model.input;
    const std::vector<Unpacked> minus = Operands(model, {-0x1p45});
    EXPECT_EQ((ChainedDotAdd(model, model.f32, x, minus, std::bit_cast<uint32_t>(-largest)).bits),
              0xFF800000u)
        << model.unit << " " << model.input;
  }
}

TEST(Units, TF32DropsThirteenBits) {
  const Model& model = ModelOf("ampere", "tf32");
  EXPECT_EQ(ToF64(Operand(model, 0x3F801FFFu)), 1);
  EXPECT_EQ(ToF64(Operand(model, 0xBF802001u)), -1 - 0x1p-10);
  EXPECT_EQ(ToF64(Operand(ModelOf("cdna1", "f32"), 0x3F801FFFu)), 1 + 0x1.fffp-11);
}

// Slices start from +0, the first from c, and are added in f32 to nearest.
TEST(Units, Slices) {
  const Model& model = ModelOf("volta", "f16");
  std::vector<double> a(12, 0.0), b(12, 1.0);
  a[0] = 1;
  a[4] = 0x1p-24;
  a[8] = 0x1p-24;
  EXPECT_EQ((Row{model, a, b, 0, 3}.Value()), 1);  // 1 + 2^-24, to even, twice
  a[8] = 0x1p-23;
  EXPECT_EQ((Row{model, a, b, 0, 3}.Value()), 1 + 0x1p-23f);
  EXPECT_EQ((Row{model, a, b, 0, 2}.Value()), 1 + 0x1p-23f);
  EXPECT_EQ((Row{model, a, b, 5, 3}.Value()), 6);
  EXPECT_EQ((Row{model, a, b, 0, 1}.Value()), 1 + 0x1p-23f);
  // Thirteen products are four groups: three slices are of two, two and none.
  a.push_back(2);
  b.push_back(1);
  EXPECT_EQ((Row{model, a, b, 0, 3}.Value()), 3);
  // f16 results are added in f32 and rounded once more.
  EXPECT_EQ((Row{model, {1, 0, 0, 0, 0x1p-11}, {1, 0, 0, 0, 1}, 0, 2}.F16().bits), 0x3C00u);
}

}  // namespace
}  // namespace bitanchor::matrix_unit
