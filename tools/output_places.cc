#include "tools/output_places.h"

#include <fmt/format.h>

#include "lib/file/printable.h"
#include "lib/file/write_file.h"
#include "lib/tensor/error.h"

namespace bitanchor::tools {

void OutputPlaces::Take(const std::string& path, const std::string& by) {
  const auto [taken, is_new] = by_.emplace(path, by);
  if (!is_new) throw InputError(by, PrintablePath(path), "another place than " + taken->second);
}

void OutputPlaces::TakeOutput(const std::string& path, const std::string& option) {
  if (path != "-") RefuseUnwritable(path);
  Take(path, option);
}

void PutText(const std::string& path, std::string_view text) {
  if (path == "-") {
    fmt::print("{}", text);
  } else {
    WriteFile(path, text);
  }
}

}  // namespace bitanchor::tools
