// Stores that may go past the caches and loads announced in time; see stream.h.

#if defined(BITANCHOR_SIMD_STREAM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_STREAM_INL_H_
#undef BITANCHOR_SIMD_STREAM_INL_H_
#else
#define BITANCHOR_SIMD_STREAM_INL_H_
#endif

#include "hwy/cache_control.h"
#include "simd/lanes-inl.h"
#include "simd/stream.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// `to` needs alignment to a whole vector only where `stream` is set.
template <class V, class D>
HWY_INLINE void StoreVector(V v, D d, bool stream, hn::TFromD<D>* to) {
  if (stream) {
    hn::Stream(v, d, to);
  } else {
    hn::StoreU(v, d, to);
  }
}

// Asks for what a loop that reads ascending addresses will want soon; the hardware's own prefetcher
// stops at each page. Never faults, wherever that is.
HWY_INLINE void PrefetchAhead(const void* p) {
  hwy::Prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(p) + kPrefetchBytes));
}

// Streamed stores are not ordered with later ones, so a task ends with this.
HWY_INLINE void EndOfStream(bool stream) {
  if (stream) hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
