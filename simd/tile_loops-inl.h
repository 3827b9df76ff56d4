// The two register tiles of attention, for any way M of multiplying. Included as text, twice a
// target: by tiles-inl.h for f32, and by bf16_dot-inl.h inside the attributes that its instruction
// needs. No include guard and no namespace of its own for that reason.
//
// M::Word is what memory holds (a float, or a pair of bf16), M::Load a vector of it, M::Set one in
// every lane, M::MulAdd(a, b, acc) the fold's next step or two: a lane's accumulator sees its own
// operands in ascending order and nothing else. Accumulator J is row J/3, vector J%3: a parameter
// pack, because vectors of unknown size cannot be array elements.

// Rows of accumulators advance over `steps`: lanes is [steps][3N], a row's words follow each other
// and its next row's lie ldw further.
template <class M, size_t... J, class... V>
HWY_INLINE void FoldRows(std::index_sequence<J...>, const typename M::Word* HWY_RESTRICT lanes,
                         const typename M::Word* HWY_RESTRICT words, size_t ldw, size_t steps,
                         V&... acc) {
  const size_t N = hn::Lanes(F32Tag());
  for (size_t i = 0; i < steps; ++i) {
    const auto v0 = M::Load(lanes), v1 = M::Load(lanes + N), v2 = M::Load(lanes + 2 * N);
    ((acc = M::MulAdd(Pick<J>(v0, v1, v2), M::Set(words[(J / kVectors) * ldw + i]), acc)), ...);
    lanes += kVectors * N;
  }
}

// t[key][Q] = scale * q.k for kTile keys; q is [steps][Q], k is kTile rows of `steps`, ldk apart.
// greatest[Q] takes the scores of all lanes if kGreatest.
template <class M, bool kGreatest, size_t... J, class... V>
HWY_INLINE void ScoreTile(std::index_sequence<J...> sequence,
                          const typename M::Word* HWY_RESTRICT q,
                          const typename M::Word* HWY_RESTRICT k, size_t ldk, size_t steps,
                          float scale, float* HWY_RESTRICT t, float* HWY_RESTRICT greatest,
                          V... acc) {
  const F32Tag d;
  const size_t N = hn::Lanes(d);
  FoldRows<M>(sequence, q, k, ldk, steps, acc...);
  const F32 s = hn::Set(d, scale);
  ((acc = hn::Mul(acc, s)), ...);
  ((hn::Store(acc, d, t + J * N)), ...);
  if constexpr (kGreatest) {
    F32 m0 = hn::Load(d, greatest), m1 = hn::Load(d, greatest + N),
        m2 = hn::Load(d, greatest + 2 * N);
    ((TakeGreater<J>(acc, m0, m1, m2)), ...);
    hn::Store(m0, d, greatest);
    hn::Store(m1, d, greatest + N);
    hn::Store(m2, d, greatest + 2 * N);
  }
}

template <class M, bool kGreatest, size_t... J>
HWY_INLINE void ScoreTileFromZero(std::index_sequence<J...> sequence, const typename M::Word* q,
                                  const typename M::Word* k, size_t ldk, size_t steps, float scale,
                                  float* t, float* greatest) {
  ScoreTile<M, kGreatest>(sequence, q, k, ldk, steps, scale, t, greatest,
                          (static_cast<void>(J), hn::Zero(F32Tag()))...);
}

// The scores of `keys` (a multiple of kTile) rows of k.
template <class M, bool kGreatest>
HWY_INLINE void Scores(const typename M::Word* q, const typename M::Word* k, size_t ldk,
                       size_t keys, size_t steps, float scale, float* t, float* greatest) {
  const size_t Q = TileLanes();
  for (size_t r = 0; r < keys; r += kTile) {
    ScoreTileFromZero<M, kGreatest>(TileSequence(), q, k + r * ldk, ldk, steps, scale, t + r * Q,
                                    greatest);
  }
}

// o[d][Q] for kTile dimensions advances over `rows` rows; w is [rows][Q], v the rows of a tile of
// kTileDims, already offset to the first dimension. kMasked: lanes that `lanes` says do not see a
// row are left alone.
template <class M, bool kMasked, size_t... J, class... V>
HWY_INLINE void OutputTile(std::index_sequence<J...>, const typename M::Word* HWY_RESTRICT w,
                           const typename M::Word* HWY_RESTRICT v, size_t rows,
                           const uint64_t* HWY_RESTRICT lanes, float* HWY_RESTRICT o, V... acc) {
  const F32Tag d;
  const size_t N = hn::Lanes(d);
  for (size_t r = 0; r < rows; ++r) {
    const auto w0 = M::Load(w), w1 = M::Load(w + N), w2 = M::Load(w + 2 * N);
    if constexpr (kMasked) {
      const F32Mask m0 = LanesMask(lanes[r], 0), m1 = LanesMask(lanes[r], 1),
                    m2 = LanesMask(lanes[r], 2);
      ((acc = hn::IfThenElse(Pick<J>(m0, m1, m2),
                             M::MulAdd(Pick<J>(w0, w1, w2), M::Set(v[J / kVectors]), acc), acc)),
       ...);
    } else {
      ((acc = M::MulAdd(Pick<J>(w0, w1, w2), M::Set(v[J / kVectors]), acc)), ...);
    }
    w += kVectors * N;
    v += kTileDims;
  }
  ((hn::Store(acc, d, o + J * N)), ...);
}

template <class M, bool kMasked, size_t... J>
HWY_INLINE void OutputTileFromMemory(std::index_sequence<J...> sequence, const typename M::Word* w,
                                     const typename M::Word* v, size_t rows, const uint64_t* lanes,
                                     float* o) {
  const F32Tag d;
  OutputTile<M, kMasked>(sequence, w, v, rows, lanes, o, hn::Load(d, o + J * hn::Lanes(d))...);
}

// All `dims` dimensions of o over rows [row, row + rows) of v, whose tiles have v_rows rows.
template <class M, bool kMasked>
HWY_INLINE void Outputs(const typename M::Word* w, const typename M::Word* v, size_t v_rows,
                        size_t row, size_t rows, size_t dims, const uint64_t* lanes, float* o) {
  const size_t Q = TileLanes();
  for (size_t i = 0; i < dims; i += kTile) {
    const auto* tile = v + i / kTileDims * VTileStride(v_rows) + row * kTileDims + i % kTileDims;
    OutputTileFromMemory<M, kMasked>(TileSequence(), w, tile, rows, lanes, o + i * Q);
  }
}

// sums[row][3N], as FoldRows takes them.
template <class M, size_t... J, class... V>
HWY_INLINE void RowTile(std::index_sequence<J...> sequence, const typename M::Word* lanes,
                        const typename M::Word* words, size_t ldw, size_t steps,
                        float* HWY_RESTRICT sums, V... acc) {
  const F32Tag d;
  FoldRows<M>(sequence, lanes, words, ldw, steps, acc...);
  ((hn::Store(acc, d, sums + J * hn::Lanes(d))), ...);
}

template <class M, size_t... J>
HWY_INLINE void RowTileFromMemory(std::index_sequence<J...> sequence, const typename M::Word* lanes,
                                  const typename M::Word* words, size_t ldw, size_t steps,
                                  float* sums) {
  const F32Tag d;
  RowTile<M>(sequence, lanes, words, ldw, steps, sums, hn::Load(d, sums + J * hn::Lanes(d))...);
}
