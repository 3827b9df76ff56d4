#include "lib/file/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "lib/file/printable.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

[[noreturn]] void Refuse(const std::string& path, const std::string& got) {
  throw InputError(PrintablePath(path), got, "a file that can be read");
}

[[noreturn]] void RefuseErrno(const std::string& path, int error) {
  Refuse(path, Quoted(std::system_category().message(error)));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

MappedFile MappedFile::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer that may never come.
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.get() < 0) RefuseErrno(path, errno);
  struct stat status;
  if (::fstat(descriptor.get(), &status) != 0) RefuseErrno(path, errno);
  if (S_ISDIR(status.st_mode)) Refuse(path, "a directory");
  if (!S_ISREG(status.st_mode)) Refuse(path, "something that is not a regular file");
  if (status.st_size == 0) Refuse(path, "an empty file");
  const size_t size = static_cast<size_t>(status.st_size);
  void* const data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
  if (data == MAP_FAILED) RefuseErrno(path, errno);
  return MappedFile({static_cast<const std::byte*>(data), size});
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace bitanchor
