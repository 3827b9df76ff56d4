// The unfused attention of PyTorch programs in the model's own dtype, whose error some acceptance
// rules take as their yardstick. How each rounds: lib/exact/eager_attention.h.
#ifndef BITANCHOR_LIB_RECIPE_EAGER_PATH_H_
#define BITANCHOR_LIB_RECIPE_EAGER_PATH_H_

namespace bitanchor {

enum class EagerPath {
  kAttentionRef,  // flash-attention's attention_ref(upcast=False, reorder_ops=True)
  kFlexMath,      // PyTorch's uncompiled flex_attention
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_EAGER_PATH_H_
