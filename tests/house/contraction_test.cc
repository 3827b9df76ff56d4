// Fails when a*b+c may become an FMA, or when fast-math comes back. Every recipe counts on one
// rounding an operation; a compiler that contracts changes bits without a word, g++ by default.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

// x86-64's baseline has no FMA instruction, so contraction could not show there: these functions,
// and only these, may use one. AArch64 has it always.
#if defined(__x86_64__)
#define BITANCHOR_WITH_FMA __attribute__((noinline, target("fma")))
#else
#define BITANCHOR_WITH_FMA __attribute__((noinline))
#endif

namespace {

template <typename T>
struct Kernels {
  BITANCHOR_WITH_FMA static T MulAdd(T a, T b, T c) { return a * b + c; }
  BITANCHOR_WITH_FMA static T MulSub(T a, T b, T c) { return a * b - c; }
  BITANCHOR_WITH_FMA static T NegMulAdd(T a, T b, T c) { return c - a * b; }
  // A rotation, and a fold: the shapes in which the library writes them.
  BITANCHOR_WITH_FMA static T Rotate(T x1, T x2, T c, T s) { return x1 * c - x2 * s; }
  BITANCHOR_WITH_FMA static void Fold(const T* a, const T* b, T* sums) {
    for (int n = 0; n < 16; ++n) sums[n] += a[n] * b[n];
  }
};

bool HaveFma() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

// Hides a value from the optimiser, which would otherwise evaluate the kernels itself, and exactly.
template <typename T>
T Runtime(T value) {
  volatile T hidden = value;
  return hidden;
}

// a = 1 + 2^-h, with a*a = 1 + 2^(1-h) + 2^(-2h) whose last term the format cannot hold (nor does
// it round up): unfused a*a - (1 + 2^(1-h)) is 0, fused it is 2^(-2h). h = 12 for f32, where the
// term is half a unit in the last place and the even neighbour is below, and 27 for f64.
template <typename T>
void ExpectUnfused(int h) {
  if (!HaveFma()) GTEST_SKIP() << "this CPU has no FMA, so contraction cannot show";
  const T a = Runtime<T>(1 + std::ldexp(T{1}, -h));
  const T c = Runtime<T>(1 + std::ldexp(T{1}, 1 - h));
  const T left = std::ldexp(T{1}, -2 * h);
  ASSERT_EQ(std::fma(a, a, -c), left) << "the values would not tell fused from unfused";
  EXPECT_EQ(Kernels<T>::MulAdd(a, a, -c), T{0}) << "a*b+c was contracted";
  EXPECT_EQ(Kernels<T>::MulSub(a, a, c), T{0}) << "a*b-c was contracted";
  EXPECT_EQ(Kernels<T>::NegMulAdd(a, a, c), T{0}) << "c-a*b was contracted";
  // Fusing either product leaves +-2^(-2h), since both are a*a.
  EXPECT_EQ(Kernels<T>::Rotate(a, a, a, a), T{0}) << "x1*c-x2*s was contracted";
  const std::vector<T> as(16, a);
  std::vector<T> sums(16, -c);
  Kernels<T>::Fold(as.data(), as.data(), sums.data());
  for (const T sum : sums) EXPECT_EQ(sum, T{0}) << "a fold was contracted";
}

TEST(Contraction, F32IsUnfused) { ExpectUnfused<float>(12); }
TEST(Contraction, F64IsUnfused) { ExpectUnfused<double>(27); }

TEST(Contraction, NoFastMathHere) {
#if defined(__FAST_MATH__)
  ADD_FAILURE() << "__FAST_MATH__ is defined";
#endif
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0
  ADD_FAILURE() << "__FINITE_MATH_ONLY__ is set";
#endif
  static_assert(FLT_EVAL_METHOD == 0, "operations in a wider format round twice");
  // A sum that reassociation would cancel, a zero whose sign it would drop.
  const double big = Runtime(1e300);
  const double small = Runtime(1.0);
  EXPECT_EQ((small + big) - big, 0.0);
  EXPECT_TRUE(std::signbit(Runtime(-0.0) * small));
}

namespace fs = std::filesystem;

std::vector<std::string> Words(const std::string& command) {
  std::istringstream stream(command);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// What is wrong with a compiler's command line, or nothing. The last option of a kind counts.
std::string WrongFlags(const std::vector<std::string>& words) {
  static const std::set<std::string> kNever = {"-Ofast",
                                               "-ffast-math",
                                               "-funsafe-math-optimizations",
                                               "-fassociative-math",
                                               "-freciprocal-math",
                                               "-ffinite-math-only",
                                               "-fno-signed-zeros",
                                               "-mfpmath=387"};
  std::string contract = "no -ffp-contract";
  for (const std::string& word : words) {
    if (kNever.contains(word)) return word;
    if (word.rfind("-ffp-contract", 0) == 0) contract = word;
  }
  return contract == "-ffp-contract=off" ? "" : contract;
}

TEST(Contraction, FlagCheckerRefuses) {
  EXPECT_EQ(WrongFlags(Words("g++ -O3 -ffp-contract=off -fno-fast-math -c a.cc")), "");
  EXPECT_EQ(WrongFlags(Words("g++ -O3 -c a.cc")), "no -ffp-contract");
  EXPECT_EQ(WrongFlags(Words("g++ -ffp-contract=off -ffp-contract=fast a.cc")),
            "-ffp-contract=fast");
  EXPECT_EQ(WrongFlags(Words("g++ -ffp-contract=off -ffast-math a.cc")), "-ffast-math");
  EXPECT_EQ(WrongFlags(Words("g++ -Ofast -ffp-contract=off a.cc")), "-Ofast");
}

// Every source of the three folders is compiled with the right flags, and every one of them was
// seen.
TEST(Contraction, EveryTranslationUnitIsCompiledStrictly) {
  const fs::path root = fs::path(BITANCHOR_SOURCE_DIR).lexically_normal();
  const fs::path list = fs::path(BITANCHOR_BUILD_DIR) / "compile_commands.json";
  std::ifstream file(list);
  ASSERT_TRUE(file.is_open()) << list << " cannot be read";
  const nlohmann::json entries = nlohmann::json::parse(file);
  std::set<std::string> seen;
  for (const auto& entry : entries) {
    const fs::path source = fs::path(entry.at("directory").get<std::string>()) /
                            fs::path(entry.at("file").get<std::string>());
    const std::string name = source.lexically_normal().lexically_relative(root).generic_string();
    const std::string top = name.substr(0, name.find('/'));
    if (top != "lib" && top != "simd" && top != "tools") continue;
    seen.insert(name);
    const auto words = entry.contains("arguments")
                           ? entry.at("arguments").get<std::vector<std::string>>()
                           : Words(entry.at("command").get<std::string>());
    EXPECT_EQ(WrongFlags(words), "") << name;
  }
  size_t sources = 0;
  for (const char* folder : {"lib", "simd", "tools"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.path().extension() != ".cc") continue;
      ++sources;
      const std::string name = entry.path().lexically_relative(root).generic_string();
      EXPECT_TRUE(seen.contains(name)) << name << " is not in " << list;
    }
  }
  EXPECT_GT(sources, 0u) << "no source was found under " << root;
}

}  // namespace
