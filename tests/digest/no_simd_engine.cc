// For a build of lib/ alone.
#include <stdexcept>

#include "tests/digest/engine.h"

namespace bitanchor::digest {

std::vector<std::string> SimdTargets() { return {}; }

std::unique_ptr<Engine> SimdEngine(const SimdChoice& choice) {
  throw std::runtime_error("no target " + choice.target + ": this build has no vector engine");
}

}  // namespace bitanchor::digest
