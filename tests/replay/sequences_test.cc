// Sequences against the mask itself, and what schedules refuse.
#include "lib/replay/sequences.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/problem/input_error.h"
#include "tests/support/random_problem.h"

namespace {

using bitanchor::AttentionProblem;
using bitanchor::AttentionShape;
using bitanchor::Corner;
using bitanchor::DType;
using bitanchor::FindSchedule;
using bitanchor::MaskRule;
using bitanchor::MaskSpec;
using bitanchor::Schedule;
using bitanchor::Schedules;
using bitanchor::Tile;
using bitanchor::replay::Sequence;
using bitanchor::replay::SequencesOf;
using bitanchor::test::ExpectInputError;
using bitanchor::testing::MakeProblem;
using bitanchor::testing::OwnedProblem;
using bitanchor::testing::Values;

const Schedule& SM80() { return *FindSchedule("flash-attention-2/sm80"); }

OwnedProblem Make(const AttentionShape& shape, const MaskSpec& mask, DType dtype = DType::kBF16) {
  return MakeProblem(shape, dtype, mask, Values::kInteger, 3);
}

// What a query sees through its sequence is what the mask lets it see, each query once.
TEST(SequencesTest, SeeWhatTheMaskShows) {
  const MaskSpec masks[] = {{MaskRule::kFull, true},     {MaskRule::kFull, false},
                            {MaskRule::kDocument, true}, {MaskRule::kDocument, false},
                            {MaskRule::kAnchor, true},   {MaskRule::kAnchor, false}};
  for (const MaskSpec& mask : masks) {
    for (const int64_t S : {1, 2, 40, 300}) {
      OwnedProblem owned = Make({2, S, S, 1, 1, 64}, mask);
      AttentionProblem& p = owned.problem;
      for (size_t n = 0; n < p.mask.k_ids.size(); ++n) {  // documents interleaved, anchors anywhere
        p.mask.k_ids[n] = p.mask.q_ids[n] = static_cast<int64_t>(n * n % 7 % 4);
      }
      std::set<std::pair<int64_t, int64_t>> answered;
      for (const Sequence& sequence : SequencesOf(p, SM80())) {
        ASSERT_EQ(sequence.answers.size(), sequence.queries.size());
        for (size_t n = 0; n < sequence.queries.size(); ++n) {
          if (!sequence.answers[n]) continue;
          const int64_t i = sequence.queries[n], b = sequence.b;
          EXPECT_TRUE(answered.insert({b, i}).second);
          std::vector<int64_t> want;
          for (int64_t j = 0; j < S; ++j) {
            if (p.mask.Visible(b, i, j)) want.push_back(j);
          }
          const auto visible = sequence.Visible(static_cast<int64_t>(n));
          const std::vector<int64_t> got(sequence.keys.begin(), sequence.keys.begin() + visible);
          EXPECT_EQ(got, want) << Name(mask.rule) << " " << mask.causal << " " << b << " " << i;
          const int64_t tiles = sequence.Tiles(static_cast<int64_t>(n));
          EXPECT_GE(tiles * sequence.tile.keys, visible);
        }
      }
      EXPECT_EQ(answered.size(), static_cast<size_t>(2 * S));
    }
  }
}

TEST(SequencesTest, HangTheDiagonalAtTheBottomRight) {
  const MaskSpec mask{MaskRule::kFull, true, std::nullopt, Corner::kBottomRight};
  for (const auto& [Sq, Skv] : std::map<int64_t, int64_t>{{5, 300}, {300, 5}, {300, 290}, {1, 9}}) {
    const OwnedProblem owned = Make({1, Sq, Skv, 1, 1, 128}, mask);
    const std::vector<Sequence> sequences = SequencesOf(owned.problem, SM80());
    ASSERT_EQ(sequences.size(), 1u);
    EXPECT_EQ(sequences[0].causal, Sq > 1);
    for (int64_t i = 0; i < Sq; ++i) {
      int64_t want = 0;
      for (int64_t j = 0; j < Skv; ++j) want += owned.problem.mask.Visible(0, i, j);
      EXPECT_EQ(sequences[0].Visible(i), want);
    }
  }
}

// By hand: 300 queries in tiles of 128, 300 keys in tiles of 64.
TEST(SequencesTest, VisitTilesUpToTheLastQueryOfATile) {
  const OwnedProblem owned = Make({1, 300, 300, 1, 1, 128}, {MaskRule::kFull, true});
  const Sequence ragged = SequencesOf(owned.problem, SM80())[0];
  EXPECT_EQ(ragged.Tiles(0), 2);
  EXPECT_EQ(ragged.Tiles(127), 2);
  EXPECT_EQ(ragged.Tiles(128), 4);
  EXPECT_EQ(ragged.Tiles(299), 5);
  EXPECT_EQ(ragged.MaskedTiles(), 3);
  const OwnedProblem whole = Make({1, 256, 256, 1, 1, 128}, {MaskRule::kFull, true});
  EXPECT_EQ(SequencesOf(whole.problem, SM80())[0].MaskedTiles(), 2);
  OwnedProblem packed = Make({1, 256, 256, 1, 1, 128}, {MaskRule::kDocument, true});
  packed.problem.mask.q_ids.assign(256, 5);  // one document
  packed.problem.mask.k_ids.assign(256, 5);
  EXPECT_EQ(SequencesOf(packed.problem, SM80())[0].MaskedTiles(), 3);
  const OwnedProblem full = Make({1, 256, 256, 1, 1, 128}, {MaskRule::kFull, false});
  EXPECT_EQ(SequencesOf(full.problem, SM80())[0].MaskedTiles(), 0);
  EXPECT_EQ(SequencesOf(full.problem, SM80())[0].Tiles(0), 4);
}

TEST(SequencesTest, RefuseWhatTheKernelsHaveNot) {
  const auto refuse = [](const OwnedProblem& owned, const std::string& field,
                         const std::string& got, const std::string& want) {
    ExpectInputError([&] { SequencesOf(owned.problem, SM80()); }, field, got, want);
  };
  const std::string name = "flash-attention-2/sm80";
  refuse(Make({1, 4, 4, 1, 1, 64}, {MaskRule::kFull, true, 3}), "mask.window_keys", "3",
         "no window: " + name + " has none");
  refuse(Make({1, 4, 4, 1, 1, 64}, {}, DType::kF32), "q", "dtype F32",
         "BF16 or F16, which " + name + " takes");
  refuse(Make({1, 4, 4, 1, 1, 96}, {}), "q", "head dimension 96",
         "64 or 128, which " + name + " has tiles for");
  refuse(Make({1, 4, 5, 1, 1, 64}, {MaskRule::kFull, true}), "mask.corner",
         "top-left with Sq 4, Skv 5", "bottom-right, where " + name + " hangs the diagonal");
  refuse(Make({1, 4, 5, 1, 1, 64}, {MaskRule::kAnchor, false}), "k", "Sq 4, Skv 5",
         "as many keys as queries under rule anchor for " + name);
  OwnedProblem other = Make({1, 4, 4, 1, 1, 64}, {MaskRule::kDocument, true});
  other.problem.mask.q_ids[0] = 77;
  refuse(other, "q_document_ids", "other ids than k_document_ids",
         "the same: " + name + " packs whole documents");
}

TEST(ScheduleTest, TableIsWhatTheLaunchTemplateSays) {
  EXPECT_EQ(Schedules().size(), 3u);
  for (const Schedule& schedule : Schedules()) {
    EXPECT_EQ(FindSchedule(schedule.name), &schedule);
    EXPECT_EQ(schedule.TileOf(64, true), (Tile{128, 128}));
    EXPECT_EQ(schedule.TileOf(96, true), std::nullopt);
  }
  EXPECT_EQ(FindSchedule("flash-attention-2"), nullptr);
  EXPECT_EQ(SM80().TileOf(128, false), (Tile{128, 64}));
  const Schedule& sm8x = *FindSchedule("flash-attention-2/sm8x");
  EXPECT_EQ(sm8x.TileOf(128, true), (Tile{64, 64}));
  EXPECT_EQ(sm8x.TileOf(128, false), (Tile{128, 32}));
  EXPECT_EQ(FindSchedule("flash-attention-2/sm90-mma")->unit, "hopper");
}

}  // namespace
