// The fixed list of cases whose results every machine must reproduce.
//
// When a case's meaning changes, its name changes: a digest in digests.txt is never edited, it goes
// and another comes.
#ifndef BITANCHOR_TESTS_DIGEST_CASES_H_
#define BITANCHOR_TESTS_DIGEST_CASES_H_

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lib/file/sha256.h"
#include "lib/tensor/dtype.h"
#include "tests/digest/engine.h"

namespace bitanchor::digest {

// Takes a case's results: SHA-256 over their bytes, little-endian on every host, in the order
// given.
class Results {
 public:
  // `data`: whole elements of dtype, in the host's byte order.
  void Add(DType dtype, std::span<const std::byte> data);
  void Add(std::span<const float> data) { Add(DType::kF32, std::as_bytes(data)); }
  void Add(std::span<const uint16_t> bits, DType dtype) { Add(dtype, std::as_bytes(bits)); }

  std::string Hex() { return sha256_.Hex(); }
  int64_t Elements() const { return elements_; }
  int64_t Finite() const { return finite_; }

 private:
  Sha256 sha256_;
  int64_t elements_ = 0, finite_ = 0;
};

struct Case {
  std::string name;
  Operation operation;
  // Of the elements, at least this many percent must be finite: a digest of NaNs proves nothing.
  int finite_percent;
  std::function<void(Engine&, Results&)> compute;
};

void AddAttentionCases(std::vector<Case>& cases);
void AddRopeCases(std::vector<Case>& cases);
void AddNumberCases(std::vector<Case>& cases);
void AddMatrixUnitCases(std::vector<Case>& cases);
void AddReplayCases(std::vector<Case>& cases);

std::vector<Case> AllCases();  // in the order of digests.txt; every name once

}  // namespace bitanchor::digest

#endif  // BITANCHOR_TESTS_DIGEST_CASES_H_
