// bitanchor golden make: one more golden in a folder.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <optional>
#include <system_error>

#include "lib/file/capture_writer.h"
#include "lib/file/mapped_file.h"
#include "lib/file/printable.h"
#include "lib/file/write_file.h"
#include "lib/problem/generate.h"
#include "lib/recipe/schedule.h"
#include "lib/tensor/error.h"
#include "tools/golden.h"

namespace bitanchor::tools {
namespace {

namespace fs = std::filesystem;

struct MakeOptions {
  std::string folder, name, capture, recipe = "textbook", engine = "simd";
  ProblemOptions problem;
  bool tensors = false, force = false;
  CommonOptions common;
};

// What a golden is called that nobody named: "bf16-anchor-hf-llama-seed3".
std::string DefaultName(const Golden& golden, const ProblemOptions& options) {
  const ProblemSpec& problem = golden.problem;
  std::string name = fmt::format("{}-{}", options.dtype, Name(problem.mask.rule));
  if (problem.rope) name += "-" + problem.rope->recipe;
  if (golden.recipe != "textbook") name += "-" + golden.recipe;
  return name + fmt::format("-seed{}", problem.seed);
}

std::string NameOf(const MakeOptions& options, const Golden& golden) {
  if (!options.capture.empty() && options.name.empty()) {
    throw InputError("--name", "no value", "one, to go with --problem");
  }
  const std::string name =
      options.name.empty() ? DefaultName(golden, options.problem) : options.name;
  if (IsGoldenName(name)) return name;
  throw InputError("--name", Quoted(name, 70), "1 to 64 of a-z, 0-9, - and _");
}

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

std::string ReadText(const std::string& path) {
  const MappedFile file = MappedFile::Open(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// Where the golden that is there differs from the new one; "" where it does not.
std::string Other(const std::string& text, const Golden& golden) {
  if (text == GoldenText(golden)) return "";
  try {
    const auto differences = Differences(ParseGolden(text), golden);
    if (differences.empty()) return "";
    const GoldenDifference& first = differences.front();
    return fmt::format("a golden whose {} is {}, not {}", first.field, first.got, first.want);
  } catch (const InputError&) {
    return "something that is no golden";
  }
}

// Whether the very golden is there already. Throws where something else is that would be lost.
bool IsThere(const MakeOptions& options, const Golden& golden) {
  const std::string path = GoldenPath(options.folder, golden.name);
  if (Exists(path)) {
    const std::string other = Other(ReadText(path), golden);
    if (!other.empty() && !options.force) {
      throw InputError(PrintablePath(path), other, "another --name, or --force");
    }
    return other.empty();
  }
  for (const std::string& file : {GoldenProblemPath(options.folder, golden.name),
                                  GoldenOutputsPath(options.folder, golden.name)}) {
    if (!Exists(file) || options.force) continue;
    throw InputError(PrintablePath(file), "a file", "none, another --name, or --force");
  }
  return false;
}

void MakeFolder(const std::string& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  if (fs::exists(folder, error)) error = std::make_error_code(std::errc::not_a_directory);
  if (!error || error == std::errc::no_such_file_or_directory) fs::create_directory(folder, error);
  if (error) throw InputError(PrintablePath(folder), Quoted(error.message()), "a folder");
}

// Replacing a golden by one without tensors removes them, so they may not be what it is made from.
void CheckNotItsOwn(const MakeOptions& options, const Golden& golden) {
  std::error_code error;
  if (options.capture.empty() || golden.tensors ||
      !fs::equivalent(options.capture, GoldenProblemPath(options.folder, golden.name), error)) {
    return;
  }
  throw InputError("--problem", "the golden's own stored problem", "--tensors as well");
}

// Writes the stored tensors, or removes those of a golden that had them.
void WriteTensors(const MakeOptions& options, const Golden& golden, const GivenProblem& given,
                  const Answers& answers) {
  const std::string problem = GoldenProblemPath(options.folder, golden.name);
  const std::string outputs = GoldenOutputsPath(options.folder, golden.name);
  if (!golden.tensors) {
    std::error_code ignored;  // what could not be removed, verify will complain about
    fs::remove(problem, ignored);
    fs::remove(outputs, ignored);
    return;
  }
  if (options.capture.empty()) {
    WriteSafetensors(problem, given.tensors,
                     {{kCaptureKey, CaptureMetadata(given.problem, Layout::kBSHD, "")}});
  } else {
    WriteFile(problem, {MappedFile::Open(options.capture).bytes()});
  }
  WriteSafetensors(outputs, answers.tensors, {});
}

int Make(const MakeOptions& options) {
  if (options.recipe.ends_with(".json") || FindSchedule(options.recipe) != nullptr) {
    throw InputError("--recipe", Quoted(options.recipe),
                     "a recipe: a schedule leaves some bits to the GPU, so that no digest holds");
  }
  const simd::EngineOptions engine = options.common.Engine("golden");
  const bool drawn = options.capture.empty();
  if (drawn && options.problem.shape.empty()) {
    throw InputError("--shape", "no value", "B,S,Hq,Hkv,D, or a capture with --problem");
  }
  Golden golden;
  golden.generator = drawn ? kGen1Name : kCaptureGenerator;
  golden.recipe = RecipeOption(options.recipe).name;
  golden.tensors = options.tensors;
  if (drawn) golden.problem = options.problem.Spec();
  golden.name = NameOf(options, golden);
  CheckNotItsOwn(options, golden);
  MakeFolder(options.folder);
  const GivenProblem given = drawn ? DrawGiven(golden.problem) : ReadGiven(options.capture);
  const Answers answers = AnswerAll(given.problem, given.dout, RecipeOption(options.recipe),
                                    Layout::kBSHD, EngineOf(options.engine), engine);
  golden = Describe(golden, given, answers.tensors);
  const bool is_there = IsThere(options, golden);
  // The text last: what it speaks of is then there.
  WriteTensors(options, golden, given, answers);
  const std::string path = GoldenPath(options.folder, golden.name);
  if (!is_there) WriteFile(path, GoldenText(golden));
  if (!options.common.quiet) {
    std::vector<std::string> names;
    for (const TensorDigest& tensor : golden.outputs) names.push_back(tensor.name);
    fmt::print("{}: {}, {}{}, recipe {}: {}\n", path, is_there ? "unchanged" : "made",
               golden.generator, drawn ? fmt::format(" seed {}", golden.problem.seed) : "",
               golden.recipe, fmt::join(names, " "));
  }
  return kPassed;
}

}  // namespace

void AddGoldenMake(CLI::App& app, Action& run) {
  auto options = std::make_shared<MakeOptions>();
  CLI::App* command = app.add_subcommand(
      "make",
      "Compute a problem under a recipe and keep the digests as DIR/NAME.json.\n\n"
      "  bitanchor golden make goldens --shape 1,256,4,2,64 --documents 100,156 --mask anchor "
      "--rope hf-llama --do\n");
  options->problem.AddTo(*command);
  const std::vector<CLI::Option*> drawing = command->get_options();
  command->add_option("--problem", options->capture,
                      "A capture file with the problem, instead of drawing one");
  command->add_option("folder", options->folder, "The folder of goldens; made if there is none")
      ->required();
  command->add_option("--recipe", options->recipe, "Attention recipe")->capture_default_str();
  command->add_option("--name", options->name,
                      "Of a-z, 0-9, - and _ (default: from dtype, mask, recipes and seed)");
  command->add_flag("--tensors", options->tensors,
                    "Keep the tensors too, of the problem and of the answers");
  command->add_flag("--force", options->force, "Replace a golden of this name");
  AddEngineOption(*command, options->engine);
  options->common.AddTo(*command);
  command->callback([options, drawing, &run] {
    run = [options, drawing] {
      for (const CLI::Option* option : drawing) {
        if (options->capture.empty() || option->count() == 0) continue;
        throw InputError("--problem", option->get_name() + " as well", "the capture alone");
      }
      return Make(*options);
    };
  });
}

}  // namespace bitanchor::tools
