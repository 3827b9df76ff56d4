#include "lib/file/flex_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <span>

#include "lib/file/safetensors.h"
#include "lib/problem/block_map.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

constexpr int64_t kMostBlocks = int64_t{1} << 26;
constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();

// Adds one batch: each row's columns that are `in`, then those that are not.
void Append(FlexBlockList& list, int64_t rows, int64_t columns,
            const std::function<bool(int64_t row, int64_t column)>& in) {
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int32_t> others;
    const size_t begin = list.indices.size();
    for (int64_t c = 0; c < columns; ++c) {
      (in(r, c) ? list.indices : others).push_back(static_cast<int32_t>(c));
    }
    list.num_blocks.push_back(static_cast<int32_t>(list.indices.size() - begin));
    list.indices.insert(list.indices.end(), others.begin(), others.end());
  }
}

// PyTorch's kind of a block: the pairs beyond either end count as masked.
BlockKind PaddedKind(const FlexBlockMask& blocks, const BlockMap& map, int64_t q, int64_t k) {
  const bool ragged = (q + 1) * blocks.block_q > blocks.Sq || (k + 1) * blocks.block_k > blocks.Skv;
  const BlockKind kind = map.At(q, k);
  return ragged && kind == BlockKind::kFull ? BlockKind::kPartial : kind;
}

void CheckSizes(const Mask& mask, int64_t block_q, int64_t block_k) {
  for (const int64_t size : {mask.Sq, mask.Skv, block_q, block_k}) {
    if (size > kMostTokens) {
      throw InputError("block mask", fmt::format("a size of {}", size), "at most 2^31 - 1");
    }
  }
  const int64_t rows = (mask.Sq - 1) / block_q + 1, columns = (mask.Skv - 1) / block_k + 1;
  if (columns > kMostBlocks / rows || rows * columns > kMostBlocks / mask.B) {
    throw InputError("block mask", fmt::format("{} x {} x {} blocks", mask.B, rows, columns),
                     "at most 2^26: larger ones");
  }
}

}  // namespace

FlexBlockMask MakeFlexBlockMask(const Mask& mask, int64_t block_q, int64_t block_k) {
  CheckSizes(mask, block_q, block_k);
  FlexBlockMask blocks{mask.B, mask.Sq, mask.Skv, block_q, block_k, 0, 0, {}, {}, {}, {}};
  for (int64_t b = 0; b < mask.B; ++b) {
    const BlockMap map = MapBlocks(mask, b, block_q, block_k);
    const int64_t Mq = blocks.query_blocks = map.query_blocks;
    const int64_t Mk = blocks.key_blocks = map.key_blocks;
    const auto along = [&](BlockKind kind) {
      return [&, kind](int64_t q, int64_t k) { return PaddedKind(blocks, map, q, k) == kind; };
    };
    const auto down = [&](BlockKind kind) {
      return [&, kind](int64_t k, int64_t q) { return PaddedKind(blocks, map, q, k) == kind; };
    };
    Append(blocks.kv, Mq, Mk, along(BlockKind::kPartial));
    Append(blocks.full_kv, Mq, Mk, along(BlockKind::kFull));
    Append(blocks.q, Mk, Mq, down(BlockKind::kPartial));
    Append(blocks.full_q, Mk, Mq, down(BlockKind::kFull));
  }
  return blocks;
}

std::vector<OutTensor> BlockMaskTensors(const FlexBlockMask& blocks) {
  std::vector<OutTensor> tensors;
  const auto add = [&](const std::string& name, const FlexBlockList& list, int64_t rows,
                       int64_t columns) {
    tensors.push_back({name + "_num_blocks",
                       DType::kI32,
                       {blocks.B, 1, rows},
                       std::as_bytes(std::span(list.num_blocks))});
    tensors.push_back({name + "_indices",
                       DType::kI32,
                       {blocks.B, 1, rows, columns},
                       std::as_bytes(std::span(list.indices))});
  };
  add("kv", blocks.kv, blocks.query_blocks, blocks.key_blocks);
  add("full_kv", blocks.full_kv, blocks.query_blocks, blocks.key_blocks);
  add("q", blocks.q, blocks.key_blocks, blocks.query_blocks);
  add("full_q", blocks.full_q, blocks.key_blocks, blocks.query_blocks);
  return tensors;
}

StringMap BlockMaskMetadata(const FlexBlockMask& blocks, const Mask& mask) {
  return {{"BLOCK_SIZE", fmt::format("[{}, {}]", blocks.block_q, blocks.block_k)},
          {"seq_lengths", fmt::format("[{}, {}]", blocks.Sq, blocks.Skv)},
          {"mask", InWords(mask)}};
}

void WriteFlexBlockMask(const std::string& path, const FlexBlockMask& blocks, const Mask& mask) {
  WriteSafetensors(path, BlockMaskTensors(blocks), BlockMaskMetadata(blocks, mask));
}

}  // namespace bitanchor
