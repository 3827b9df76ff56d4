// A file's bytes without reading them all into memory.
#ifndef BITANCHOR_LIB_FILE_MAPPED_FILE_H_
#define BITANCHOR_LIB_FILE_MAPPED_FILE_H_

#include <cstddef>
#include <span>
#include <string>

namespace bitanchor {

// A read-only private mapping of a regular file. The bytes stay where they are when the object is
// moved. Replacing the file by renaming another over it does not disturb the mapping; a process
// that shortens it in place takes its pages away (SIGBUS on access), as with any mapped file.
class MappedFile {
 public:
  // Throws InputError naming the path: a missing or unreadable file, anything that is not a regular
  // file (a directory, a pipe, a device), an empty file.
  static MappedFile Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_MAPPED_FILE_H_
