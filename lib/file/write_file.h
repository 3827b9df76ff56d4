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

// Adds the text to the end of a file, which is made where there is none. Throws as WriteFile does;
// what was in the file stays.
void AppendToFile(const std::string& path, std::string_view text);

// Throws what WriteFile would most likely throw, before the work whose result is to be written.
// Neither makes nor touches a file.
void RefuseUnwritable(const std::string& path);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_WRITE_FILE_H_
