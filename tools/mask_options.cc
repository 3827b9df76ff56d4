#include "tools/mask_options.h"

#include <fmt/format.h>

#include <numeric>
#include <vector>

#include "lib/file/printable.h"
#include "lib/tensor/error.h"

namespace bitanchor::tools {
namespace {

// Ids take 8 bytes a token; a file may have more.
constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kMostBlocks = int64_t{1} << 26;  // of one map

void CheckTokens(const std::string& option, const std::vector<int64_t>& numbers) {
  int64_t sum = 0;
  for (const int64_t number : numbers) {
    if (number > kMostTokens || (sum += number) > 2 * kMostTokens) {
      throw InputError(option, "more than 2^24 tokens", "at most 2^24");
    }
  }
}

}  // namespace

void MaskOptions::AddTo(CLI::App& app) {
  problem.AddMaskTo(app);
  app.add_option("--lengths", lengths,
                 "Sq,Skv, or one number for both (default: the sum of the documents)");
}

Mask MaskOptions::Make() const {
  ProblemSpec spec;
  if (!problem.documents.empty()) {
    spec.documents = Numbers("--documents", problem.documents);
    CheckTokens("--documents", spec.documents);
  }
  std::vector<int64_t> sizes;
  if (!lengths.empty()) {
    sizes = Numbers("--lengths", lengths);
    CheckTokens("--lengths", sizes);
    if (sizes.size() > 2) throw InputError("--lengths", Quoted(lengths), "Sq,Skv");
  } else if (!spec.documents.empty()) {
    sizes = {std::accumulate(spec.documents.begin(), spec.documents.end(), int64_t{0})};
  } else {
    throw InputError("mask", "neither a file nor --documents nor --lengths", "one of them");
  }
  spec.shape = {1, sizes.front(), sizes.back(), 1, 1, 1};
  spec.mask = problem.MaskRules();
  spec.softmax_scale = 1;
  return WithoutTensors(spec).mask;
}

void CheckBlockCount(int64_t Sq, int64_t Skv, int64_t block_q, int64_t block_k) {
  const int64_t rows = (Sq - 1) / block_q + 1, columns = (Skv - 1) / block_k + 1;
  if (columns > kMostBlocks / rows) {
    throw InputError("--block-q, --block-k", fmt::format("{} x {} blocks", rows, columns),
                     "at most 2^26: larger ones");
  }
}

}  // namespace bitanchor::tools
