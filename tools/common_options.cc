#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "lib/tensor/error.h"
#include "simd/targets.h"
#include "tools/commands.h"

namespace bitanchor::tools {
namespace {

// A bar with an estimate, on a terminal only, once the work has taken a second. Where other work
// begins, of another total or from its start again, the clock does, too.
class Progress {
 public:
  explicit Progress(std::string what) : what_(std::move(what)) {}

  void operator()(int64_t done, int64_t total) {
    const auto now = Clock::now();
    const bool other_work = total_ != 0 && (total != total_ || done < done_);
    if (other_work) {
      start_ = now;
      begun_ = done;
    }
    total_ = total;
    done_ = done;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    if (elapsed < 1 || (done < total && now - shown_ < std::chrono::milliseconds(200))) return;
    shown_ = now;
    const double more = static_cast<double>(done - begun_);
    const double left = more > 0 ? elapsed / more * static_cast<double>(total - done) : 0;
    fmt::print(stderr, "\r{} {:3d}%  {:.0f} s left ", what_, 100 * done / total, left);
    if (done == total) fmt::print(stderr, "\r{:60}\r", "");
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  Clock::time_point start_ = Clock::now(), shown_ = start_;
  int64_t begun_ = 0, done_ = 0, total_ = 0;  // begun_: done when the clock started
};

}  // namespace

void CommonOptions::AddTo(CLI::App& app) {
  app.add_option("--threads", threads, "Threads, at least 1 (default: one per core)")
      ->check(CLI::Range(1, 1 << 16));
  app.add_option("--target", target, "SIMD target to force; `bitanchor info` lists them");
  app.add_flag("--quiet", quiet, "No progress, and only the verdict or nothing on stdout");
}

simd::EngineOptions CommonOptions::Engine(const std::string& what) const {
  simd::EngineOptions options;
  options.threads = threads;
  if (!target.empty()) {
    options.target = simd::TargetFromName(target);
    std::string names;
    for (const simd::Target& t : simd::Targets()) names += (names.empty() ? "" : ", ") + t.name;
    if (options.target == 0) throw InputError("--target", target.substr(0, 60), "one of " + names);
  }
  if (!quiet && isatty(STDERR_FILENO)) {
    options.progress = [progress = std::make_shared<Progress>(what)](int64_t done, int64_t total) {
      (*progress)(done, total);  // one clock for all copies of the options
    };
  }
  return options;
}

}  // namespace bitanchor::tools
