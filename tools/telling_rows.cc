#include "tools/telling_rows.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "lib/exact/attention_mistakes.h"

namespace bitanchor::tools {
namespace {

struct Token {
  int64_t b, i;
  bool operator<(const Token& other) const { return std::tie(b, i) < std::tie(other.b, other.i); }
};

// At most `most` queries, evenly.
std::set<Token> AllTokens(const AttentionProblem& problem, size_t most) {
  const int64_t Sq = problem.shape.Sq, tokens = problem.shape.B * Sq;
  const int64_t n = std::min(tokens, static_cast<int64_t>(most));
  std::set<Token> spread;
  for (int64_t k = 0; k < n; ++k) {
    const int64_t token = n > 1 ? k * (tokens - 1) / (n - 1) : 0;
    spread.insert({token / Sq, token % Sq});
  }
  return spread;
}

// At most `most` queries, a quarter each where there are so many.
std::set<Token> TellingTokens(const AttentionProblem& problem, size_t most) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  const int64_t off = problem.mask.Offset();
  std::vector<Token> edges, starts, ends;
  const auto add = [Sq = Sq](std::vector<Token>& to, int64_t b, int64_t i) {
    if (0 <= i && i < Sq) to.push_back({b, i});
  };
  for (int64_t b = 0; b < B; ++b) {
    for (const int64_t start : exact::DocumentStarts(problem.mask, b)) {
      for (const int64_t by : {0, 1}) add(starts, b, start - off + by);
      for (const int64_t by : {-2, -1}) add(ends, b, start - off + by);
    }
    for (int64_t at = exact::kBlockKeys; at < Skv; at += exact::kBlockKeys) {
      for (const int64_t by : {-1, 0}) add(edges, b, at - off + by);
    }
  }
  std::set<Token> tokens;
  for (const auto* list : {&starts, &ends, &edges}) {
    for (const Token& token : Evenly(*list, most / 4)) tokens.insert(token);
  }
  tokens.merge(AllTokens(problem, most - tokens.size()));
  return tokens;
}

// Heads by turns, until every token has had all of them.
std::vector<exact::RowPlace> WithHeads(const std::set<Token>& tokens, int64_t Hq, size_t most) {
  std::vector<exact::RowPlace> rows;
  for (int64_t turn = 0; turn < Hq; ++turn) {
    int64_t n = turn;
    for (const auto& [b, i] : tokens) {
      if (rows.size() == most) return rows;
      rows.push_back({b, n++ % Hq, i});
    }
  }
  return rows;
}

}  // namespace

std::vector<exact::RowPlace> TellingRows(const AttentionProblem& problem, size_t most) {
  return WithHeads(TellingTokens(problem, most), problem.shape.Hq, most);
}

std::vector<exact::RowPlace> SpreadRows(const AttentionProblem& problem, size_t most) {
  return WithHeads(AllTokens(problem, most), problem.shape.Hq, most);
}

}  // namespace bitanchor::tools
