// SHA-256, by OpenSSL's libcrypto.
#ifndef BITANCHOR_LIB_FILE_SHA256_H_
#define BITANCHOR_LIB_FILE_SHA256_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace bitanchor {

// Of all bytes given to Update, in the order in which they came. Throws std::runtime_error where
// libcrypto refuses (out of memory, or an installation that forbids SHA-256).
class Sha256 {
 public:
  Sha256();
  void Update(std::span<const std::byte> data);
  std::string Hex();  // 64 lower-case digits. Once: nothing may be asked of it afterwards

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_SHA256_H_
