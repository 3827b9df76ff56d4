// JSON that says one thing only.
#ifndef BITANCHOR_LIB_FILE_STRICT_JSON_H_
#define BITANCHOR_LIB_FILE_STRICT_JSON_H_

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace bitanchor {

// Deeper nesting is refused; no file of ours needs more than four levels.
inline constexpr int kMaxJsonDepth = 16;

// Parses one JSON text in UTF-8. Refused: a key twice in one object, at any level (nlohmann's DOM
// would keep the last one silently), nesting beyond kMaxJsonDepth, numbers beyond f64, NaN and
// Infinity, invalid UTF-8, a byte-order mark, NUL bytes and anything after the value. Throws
// InputError whose field is the path of the key ("mask.rule") or else `name`, the document's.
// Integers stay integers; those beyond 64 bits become f64.
nlohmann::json ParseStrictJson(std::string_view text, const std::string& name);

// A value as an error message shows it: "true", "12", "\"anchor\"", "an object".
std::string Describe(const nlohmann::json& value);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_STRICT_JSON_H_
