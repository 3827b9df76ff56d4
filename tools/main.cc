// bitanchor: the command line. Results go to stdout, progress to stderr; exit status 0 passed, 1
// the kernel is wrong, 2 bad usage or bad input, which writes exactly one line to stderr.
#include <cstdio>
#include <exception>
#include <new>

#include "lib/tensor/error.h"
#include "tools/commands.h"

namespace {

// One line of at most 600 bytes, whatever the message holds.
int Complain(const std::string& message) {
  std::string line = "bitanchor: " + message;
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  if (line.size() > 598) line = line.substr(0, 595) + "...";
  std::fprintf(stderr, "%s\n", line.c_str());
  return bitanchor::tools::kBadInput;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Judges attention kernels against a definition of every bit.\n\n"
      "  bitanchor gen -o problem.safetensors --shape 1,1024,4,2,64 --documents 256,512,256 --mask "
      "anchor\n"
      "  bitanchor run problem.safetensors -o answer.safetensors\n"
      "  bitanchor check capture.safetensors\n",
      "bitanchor");
  app.require_subcommand(1);
  bitanchor::tools::Action action;
  bitanchor::tools::AddCheck(app, action);
  bitanchor::tools::AddExplain(app, action);
  bitanchor::tools::AddRun(app, action);
  bitanchor::tools::AddGen(app, action);
  bitanchor::tools::AddGolden(app, action);
  bitanchor::tools::AddInfo(app, action);
  bitanchor::tools::AddMask(app, action);
  bitanchor::tools::AddPack(app, action);
  bitanchor::tools::AddMatMul(app, action);
  bitanchor::tools::AddDrift(app, action);
  try {
    app.parse(argc, argv);
    const int status = action();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      return Complain("stdout: got an error, want a place that can be written");
    }
    return status;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return Complain(error.what());
  } catch (const bitanchor::InputError& error) {
    return Complain(error.what());
  } catch (const std::bad_alloc&) {
    return Complain("memory: got too little, want more or a smaller problem");
  } catch (const std::exception& error) {
    return Complain(error.what());
  }
}
