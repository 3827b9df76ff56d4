// The capture's metadata: __metadata__["bitanchor"] as plain data.
#ifndef BITANCHOR_LIB_FILE_CAPTURE_METADATA_H_
#define BITANCHOR_LIB_FILE_CAPTURE_METADATA_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/file/capture.h"
#include "lib/problem/mask.h"
#include "lib/problem/rope_config.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {

struct CaptureSpec {
  std::string kernel;
  Layout layout = Layout::kBSHD;
  MaskSpec mask;
  float softmax_scale = 0;
  std::optional<RopeConfig> rope;  // without the tables, which are tensors
  LseSpec lse;

  std::vector<std::string> defaults;      // taken, in words
  std::vector<std::string> lse_defaults;  // those of `lse`, of interest only where there is an lse
};

// `text`: the JSON; "{}" where the file has none. `head_dim`: D >= 1, which defaults depend on.
// Throws InputError naming the field for everything that the metadata may not say.
CaptureSpec ReadCaptureSpec(std::string_view text, int64_t head_dim);

// The value of "rope": Hugging Face's fields, flat or nested in rope_parameters or rope_scaling,
// and recipe, pairing and rotary_dim; or, under "config", a model's config.json as it is, whose
// other fields are not looked at. Where parameters stand there for each type of layer, layer_type
// says which. Appends the defaults taken.
RopeConfig ReadRopeConfig(const nlohmann::json& rope, int64_t head_dim,
                          std::vector<std::string>& defaults);

// The value of "mask". Appends the defaults taken.
MaskSpec ReadMaskSpec(const nlohmann::json& mask, std::vector<std::string>& defaults);

// "FIELD: VALUE (default)", as CaptureSpec's defaults say it.
std::string DefaultTaken(std::string_view field, std::string_view value,
                         std::string_view why = "default");

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_CAPTURE_METADATA_H_
