// Mistakes that kernels make, or that users make in asking about one. Data: a new mistake costs a
// row here, and one of lib/exact/attention_mistakes.cc or tools/mistaken_rope.cc that says what a
// kernel with it would answer.
#ifndef BITANCHOR_LIB_RECIPE_MISTAKE_H_
#define BITANCHOR_LIB_RECIPE_MISTAKE_H_

#include <cstdint>
#include <span>
#include <string_view>

namespace bitanchor {

struct Mistake {
  std::string_view id;
  std::string_view says;  // what the kernel does, one line
  std::string_view fix;   // in the words of the frameworks that users call
  // It moves answers by roundings alone, so that right intervals admit nearly all of them.
  bool rounding = false;
  // Whoever made the capture named or ordered its tensors otherwise than they are; the kernel may
  // be right.
  bool of_capture = false;
};

// Simpler ones first: of two that explain an answer equally well, the one that stands first is
// meant. `unknown` is the last.
std::span<const Mistake> Mistakes();
const Mistake* FindMistake(std::string_view id);  // nullptr: no such mistake
int64_t MistakeRank(std::string_view id);         // its place; one past the last for others

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_MISTAKE_H_
