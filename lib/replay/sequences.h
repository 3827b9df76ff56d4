// The sequences that a kernel for packed documents (cu_seqlens) is called with.
#ifndef BITANCHOR_LIB_REPLAY_SEQUENCES_H_
#define BITANCHOR_LIB_REPLAY_SEQUENCES_H_

#include <cstdint>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/schedule.h"

namespace bitanchor::replay {

// Tokens of one batch that attend to each other, in ascending order; causal within them where the
// problem is. Rule full: all. Rule document: those of one document. Rule anchor: those with id 0
// and those of one document, as a kernel sees it that is given each document with its own copy of
// the anchor; ids 0 alone are a sequence of their own.
struct Sequence {
  int64_t b = 0;
  std::vector<int64_t> queries, keys;  // the same but for rule full with Sq != Skv
  std::vector<bool> answers;           // [queries]: false of a copy of the anchor
  // The kernel's own: a batch of single queries is not causal to it (it sees every key anyway).
  bool causal = false;
  Tile tile;
  bool packed = false;  // called with cu_seqlens: every rule but full

  // How many keys query n (an index into queries) sees: the first ones.
  int64_t Visible(int64_t n) const;
  // How many tiles of keys the kernel goes through for query n: the first ones, in its order.
  int64_t Tiles(int64_t n) const;
  // How many of those, from the first that it goes through, it masks as causal ones.
  int64_t MaskedTiles() const;
};

// Whether the kernel is called as a causal one: not for one query, which sees every key anyway.
bool IsCausalCall(const AttentionProblem& problem);

// Every query of the problem is in exactly one sequence that answers for it. Sequences by batch,
// then by document id. Throws InputError naming the field that a schedule cannot have: a window;
// dtype F32; a head dimension without tiles; Sq != Skv with corner top-left and causal, or with
// rules document and anchor; documents of the queries that are not the keys'.
std::vector<Sequence> SequencesOf(const AttentionProblem& problem, const Schedule& schedule);

}  // namespace bitanchor::replay

#endif  // BITANCHOR_LIB_REPLAY_SEQUENCES_H_
