#include "lib/recipe/schedule.h"

#include <array>

namespace bitanchor {
namespace {

// csrc/flash_attn/src/flash_fwd_launch_template.h of Dao-AILab/flash-attention, without dropout.
constexpr HeadDimTiles kSM80[] = {{64, {128, 128}, {128, 128}}, {128, {128, 64}, {128, 64}}};
constexpr HeadDimTiles kSM8x[] = {{64, {128, 128}, {128, 128}}, {128, {64, 64}, {128, 32}}};

Schedule FlashAttention2(std::string_view chip, std::string_view unit,
                         std::span<const HeadDimTiles> tiles, std::string_view where) {
  Schedule schedule;
  schedule.name = "flash-attention-2/" + std::string(chip);
  schedule.unit = unit;
  schedule.tiles = tiles;
  schedule.says = "FlashAttention-2's forward kernel on " + std::string(where) +
                  ", not its split-KV kernel, which is another schedule";
  schedule.source =
      "Dao-AILab/flash-attention: csrc/flash_attn/src/{flash_fwd_kernel.h, softmax.h, mask.h, "
      "flash_fwd_launch_template.h}, setup.py";
  return schedule;
}

const auto& Table() {
  static const std::array kSchedules = {
      FlashAttention2("sm80", "ampere", kSM80, "A100"),
      FlashAttention2("sm8x", "ampere", kSM8x, "sm_86 and sm_89, whose units have the same bits"),
      FlashAttention2("sm90-mma", "hopper", kSM80, "H100 and H200, by mma.sync"),
  };
  return kSchedules;
}

}  // namespace

std::optional<Tile> Schedule::TileOf(int64_t head_dim, bool causal) const {
  for (const HeadDimTiles& row : tiles) {
    if (row.head_dim == head_dim) return causal ? row.causal : row.full;
  }
  return std::nullopt;
}

std::span<const Schedule> Schedules() { return Table(); }

const Schedule* FindSchedule(std::string_view name) {
  for (const Schedule& schedule : Table()) {
    if (schedule.name == name) return &schedule;
  }
  return nullptr;
}

}  // namespace bitanchor
