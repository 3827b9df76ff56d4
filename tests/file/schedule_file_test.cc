// Schedules from JSON: every field arrives where it belongs, and what is not one is refused in a
// line that names it.
#include "lib/file/schedule_file.h"

#include <gtest/gtest.h>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

std::string With(const std::string& rest) {
  return R"({"name": "mine", "base": "flash-attention-2/sm80")" + rest + "}";
}

std::string RefusalOf(const std::string& text) {
  return Refusal([&] { ParseSchedule(text, "doc"); });
}

TEST(ScheduleFile, ABaseGivesWhatTheFileDoesNotSay) {
  const Schedule& base = *FindSchedule("flash-attention-2/sm80");
  const OwnedSchedule mine = ParseSchedule(With(""), "doc");
  const Schedule& s = mine.schedule;
  EXPECT_EQ(s.name, "mine");
  EXPECT_EQ(s.unit, base.unit);
  EXPECT_EQ(s.order, base.order);
  EXPECT_EQ(s.exp_argument, base.exp_argument);
  EXPECT_EQ(s.row_sum, base.row_sum);
  EXPECT_EQ(s.fused_row_sum, base.fused_row_sum);
  EXPECT_EQ(s.normalisation, base.normalisation);
  EXPECT_EQ(s.TileOf(128, true), base.TileOf(128, true));
}

TEST(ScheduleFile, EveryFieldArrives) {
  const OwnedSchedule parsed = ParseSchedule(
      With(
          R"(, "unit": "hopper", "tile": [64, 32], "order": "first-first", "exp_argument": "shifted",
              "row_sum": "ascending", "fused_row_sum": false, "normalisation": "division",
              "says": "what", "source": "where")"),
      "doc");
  OwnedSchedule moved;
  {
    OwnedSchedule inner = ParseSchedule(With(R"(, "tile": [48, 16])"), "doc");
    moved = std::move(inner);
  }
  EXPECT_EQ(moved.schedule.TileOf(64, false), (Tile{48, 16}));  // its memory moved with it
  const Schedule& s = parsed.schedule;
  EXPECT_EQ(s.unit, "hopper");
  EXPECT_EQ(s.TileOf(64, true), (Tile{64, 32}));
  EXPECT_EQ(s.TileOf(128, false), (Tile{64, 32}));
  EXPECT_EQ(s.TileOf(80, true), std::nullopt);
  EXPECT_EQ(s.order, TileOrder::kFirstFirst);
  EXPECT_EQ(s.exp_argument, ExpArgument::kShifted);
  EXPECT_EQ(s.row_sum, RowSum::kAscending);
  EXPECT_FALSE(s.fused_row_sum);
  EXPECT_EQ(s.normalisation, Normalisation::kDivision);
  EXPECT_EQ(s.says, "what");
  EXPECT_EQ(s.source, "where");
  EXPECT_EQ(Name(s.order), "first-first");
  EXPECT_EQ(Name(ExpArgument::kScaled), "scaled");
}

TEST(ScheduleFile, Refusals) {
  EXPECT_EQ(RefusalOf(With("")), "");
  EXPECT_EQ(RefusalOf(R"({"name": "mine"})").find("base: got none"), 0u);
  EXPECT_EQ(RefusalOf(R"({"base": "flash-attention-2/sm80"})").find("name: got none"), 0u);
  EXPECT_EQ(RefusalOf(R"({"name": "mine", "base": "textbook"})").find("base: got \"textbook\""),
            0u);
  EXPECT_EQ(RefusalOf(R"({"name": "flash-attention-2/sm80", "base": "flash-attention-2/sm80"})")
                .find("name: got"),
            0u);
  for (const char* tile : {"64", "[64]", "[64, 64, 64]", "[64, 0]", "[64, 24]", "[-16, 16]",
                           "[64, 2048]", "[64, 16.5]"}) {
    EXPECT_EQ(RefusalOf(With(std::string(R"(, "tile": )") + tile)).find("tile"), 0u) << tile;
  }
  EXPECT_EQ(RefusalOf(With(R"(, "order": "random")"))
                .find("order: got \"random\", want one of last-first, first-first"),
            0u);
  EXPECT_EQ(RefusalOf(With(R"(, "fused_row_sum": 1)")).find("fused_row_sum: got 1"), 0u);
  EXPECT_EQ(RefusalOf(With(R"(, "tiles": [64, 64])")).find("tiles: got a key of this name"), 0u);
  for (const char* text : {"", "3", "[]", "{"}) {
    EXPECT_EQ(RefusalOf(text).find("doc: got"), 0u) << text;
  }
}

}  // namespace
}  // namespace bitanchor::test
