#include "lib/recipe/mistake.h"

namespace bitanchor {
namespace {

constexpr Mistake kMistakes[] = {
    {"zeros", "every answer is zero",
     "the output was never written: check the launch grid, early exits and the pointer that is "
     "returned"},
    {"not-finite", "NaN or Inf where a number belongs",
     "subtract the row's maximum before exp; where a row sees no key, write 0 and LSE -inf instead "
     "of dividing 0 by 0"},

    {"layout-misread", "the tensors lie in another layout than the capture says",
     "set \"layout\" in the capture's metadata: torch SDPA and FlexAttention use bhsd, flash-attn "
     "uses bshd",
     false, true},
    {"dtype-misread", "o holds the bits of another 16-bit type than it is labelled with",
     "label o with the type that the kernel stores: torch.bfloat16 and torch.float16 have the same "
     "size, view() does not convert",
     false, true},
    {"queries-keys-swapped", "the capture's q and k are exchanged",
     "swap the tensors q and k in the capture, or in the kernel's argument list", false, true},
    {"keys-values-swapped", "keys are used as values and values as keys",
     "swap k and v in the call: scaled_dot_product_attention(q, k, v), flash_attn_func(q, k, v)"},
    {"lse-base", "LSE in another base than the capture says",
     "flash-attn and FlexAttention return natural logarithms, FlashInfer log2: set lse.base in the "
     "capture, or multiply by ln 2"},
    {"lse-unscaled", "LSE scaled by softmax_scale, or not, unlike the capture says",
     "take the logarithm of the sum of exp(softmax_scale q.k), or set lse.scaled in the capture"},
    {"lse-empty", "rows that see no key have another LSE than the capture says",
     "flash-attn 2 writes +inf, flash-attn 3 and FlexAttention -inf: set lse.empty in the capture"},

    {"causal-ignored", "queries see keys after them",
     "pass causal=True (flash-attn), is_causal=True (SDPA), or q_idx >= kv_idx in FlexAttention's "
     "mask_mod"},
    {"causal-applied", "queries do not see keys after them, though nothing forbids it",
     "pass causal=False (flash-attn), is_causal=False (SDPA), or drop q_idx >= kv_idx from "
     "FlexAttention's mask_mod"},
    {"causal-shifted", "the causal diagonal is off by one",
     "query i sees keys up to and with i: q_idx >= kv_idx in FlexAttention's mask_mod, not > and "
     "not + 1"},
    {"corner-swapped", "the causal diagonal and the window hang at the other corner",
     "Sq differs from Skv: flash-attn aligns bottom-right, torch SDPA's is_causal top-left "
     "(torch.nn.attention.bias.causal_lower_right); set mask.corner to what is meant"},
    {"anchor-dropped", "documents do not see the anchor",
     "add `| (document_id[kv_idx] == 0)` to FlexAttention's mask_mod, and keep the anchor's block "
     "in the BlockMask; with cu_seqlens give each document its copy of the anchor"},
    {"window-ignored", "the window is not applied",
     "pass window_size=(window_keys - 1, 0) to flash-attn, or q_idx - kv_idx < window_keys in "
     "FlexAttention's mask_mod"},
    {"window-applied", "a window limits the keys, though the problem has none",
     "pass window_size=(-1, -1) to flash-attn; check sliding_window in the model's config"},
    {"window-shifted", "the window is off by one key",
     "flash-attn's window_size=(l, 0) means l + 1 keys, as does q_idx - kv_idx <= l; "
     "sliding_window of a model's config counts the query itself"},
    {"documents-ignored", "documents see each other",
     "compare document ids in FlexAttention's mask_mod, or give flash-attn's varlen call the "
     "documents' cu_seqlens"},
    {"anchor-twice", "the anchor's keys count twice",
     "attend to the anchor once: with cu_seqlens copies of it, mask the shared one; "
     "full_kv_indices and kv_indices of the BlockMask must not both hold its block; a merge of "
     "partial results (merge_state) must not hold it in both"},
    {"boundary-shifted", "documents start a token early or late",
     "cu_seqlens holds each document's first token, exclusive at the end: check "
     "cumsum(lengths) and document ids derived from position_ids == 0"},
    {"mask-not-infinite", "masked scores are a finite number",
     "mask with -inf: masked_fill(mask, float('-inf')) or torch.where; masked keys with -10000 or "
     "torch.finfo(dtype).min have a weight where scores are as low, and in rows that see no key"},

    {"scale-missing", "scores are not scaled",
     "multiply q.k by 1/sqrt(D): softmax_scale (flash-attn), scale (SDPA, FlexAttention)"},
    {"scale-wrong", "scores are scaled by something else",
     "pass softmax_scale (flash-attn) or scale (SDPA, FlexAttention) = 1/sqrt(D) once; with exp2 "
     "fold log2(e) in exactly once; a score_mod must not scale again"},
    {"scale-rounded", "the scale is rounded to bf16",
     "keep softmax_scale, and its product with log2(e), in f32", true},
    {"heads-mapped", "query heads read the wrong key heads",
     "GQA: query head h reads key head h / (Hq / Hkv): repeat_interleave, not repeat; "
     "enable_gqa=True (SDPA, FlexAttention)"},
    {"heads-permuted", "the answers of query heads stand at other heads",
     "check the reshape between (Hkv, Hq / Hkv) and Hq, and the head index of the output pointer"},
    {"layout-transposed", "the output buffer has tokens and heads exchanged",
     "transpose(1, 2) before reshaping: (B, H, S, D) was written where (B, S, H, D) is read, or "
     "the reverse; check the strides given to the kernel"},
    {"values-shifted", "values are off by one token",
     "check the row offset of V's pointer, TMA coordinates and cache slot mapping"},
    {"block-skipped", "a block of keys is never visited",
     "check the loop's bounds, and kv_num_blocks and kv_indices of the BlockMask"},
    {"block-repeated", "a block of keys is visited twice",
     "check the loop's bounds, and that full_kv_indices and kv_indices of the BlockMask are "
     "disjoint"},
    {"tile-key-dropped", "a key of every tile is left out",
     "check the bound of the loop within a tile, and the mask of its edge: tl.arange(0, BLOCK_N) < "
     "n, not < n - 1 and not > 0"},
    {"stale-tile", "a tile of V, or of K, is the one before",
     "the tile was read before its copy was complete: check barriers and pipeline stages "
     "(cp.async.wait_group, TMA mbarrier phase)"},
    {"key-block-wrong", "a block of keys and values is the block before",
     "check the page table (block_table, kv_indices) and the tile index of K's and V's loads"},

    {"rope-missing", "RoPE is not applied",
     "rotate q and k before attention: apply_rotary_pos_emb (Hugging Face), rotary_emb (vLLM)"},
    {"rope-pairing", "RoPE pairs the dimensions the other way",
     "half-split (i, i + R/2): Hugging Face's rotate_half, is_neox_style=True (vLLM, SGLang), "
     "interleaved=False (flash-attn); interleaved (2i, 2i + 1): the reverse, or permute the "
     "weights"},
    {"rope-direction", "RoPE turns backwards",
     "y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin: rotate_half is cat(-x2, x1); the conjugate is "
     "for the backward pass"},
    {"rope-applied-twice", "RoPE is applied twice",
     "cached keys are rotated already: rotate before the cache or after it, and q and k only once"},
    {"rope-theta", "RoPE turns with another base (rope_theta)",
     "pass the config's rope_theta: 10000 is a default of Hugging Face, vLLM and flash-attn, not "
     "of most models; look for it in rope_parameters as well as at the config's top"},
    {"rope-scaling-ignored", "RoPE leaves out what rope_scaling asks for",
     "take inverse frequencies and attention factor from the config's rope_scaling or "
     "rope_parameters (Hugging Face: ROPE_INIT_FUNCTIONS[rope_type]), not from rope_theta alone"},
    {"positions-not-reset", "positions run on through documents",
     "pass position_ids that start again in each document (torch.arange per sequence), as the "
     "capture's do"},
    {"positions-reset", "positions start again in each document",
     "pass position_ids = arange(S) over the packed sequence, as the capture's are"},
    {"positions-shifted", "positions of queries or of keys are off by one",
     "positions count from 0; in decoding, the query's position is the cache's length before it"},
    {"positions-offset", "all positions are off by one, those of queries and keys alike",
     "positions count from 0; RoPE is relative, so that only roundings show it", true},
    {"rope-position-rounded", "RoPE's positions are rounded to 16 bits",
     "keep position_ids int64, and convert them to f32 alone: in bf16 they are exact to 256, in "
     "f16 and TF32 to 2048 (torch.autocast(enabled=False), allow_tf32 off for inv_freq @ "
     "position_ids)"},
    {"rope-angle-rounded", "RoPE's angles are rounded to bf16",
     "compute position times inv_freq in f32, autocast disabled (torch.autocast(enabled=False)); "
     "inv_freq must not be cast with the model (model.to(bf16))"},
    {"rope-table-rounded", "RoPE's cos and sin are rounded to bf16",
     "keep cos_sin_cache in f32, and convert q and k to f32 for the rotation"},

    {"elements-unwritten", "elements are zero where numbers belong",
     "the kernel did not store them, or stored them from an accumulator that it did not fill: "
     "check the grid, the predicates at ragged edges (Sq, D) and a split's last part"},
    {"sign-flipped", "elements have the other sign",
     "look for a negation that is applied once too often, and for a register or a bit that is "
     "damaged: run the same problem again"},
    {"rows-copied", "rows of o hold the answers of other rows",
     "check the row index of Q's load and of the output's store, and that the epilogue waits for "
     "its tile: shared memory held the rows before"},
    {"dimensions-wrong", "the same dimensions of o are wrong in all rows",
     "check how lanes and fragments map to D in the epilogue, per-channel scales of V (FP8 "
     "descale), and the last part of a D that is no multiple of the tile"},
    {"output-scaled", "o is a multiple of what it should be",
     "apply V's scale (FP8 descale) once and of the right head, divide by the row sum once, and "
     "look for a gate or a dropout factor that multiplies o"},
    {"dropout", "softmax weights are dropped at random and the others made larger",
     "pass dropout_p=0.0 (SDPA, flash-attn) and call model.eval(); SDPA drops in training or not"},

    {"weights-rounded", "softmax weights are rounded before they meet V",
     "keep P in f32, or judge by a contract that allows P in the input's type", true},
    {"weights-truncated", "softmax weights are truncated instead of rounded",
     "convert P to the input's type with round-to-nearest-even (cvt.rn.bf16x2.f32), not by "
     "dropping the low half of the word",
     true},
    {"weights-rounded-up", "softmax weights are always rounded up",
     "convert P to the input's type with round-to-nearest-even (cvt.rn.bf16x2.f32)", true},
    {"weights-fp8", "softmax weights are rounded to an 8-bit type",
     "keep P in bf16, f16 or f32, or judge by a contract that allows FP8", true},
    {"output-truncated", "the output is truncated instead of rounded",
     "convert o with round-to-nearest-even (cvt.rn.bf16.f32, __float2bfloat16_rn)", true},
    {"row-sum-rounded", "the row sum adds weights after they are rounded",
     "sum P in f32 before it is converted for P.V", true},
    {"row-sum-wrong", "the row sum is off by a factor",
     "check what multiplies l or 1 / l: an approximate reciprocal, a dropout or padding factor",
     true},
    {"lse-offset", "LSE is off by a constant",
     "check what is added to LSE: the logarithm of a scale of P, of the number of splits, or of a "
     "padding key's weight",
     true},
    {"scores-rounded", "scores are rounded to 16 bits",
     "keep Q.K in the matrix unit's f32 accumulator until softmax is done: no bf16 or f16 "
     "intermediate, preferred_element_type=float32",
     true},
    {"exp-constant", "exp's argument is off by a factor, its maximum is not",
     "log2(e) is 1.44269504: fold it into the scale of scores and of their maximum in f32, once",
     true},
    {"exp-inaccurate", "exp is inaccurate",
     "use ex2.approx or a polynomial of degree 5 and more for exp2's fraction; contracts say how "
     "many ulp are allowed",
     true},
    {"accumulator-rounded", "the running output is kept in 16 bits",
     "accumulate P.V in f32 across tiles and convert once, at the end", true},
    {"output-not-rescaled", "the running output is not rescaled when the maximum grows",
     "multiply o by exp(m_old - m_new) before a tile's P.V is added", true},
    {"sum-not-rescaled", "the row sum is not rescaled when the maximum grows",
     "multiply l by exp(m_old - m_new) before a tile's weights are added", true},
    {"never-rescaled", "neither sum is rescaled when the maximum grows",
     "multiply o and l by exp(m_old - m_new) in every tile", true},
    {"maximum-stale", "a tile's weights are relative to the maximum of the tiles before",
     "take the new maximum for exp: m_new = max(m_old, max of this tile), before P is computed",
     true},

    {"unknown", "no mistake of the table explains the answer",
     "look at the first stage that is out, at where wrong elements are, and at the worst ones"},
};

}  // namespace

std::span<const Mistake> Mistakes() { return kMistakes; }

const Mistake* FindMistake(std::string_view id) {
  for (const Mistake& mistake : kMistakes) {
    if (mistake.id == id) return &mistake;
  }
  return nullptr;
}

int64_t MistakeRank(std::string_view id) {
  const Mistake* mistake = FindMistake(id);
  return mistake == nullptr ? static_cast<int64_t>(std::size(kMistakes)) : mistake - kMistakes;
}

}  // namespace bitanchor
