// Writing a file whole or not at all.
#ifndef BITANCHOR_LIB_FILE_WRITE_FILE_H_
#define BITANCHOR_LIB_FILE_WRITE_FILE_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitanchor {

using Bytes = std::span<const std::byte>;

// Writes the pieces one after another to a temporary file in path's directory and renames it to
// path, so that a failed write leaves neither half a file nor a temporary one, and what was at path
// before stays. A symbolic link is followed. What exists and is not a regular file (/dev/stdout, a
// pipe) is written to directly. Throws InputError naming the path where it cannot be written.
void WriteFile(const std::string& path, const std::vector<Bytes>& pieces);
void WriteFile(const std::string& path, std::string_view text);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_WRITE_FILE_H_
