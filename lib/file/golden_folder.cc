// The folder that goldens lie in.
#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "lib/file/golden.h"
#include "lib/file/mapped_file.h"
#include "lib/file/printable.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGoldenEnd = ".json", kTensorsEnd = ".safetensors",
                           kProblemEnd = ".problem.safetensors",
                           kOutputsEnd = ".outputs.safetensors";
constexpr size_t kMaxTextBytes = size_t{1} << 22;

std::string PathIn(const std::string& folder, const std::string& file) {
  return (fs::path(folder) / file).string();
}

// The names of everything in the folder, sorted.
std::set<std::string> FilesIn(const std::string& folder) {
  const auto refuse = [&](const std::error_code& error) {
    throw InputError(PrintablePath(folder), Quoted(error.message()), "a folder of goldens");
  };
  std::set<std::string> names;
  std::error_code error;
  fs::directory_iterator at(folder, error), end;
  if (error) refuse(error);
  while (at != end) {
    names.insert(at->path().filename().string());
    at.increment(error);
    if (error) refuse(error);
  }
  return names;
}

Golden ReadGolden(const std::string& folder, const std::string& file) {
  const std::string path = PathIn(folder, file);
  const MappedFile mapped = MappedFile::Open(path);
  const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()),
                              mapped.bytes().size());
  const std::string name = file.substr(0, file.size() - kGoldenEnd.size());
  try {
    if (text.size() > kMaxTextBytes) {
      throw InputError("document", std::to_string(text.size()) + " bytes",
                       "at most " + std::to_string(kMaxTextBytes));
    }
    if (!IsGoldenName(name)) {
      throw InputError("name", Quoted(name), "1 to 64 of a-z, 0-9, - and _");
    }
    Golden golden = ParseGolden(text);
    if (golden.name != name) throw InputError("name", Quoted(golden.name), Quoted(name, 70));
    return golden;
  } catch (const InputError& error) {
    throw error.In(PrintablePath(path));
  }
}

}  // namespace

std::string GoldenPath(const std::string& folder, const std::string& name) {
  return PathIn(folder, name + std::string(kGoldenEnd));
}

std::string GoldenProblemPath(const std::string& folder, const std::string& name) {
  return PathIn(folder, name + std::string(kProblemEnd));
}

std::string GoldenOutputsPath(const std::string& folder, const std::string& name) {
  return PathIn(folder, name + std::string(kOutputsEnd));
}

std::vector<Golden> ReadGoldens(const std::string& folder) {
  const std::set<std::string> files = FilesIn(folder);
  std::vector<Golden> goldens;
  std::set<std::string> wanted;  // tensors
  for (const std::string& file : files) {
    if (!std::string_view(file).ends_with(kGoldenEnd)) continue;
    goldens.push_back(ReadGolden(folder, file));
    if (!goldens.back().tensors) continue;
    for (const std::string_view end : {kProblemEnd, kOutputsEnd}) {
      wanted.insert(goldens.back().name + std::string(end));
    }
  }
  if (goldens.empty()) throw InputError(PrintablePath(folder), "no golden", "at least one");
  for (const std::string& file : wanted) {
    if (files.contains(file)) continue;
    throw InputError(PrintablePath(PathIn(folder, file)), "no file",
                     "the tensors that their golden says are there");
  }
  for (const std::string& file : files) {
    if (!std::string_view(file).ends_with(kTensorsEnd) || wanted.contains(file)) continue;
    throw InputError(PrintablePath(PathIn(folder, file)), "tensors",
                     "none without a golden that says they are there");
  }
  return goldens;
}

}  // namespace bitanchor
