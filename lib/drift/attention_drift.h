// How far attention moves when all positions are shifted: the quantities of "When Precision Meets
// Position" (arXiv 2411.13476), which are 0 in exact arithmetic because RoPE is relative.
//
// A_ij = (R_i q_i)^T (R_j k_j), positions counted from a shift; ATTN = softmax over the visible j
// of A_ij/sqrt(D). Of two shifts, with T tokens and n_j = 1/(T - j), j from 0:
//   D_abs    = sum_j n_j sum_i |ATTN_ij - ATTN'_ij|          the bars inside the sum over queries
//   D_signed = sum_j n_j |sum_i (ATTN_ij - ATTN'_ij)|        the bars outside
//   D_logit  = (1/T) sum_i |A_ij - A'_ij|                    of one key j, before softmax
//   D_attention = (1/T) sum_i |ATTN_ij - ATTN'_ij|           of one key j, after softmax
//   D_output = (1/T) sum_i ||o_i - o'_i||_2,  o_i = sum_j ATTN_ij v_j
// summed over layers and heads, averaged over the batch. Sums over i and j take visible pairs only.
#ifndef BITANCHOR_LIB_DRIFT_ATTENTION_DRIFT_H_
#define BITANCHOR_LIB_DRIFT_ATTENTION_DRIFT_H_

#include <cstdint>
#include <vector>

#include "lib/drift/row_kernels.h"
#include "lib/problem/mask.h"

namespace bitanchor::drift {

// One head's queries and keys rotated at one shift.
struct RotatedHead {
  std::vector<double> q;         // [T, D]
  const Panels* keys = nullptr;  // [D, T]
};

// Two of a HeadProblem's `rotated`.
struct ShiftPair {
  size_t one = 0, other = 0;
};

struct HeadProblem {
  int64_t T = 0, D = 0;
  const Mask* mask = nullptr;  // causal, Sq = Skv >= T
  int64_t b = 0;               // whose mask
  std::vector<RotatedHead> rotated;
  std::vector<ShiftPair> pairs;
  Panels v;  // [T, D]; empty: no D_output
  RowKernels kernels = PortableRowKernels();
};

// The sums over some queries of one head, for one pair of shifts; [Padded(T)] each.
struct QuerySums {
  explicit QuerySums(int64_t T)
      : attention_abs(static_cast<size_t>(Panels::Padded(T))),
        attention_signed(attention_abs),
        logit_abs(attention_abs) {}
  std::vector<double> attention_abs;     // sum_i |ATTN_ij - ATTN'_ij|
  std::vector<double> attention_signed;  // sum_i (ATTN_ij - ATTN'_ij)
  std::vector<double> logit_abs;         // sum_i |A_ij - A'_ij|
  double output = 0;                     // sum_i ||o_i - o'_i||

  // Adds the sums over other queries, all before key `keys`, and makes `more` 0 there.
  void Take(QuerySums& more, int64_t keys);
};

// Memory for AddQueries, one a thread.
struct RowScratch {
  std::vector<std::vector<double>> scores, weights;  // of each shift, [kRows, Padded(T)]
  std::vector<double> difference;                    // [kRows, Padded(T)]
  std::vector<double> output;                        // [kRows, Padded(D)]
  explicit RowScratch(const HeadProblem& head);
};

// Adds queries [begin, end) to sums, one a pair of shifts, i ascending. Needs round to nearest.
void AddQueries(const HeadProblem& head, int64_t begin, int64_t end, RowScratch& scratch,
                std::vector<QuerySums>& sums);

// The terms of one key, summed over layers and heads and averaged over the batch.
struct KeyDrift {
  double D_abs = 0, D_signed = 0;  // its terms of both sums
  double D_logit = 0, D_attention = 0;
};

struct Drift {
  double D_abs = 0, D_signed = 0, D_output = 0;
  std::vector<KeyDrift> keys;  // [T]

  // Adds a head whose sums are complete: over all queries of T tokens. batch: B.
  void AddHead(const QuerySums& sums, int64_t T, int64_t batch);
};

}  // namespace bitanchor::drift

#endif  // BITANCHOR_LIB_DRIFT_ATTENTION_DRIFT_H_
