// Where a command's outputs go: files, and "-" for stdout.
#ifndef BITANCHOR_TOOLS_OUTPUT_PLACES_H_
#define BITANCHOR_TOOLS_OUTPUT_PLACES_H_

#include <map>
#include <string>
#include <string_view>

namespace bitanchor::tools {

// What the places are taken by, as the command learns of them.
class OutputPlaces {
 public:
  // Throws InputError where something else takes the place or, an output's, it cannot be written.
  void Take(const std::string& path, const std::string& by);
  void TakeOutput(const std::string& path, const std::string& option);

 private:
  std::map<std::string, std::string> by_;
};

// Writes a file whole or not at all, or to stdout.
void PutText(const std::string& path, std::string_view text);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_OUTPUT_PLACES_H_
