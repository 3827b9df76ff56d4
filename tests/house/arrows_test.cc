// Which folder may include which. The rules are a table; the test reads every #include line of
// lib/, simd/ and tools/ and says which arrows point the wrong way.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

// What each folder may include besides itself. Anything not listed is refused.
const std::map<std::string, Names>& Arrows() {
  static const Names kProblem = {"lib/number", "lib/tensor", "lib/problem"};
  static const Names kRecipe = {"lib/number", "lib/tensor", "lib/problem", "lib/recipe"};
  const auto with = [](Names names, const Names& more) {
    names.insert(more.begin(), more.end());
    return names;
  };
  static const std::map<std::string, Names> kArrows = {
      {"lib/number", {}},
      {"lib/tensor", {"lib/number"}},
      {"lib/problem", {"lib/number", "lib/tensor"}},
      {"lib/recipe", kProblem},
      {"lib/scalar", kRecipe},
      {"lib/exact", kRecipe},
      {"lib/drift", kRecipe},
      {"lib/matrix_unit", {"lib/number", "lib/tensor"}},
      // A schedule is computed on a unit's model.
      {"lib/replay", with(kRecipe, {"lib/matrix_unit"})},
      {"lib/verdict", kRecipe},
      // Reports are written from the verdict's plain results.
      {"lib/file", with(kRecipe, {"lib/verdict"})},
      // The tables of units, sequences and special functions are data that the two models of a
      // unit, or of a schedule, share, as they share the recipes.
      {"simd", with(kRecipe, {"lib/matrix_unit", "lib/replay"})},
      {"tools", with(kRecipe, {"lib/scalar", "lib/exact", "lib/drift", "lib/matrix_unit",
                               "lib/replay", "lib/verdict", "lib/file", "simd"})},
  };
  return kArrows;
}

// "lib/problem" for lib/problem/mask.h, "simd" and "tools" for anything below those.
std::string FolderOf(const std::string& path) {
  const size_t first = path.find('/');
  const std::string top = path.substr(0, first);
  if (top != "lib") return top;
  const size_t second = path.find('/', first + 1);
  return second == std::string::npos ? top : path.substr(0, second);
}

// Whether text starts with one of these.
bool StartsWith(const std::string& text, const Names& starts) {
  return std::any_of(starts.begin(), starts.end(), [&](const std::string& start) {
    return text.compare(0, start.size(), start) == 0;
  });
}

// Why `path` may not include `target`, or nothing.
std::string Objection(const std::string& path, const std::string& target, bool quoted) {
  const std::string folder = FolderOf(path);
  if (!Arrows().contains(folder)) return "a folder without a place in the order";
  if (target.find("..") != std::string::npos) return "a path that climbs";
  if (StartsWith(target, {"lib/", "simd/", "tools/", "tests/", "bench/"})) {
    const std::string other = FolderOf(target);
    if (other == folder || Arrows().at(folder).contains(other)) return "";
    return "an arrow the wrong way";
  }
  if (StartsWith(target, {"hwy/", "tbb/", "oneapi/"})) {
    return folder == "simd" ? "" : "Highway and oneTBB live in simd";
  }
  static const Names kNeverInLib = {"iostream", "thread", "future", "execution", "omp.h"};
  const bool in_lib = StartsWith(folder, {"lib/"});
  if (in_lib && (kNeverInLib.contains(target) || StartsWith(target, {"CLI/", "CLI11"}))) {
    return "lib prints nothing and has no threads";
  }
  static const Names kFiles = {"fstream", "filesystem"};
  if (in_lib && folder != "lib/file" && kFiles.contains(target)) return "no I/O outside lib/file";
  // Our own headers are named from the root; a relative name would slip past the table.
  if (quoted && !StartsWith(target, {"CLI/", "fmt/", "nlohmann/"}))
    return "a name not from the root";
  return "";
}

// What one line includes. Highway compiles a file again through a macro that names it.
struct Include {
  std::string target;
  bool quoted = false;
  bool readable = true;  // false: the name is a macro
};

std::optional<Include> ReadInclude(const std::string& line) {
  std::istringstream words(line);
  char hash = 0;
  std::string word;
  if (!(words >> hash >> word) || hash != '#') return std::nullopt;
  if (word == "define") {
    if (!(words >> word) || word != "HWY_TARGET_INCLUDE") return std::nullopt;
  } else if (!StartsWith(word, {"include"})) {
    return std::nullopt;
  }
  const size_t open = line.find_first_of("\"<");
  const size_t close = open == std::string::npos ? open : line.find_first_of("\">", open + 1);
  if (close == std::string::npos) return Include{line, false, false};
  return Include{line.substr(open + 1, close - open - 1), line[open] == '"'};
}

struct Scan {
  int files = 0;
  int includes = 0;
  std::vector<std::string> wrong;
};

// `path` is relative to the root of the sources.
void ScanText(const std::string& path, const std::string& text, Scan& scan) {
  ++scan.files;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::optional<Include> include = ReadInclude(line);
    if (!include) continue;
    ++scan.includes;
    std::string objection;
    if (include->readable) {
      objection = Objection(path, include->target, include->quoted);
    } else if (FolderOf(path) != "simd" || line.find("HWY_") == std::string::npos) {
      objection = "an #include that cannot be read off";
    }
    if (!objection.empty()) {
      scan.wrong.push_back(path + ":" + std::to_string(number) + ": " + line + ": " + objection);
    }
  }
}

Scan ScanFolder(const std::string& folder) {
  static const Names kSources = {".h", ".hh", ".hpp", ".inc", ".c", ".cc", ".cpp", ".cxx"};
  const fs::path root = BITANCHOR_SOURCE_DIR;
  Scan scan;
  if (!fs::is_directory(root / folder)) return scan;
  for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
    if (!entry.is_regular_file() || !kSources.contains(entry.path().extension().string())) continue;
    std::ostringstream text;
    text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    ScanText(entry.path().lexically_relative(root).generic_string(), text.str(), scan);
  }
  return scan;
}

class IncludeArrows : public testing::TestWithParam<const char*> {};

TEST_P(IncludeArrows, PointTheRightWay) {
  const Scan scan = ScanFolder(GetParam());
  EXPECT_GT(scan.files, 0) << "nothing was scanned under " << GetParam();
  EXPECT_GT(scan.includes, 0) << "no #include was found under " << GetParam();
  for (const std::string& wrong : scan.wrong) ADD_FAILURE() << wrong;
}

INSTANTIATE_TEST_SUITE_P(Folders, IncludeArrows, testing::Values("lib", "simd", "tools"),
                         [](const auto& folder) { return std::string(folder.param); });

bool Refused(const std::string& path, const std::string& line) {
  Scan scan;
  ScanText(path, "// a comment\n" + line + "\nint x;\n", scan);
  return scan.wrong.size() == 1;
}

// The checker itself: fed an arrow of each wrong kind it refuses, and the right ones it lets by.
TEST(ArrowsChecker, RefusesWrongArrows) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"lib/number/format.h", "#include \"lib/tensor/dtype.h\""},
      {"lib/tensor/dtype.h", "#include \"lib/problem/mask.h\""},
      {"lib/problem/mask.cc", "#include \"lib/recipe/contract.h\""},
      {"lib/recipe/contract.cc", "#include \"lib/scalar/attention.h\""},
      {"lib/scalar/rope.cc", "#include \"lib/exact/rope_interval.h\""},
      {"lib/exact/rope_interval.cc", "#include \"lib/scalar/rope.h\""},
      {"lib/exact/rope_interval.cc", "#include \"lib/matrix_unit/units.h\""},
      {"lib/drift/staged_rope.cc", "#include \"lib/scalar/rope.h\""},
      {"lib/drift/staged_rope.cc", "#include \"simd/parallel.h\""},
      {"lib/matrix_unit/dot_add.cc", "#include \"lib/recipe/contract.h\""},
      {"lib/verdict/census.cc", "#include \"lib/exact/rope_interval.h\""},
      {"lib/verdict/census.cc", "#include \"lib/scalar/attention.h\""},
      {"lib/verdict/census.cc", "#include \"simd/attention.h\""},
      {"lib/verdict/census.cc", "#include \"lib/file/safetensors.h\""},
      {"lib/file/report.cc", "#include \"simd/attention.h\""},
      {"lib/file/report.cc", "#include \"lib/scalar/attention.h\""},
      {"lib/file/report.cc", "#include \"lib/exact/rope_interval.h\""},
      {"simd/attention.cc", "#include \"lib/scalar/attention.h\""},
      {"simd/attention.cc", "  #  include <lib/exact/rope_interval.h>"},
      {"simd/attention.cc", "#define HWY_TARGET_INCLUDE \"lib/scalar/attention.cc\""},
      {"simd/attention.cc", "#include \"lib/file/safetensors.h\""},
      {"simd/attention.cc", "#include \"lib/verdict/census.h\""},
      {"simd/attention.cc", "#include \"tools/main.h\""},
      {"lib/scalar/rope.cc", "#include \"tests/problem/brute_force.h\""},
      {"lib/scalar/rope.cc", "#include \"hwy/highway.h\""},
      {"lib/scalar/rope.cc", "#include <tbb/parallel_for.h>"},
      {"tools/main.cc", "#include <oneapi/tbb/parallel_for.h>"},
      {"tools/main.cc", "#include \"hwy/highway.h\""},
      {"lib/file/report.cc", "#include <iostream>"},
      {"lib/file/report.cc", "#include <CLI/CLI.hpp>"},
      {"lib/scalar/rope.cc", "#include <thread>"},
      {"lib/verdict/census.cc", "#include <fstream>"},
      {"lib/scalar/rope.cc", "#include \"rope.h\""},
      {"lib/scalar/rope.cc", "#include \"lib/recipe/../exact/rope_interval.h\""},
      {"lib/scalar/rope.cc", "#include EXACT_HEADER"},
      {"simd/attention.cc", "#include EXACT_HEADER"},
      {"lib/scalar/rope.cc", "#include\"lib/exact/rope_interval.h\""},
      {"lib/new_folder/new.h", "#include <vector>"},
      {"lib/umbrella.h", "#include \"lib/number/format.h\""},
  };
  for (const auto& [path, line] : wrong) EXPECT_TRUE(Refused(path, line)) << path << ": " << line;
}

TEST(ArrowsChecker, LetsRightArrowsBy) {
  const std::vector<std::pair<std::string, std::string>> right = {
      {"lib/number/format.cc", "#include \"lib/number/format.h\""},
      {"lib/number/format.cc", "#include <bit>"},
      {"lib/scalar/rope.cc", "#include \"lib/recipe/rope_recipe.h\""},
      {"lib/exact/rope_interval.cc", "#include \"lib/number/format.h\""},
      {"lib/file/report.cc", "#include \"lib/verdict/census.h\""},
      {"lib/file/report.cc", "#include <fstream>"},
      {"lib/file/report.cc", "#include \"nlohmann/json.hpp\""},
      {"lib/verdict/census.cc", "#include \"lib/problem/mask.h\""},
      {"simd/attention.cc", "#include \"hwy/highway.h\""},
      {"simd/attention.cc", "#include HWY_TARGET_INCLUDE"},
      {"simd/attention.cc", "#define HWY_TARGET_INCLUDE \"simd/attention.cc\""},
      {"simd/attention.cc", "#include <tbb/parallel_for.h>"},
      {"tools/main.cc", "#include \"lib/scalar/attention.h\""},
      {"tools/main.cc", "#include \"simd/attention.h\""},
      {"tools/main.cc", "#include <CLI/CLI.hpp>"},
      {"tools/main.cc", "#include <iostream>"},
      {"lib/scalar/rope.cc", "// #include \"lib/exact/rope_interval.h\""},
  };
  for (const auto& [path, line] : right) EXPECT_FALSE(Refused(path, line)) << path << ": " << line;
}

}  // namespace
