// The definition's backward pass where documents share an anchor.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "lib/scalar/attention.h"
#include "tests/scalar/backward_bounds.h"

namespace bitanchor {
namespace {

using testing::Backward;
using testing::Element;
using testing::Exact;
using testing::ExpectSameRow;
using testing::Gradients;
using testing::kAnchor;
using testing::Make;
using testing::Owned;

// Tokens [from, to) of `packed`, behind its first `anchors`.
Owned Document(const Owned& packed, int64_t anchors, int64_t from, int64_t to) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = packed.problem().shape;
  (void)B, (void)Sq, (void)Skv;
  const int64_t S = anchors + to - from;
  Owned one = Make({1, S, S, Hq, Hkv, D}, packed.problem().dtype, kAnchor, 61);
  AttentionProblem& p = one.owned.problem;
  p.mask.k_ids.clear();
  for (int64_t s = 0; s < S; ++s) {
    const int64_t at = s < anchors ? s : from + s - anchors;
    p.mask.k_ids.push_back(packed.problem().mask.k_ids[at]);
    for (int64_t d = 0; d < D; ++d) {
      for (int64_t h = 0; h < Hq; ++h) {
        StoreRounded(p.dtype, one.owned.Element(one.owned.q, p.q, 0, s, h, d),
                     packed.problem().q.At(0, at, h, d));
        one.SetDout(0, s, h, d, packed.dout.At(0, at, h, d));
      }
      for (int64_t h = 0; h < Hkv; ++h) {
        StoreRounded(p.dtype, one.owned.Element(one.owned.k, p.k, 0, s, h, d),
                     packed.problem().k.At(0, at, h, d));
        StoreRounded(p.dtype, one.owned.Element(one.owned.v, p.v, 0, s, h, d),
                     packed.problem().v.At(0, at, h, d));
      }
    }
  }
  p.mask.q_ids = p.mask.k_ids;
  return one;
}

struct Packed {
  Owned made;
  std::vector<int64_t> starts;  // of the documents, and the end
};

Packed MakePacked(int64_t anchors, DType dtype, uint64_t seed) {
  const std::vector<int64_t> starts = {anchors, anchors + 5, anchors + 6, anchors + 13};
  const int64_t S = starts.back();
  Packed packed{Make({1, S, S, 4, 2, 6}, dtype, kAnchor, seed), starts};
  Mask& mask = packed.made.owned.problem.mask;
  mask.k_ids.assign(S, 0);
  for (size_t n = 0; n + 1 < starts.size(); ++n) {
    for (int64_t s = starts[n]; s < starts[n + 1]; ++s) mask.k_ids[s] = static_cast<int64_t>(n) + 1;
  }
  mask.q_ids = mask.k_ids;
  return packed;
}

void ClearDout(Owned& made, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; ++i) {
    for (int64_t h = 0; h < made.dout.shape[2]; ++h) {
      for (int64_t d = 0; d < made.dout.shape[3]; ++d) made.SetDout(0, i, h, d, 0.0f);
    }
  }
}

// A document packed with others behind an anchor has the gradients that it has alone with that
// anchor. The anchor's own are folds over all documents: with the others' dO at zero, which adds
// nothing to any fold, they have the bits of the one that is left.
TEST(ScalarBackwardDocuments, PackedDocumentsHaveTheGradientsThatTheyHaveAlone) {
  for (const int64_t anchors : {1, 3}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Packed packed = MakePacked(anchors, dtype, 71);
      const auto& starts = packed.starts;
      for (const AttentionRecipe& recipe : AttentionRecipes()) {
        const Gradients all = Backward(packed.made.problem(), recipe, packed.made.dout);
        for (size_t n = 0; n + 1 < starts.size(); ++n) {
          const Owned alone = Document(packed.made, anchors, starts[n], starts[n + 1]);
          const Gradients want = Backward(alone.problem(), recipe, alone.dout);
          const std::string name = std::string(recipe.name) + " document " + std::to_string(n);
          for (int64_t s = 0; s < alone.problem().shape.Sq; ++s) {
            const int64_t at = s < anchors ? s : starts[n] + s - anchors;
            for (int64_t h = 0; h < 4; ++h)
              ExpectSameRow(all.dq, at, h, want.dq, s, h, name + " dq");
            for (int64_t h = 0; h < 2 && s >= anchors; ++h) {
              ExpectSameRow(all.dk, at, h, want.dk, s, h, name + " dk");
              ExpectSameRow(all.dv, at, h, want.dv, s, h, name + " dv");
            }
          }
          Packed only = MakePacked(anchors, dtype, 71);
          ClearDout(only.made, anchors, starts[n]);
          ClearDout(only.made, starts[n + 1], starts.back());
          const Gradients got = Backward(only.made.problem(), recipe, only.made.dout);
          for (int64_t s = 0; s < anchors; ++s) {
            for (int64_t h = 0; h < 2; ++h) {
              ExpectSameRow(got.dk, s, h, want.dk, s, h, name + " anchor dk");
              ExpectSameRow(got.dv, s, h, want.dv, s, h, name + " anchor dv");
            }
          }
        }
      }
    }
  }
}

// And they are the sum over the documents, the anchor's own queries counted once. Either way is
// within Bounds of the true value, a sum of so many within the sum of theirs.
TEST(ScalarBackwardDocuments, TheAnchorsGradientsAreTheSumOverTheDocuments) {
  constexpr int64_t kAnchors = 2;
  const Packed packed = MakePacked(kAnchors, DType::kF32, 81);
  const auto& starts = packed.starts;
  const Gradients all = Backward(packed.made);
  const Exact::Bound bound = Exact(packed.made.problem(), packed.made.dout).Bounds();
  const size_t anchor_elements = kAnchors * 2 * 6;
  std::vector<double> dk(anchor_elements), dv(anchor_elements), dk_bound(anchor_elements),
      dv_bound(anchor_elements);
  for (size_t n = 0; n + 1 < starts.size(); ++n) {
    Owned alone = Document(packed.made, kAnchors, starts[n], starts[n + 1]);
    if (n > 0) ClearDout(alone, 0, kAnchors);
    const Gradients g = Backward(alone);
    const Exact::Bound part = Exact(alone.problem(), alone.dout).Bounds();
    for (size_t e = 0; e < anchor_elements; ++e) {
      dk[e] += Element(g.dk, e), dv[e] += Element(g.dv, e);
      dk_bound[e] += part.dk[e], dv_bound[e] += part.dv[e];
    }
  }
  for (size_t e = 0; e < anchor_elements; ++e) {
    EXPECT_NEAR(Element(all.dk, e), dk[e], bound.dk[e] + dk_bound[e]) << "dk " << e;
    EXPECT_NEAR(Element(all.dv, e), dv[e], bound.dv[e] + dv_bound[e]) << "dv " << e;
    EXPECT_LT(bound.dk[e] + dk_bound[e], 1e-3) << "tells nothing";
  }
}

}  // namespace
}  // namespace bitanchor
