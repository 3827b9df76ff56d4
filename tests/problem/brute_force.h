// What the mask tests compare against: visible keys as explicit sets, built document by document
// from the prose of the definition, and masks drawn at random to compare on.
#ifndef BITANCHOR_TESTS_PROBLEM_BRUTE_FORCE_H_
#define BITANCHOR_TESTS_PROBLEM_BRUTE_FORCE_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "lib/problem/mask.h"

namespace bitanchor::test {

// The keys that query i of batch b sees, as a set. It starts from whole documents and takes keys
// away.
inline std::set<int64_t> KeysSeen(const Mask& mask, int64_t b, int64_t i) {
  std::map<int64_t, std::set<int64_t>> documents;
  for (int64_t j = 0; j < mask.Skv; ++j) {
    const bool ids = mask.spec.rule != MaskRule::kFull;
    documents[ids ? mask.k_ids.at(b * mask.Skv + j) : 0].insert(j);
  }
  const int64_t own = mask.spec.rule == MaskRule::kFull ? 0 : mask.q_ids.at(b * mask.Sq + i);
  std::set<int64_t> seen = documents[own];
  if (mask.spec.rule == MaskRule::kAnchor) seen.merge(documents[0]);
  // With bottom-right, the last query stands at the last key.
  const int64_t here = mask.spec.corner == Corner::kBottomRight ? mask.Skv - (mask.Sq - i) : i;
  if (mask.spec.causal) seen.erase(seen.upper_bound(here), seen.end());
  if (mask.spec.window_keys) {
    // The window is the last `window_keys` keys up to and with the query's own.
    const int64_t first = here - std::min(*mask.spec.window_keys, mask.Sq + mask.Skv) + 1;
    seen.erase(seen.begin(), seen.lower_bound(first));
  }
  return seen;
}

inline int64_t Pick(std::mt19937_64& random, int64_t least, int64_t most) {
  return least + static_cast<int64_t>(random() % static_cast<uint64_t>(most - least + 1));
}

// Ids of [S]: documents in order, in order from a middle one on, or interleaved token by token;
// then anchors (id 0) at the start, in the middle, everywhere or nowhere.
inline std::vector<int64_t> RandomIds(std::mt19937_64& random, int64_t S) {
  std::vector<int64_t> ids;
  const int64_t documents = Pick(random, 1, 6);
  const int64_t style = Pick(random, 0, 2);
  int64_t id = style == 1 ? Pick(random, 1, documents) : 1;
  for (int64_t s = 0; s < S; ++s) {
    if (style == 2) id = Pick(random, 1, documents);
    if (style != 2 && Pick(random, 0, std::max<int64_t>(S / documents, 1)) == 0) ++id;
    ids.push_back(id);
  }
  const int64_t anchors = Pick(random, 0, 3);
  if (anchors == 0) ids[0] = 0;
  for (int64_t n = 0; anchors == 1 && n < 3; ++n) ids[Pick(random, 0, S - 1)] = 0;
  for (int64_t s = 0; anchors == 2 && s < S; ++s) ids[s] = Pick(random, 0, 1) * ids[s];
  return ids;
}

inline Mask RandomMask(std::mt19937_64& random, int64_t most_tokens) {
  Mask mask;
  mask.B = Pick(random, 1, 2);
  mask.Sq = Pick(random, 1, most_tokens);
  mask.Skv = Pick(random, 0, 1) ? mask.Sq : Pick(random, 1, most_tokens);
  mask.spec.rule = static_cast<MaskRule>(Pick(random, 0, 2));
  mask.spec.causal = Pick(random, 0, 3) != 0;
  mask.spec.corner = static_cast<Corner>(Pick(random, 0, 1));
  const int64_t S = mask.Skv;
  const std::vector<int64_t> windows = {1, 2, 5, std::max<int64_t>(S / 2, 1), S, S + 3, INT64_MAX};
  const size_t n = random() % (2 * windows.size());
  if (n < windows.size()) mask.spec.window_keys = windows[n];
  for (int64_t b = 0; b < mask.B && mask.spec.rule != MaskRule::kFull; ++b) {
    const std::vector<int64_t> keys = RandomIds(random, mask.Skv);
    // Self-attention's queries are the keys; otherwise they are a sequence of their own.
    const std::vector<int64_t> queries = mask.Sq == mask.Skv ? keys : RandomIds(random, mask.Sq);
    mask.k_ids.insert(mask.k_ids.end(), keys.begin(), keys.end());
    mask.q_ids.insert(mask.q_ids.end(), queries.begin(), queries.end());
  }
  return mask;
}

// What it takes to see a failing mask again, beside the seed.
inline std::string Describe(const Mask& mask) {
  std::string text = std::string(Name(mask.spec.rule)) + (mask.spec.causal ? " causal " : " ") +
                     std::string(Name(mask.spec.corner)) + " B=" + std::to_string(mask.B) +
                     " Sq=" + std::to_string(mask.Sq) + " Skv=" + std::to_string(mask.Skv);
  if (mask.spec.window_keys) text += " window_keys=" + std::to_string(*mask.spec.window_keys);
  return text;
}

}  // namespace bitanchor::test

#endif  // BITANCHOR_TESTS_PROBLEM_BRUTE_FORCE_H_
