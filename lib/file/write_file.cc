#include "lib/file/write_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>

#include "lib/file/printable.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

[[noreturn]] void Refuse(const std::string& path, const std::string& got) {
  throw InputError(PrintablePath(path), got, "a file that can be written");
}

[[noreturn]] void RefuseErrno(const std::string& path, int error) {
  Refuse(path, Quoted(std::system_category().message(error)));
}

// 0, or errno.
int WriteAll(int fd, const std::vector<Bytes>& pieces) {
  constexpr size_t kMostAtOnce = size_t{1} << 30;  // Linux writes at most 2^31 - 4096 bytes a call
  for (Bytes left : pieces) {
    while (!left.empty()) {
      const ssize_t written = ::write(fd, left.data(), std::min(left.size(), kMostAtOnce));
      if (written >= 0) {
        left = left.subspan(static_cast<size_t>(written));
      } else if (errno != EINTR) {
        return errno;
      }
    }
  }
  return 0;
}

// Writes and closes. The first error is the one to report, and a close may be what reports it.
int WriteAndClose(int fd, const std::vector<Bytes>& pieces) {
  const int error = WriteAll(fd, pieces);
  const int close_error = ::close(fd) == 0 ? 0 : errno;
  return error != 0 ? error : close_error;
}

// The file that a path leads to through symbolic links.
std::string Resolved(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (!real) RefuseErrno(path, errno);
  return real.get();
}

// With its slash; "" for a name alone.
std::string FolderOf(const std::string& target) {
  const size_t slash = target.rfind('/');
  return slash == std::string::npos ? "" : target.substr(0, slash + 1);
}

// Opens a new file beside `target` and sets its name. The mode is open's, so that the caller's
// umask decides, which mkstemp would not let it.
int OpenTemporary(const std::string& target, std::string& name) {
  static std::atomic<unsigned> count{0};
  const std::string folder = FolderOf(target);
  for (;;) {
    name = folder + ".bitanchor-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
}

void WriteRenaming(const std::string& path, const std::string& target,
                   const std::vector<Bytes>& pieces) {
  std::string temporary;
  const int fd = OpenTemporary(target, temporary);
  if (fd < 0) RefuseErrno(path, errno);
  int error = WriteAndClose(fd, pieces);
  if (error == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(temporary.c_str());
  RefuseErrno(path, error);
}

enum class Place { kNew, kFile, kSpecial };

// What is at the path, where it may be written.
Place PlaceOf(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) RefuseErrno(path, errno);
    // Renaming onto a link that leads nowhere would replace the link.
    if (::lstat(path.c_str(), &status) == 0) Refuse(path, "a symbolic link that leads nowhere");
    return Place::kNew;
  }
  if (S_ISDIR(status.st_mode)) Refuse(path, "a directory");
  if (!S_ISREG(status.st_mode)) return Place::kSpecial;
  if (::access(path.c_str(), W_OK) != 0) RefuseErrno(path, errno);
  return Place::kFile;
}

// Writes to what can be opened as it is.
void WriteOpened(const std::string& path, int flags, const std::vector<Bytes>& pieces) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (fd < 0) RefuseErrno(path, errno);
  if (const int error = WriteAndClose(fd, pieces); error != 0) RefuseErrno(path, error);
}

}  // namespace

void WriteFile(const std::string& path, const std::vector<Bytes>& pieces) {
  const Place place = PlaceOf(path);
  if (place == Place::kNew) return WriteRenaming(path, path, pieces);
  if (place == Place::kFile) return WriteRenaming(path, Resolved(path), pieces);
  WriteOpened(path, O_WRONLY, pieces);
}

void WriteFile(const std::string& path, std::string_view text) {
  WriteFile(path, {std::as_bytes(std::span(text))});
}

void AppendToFile(const std::string& path, std::string_view text) {
  PlaceOf(path);
  WriteOpened(path, O_WRONLY | O_CREAT | O_APPEND, {std::as_bytes(std::span(text))});
}

void RefuseUnwritable(const std::string& path) {
  if (path.empty()) Refuse(path, "no name");
  const Place place = PlaceOf(path);
  if (place == Place::kSpecial) {
    if (::access(path.c_str(), W_OK) != 0) RefuseErrno(path, errno);
    return;
  }
  const std::string target = place == Place::kFile ? Resolved(path) : path;
  const std::string folder = FolderOf(target);
  if (::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) != 0) RefuseErrno(path, errno);
}

}  // namespace bitanchor
