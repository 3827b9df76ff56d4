// bitanchor matmul: what a GPU's matrix unit answers.
#include "lib/matrix_unit/matmul.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "lib/file/printable.h"
#include "lib/file/safetensors.h"
#include "lib/matrix_unit/dot_add.h"
#include "lib/tensor/error.h"
#include "simd/matrix_unit.h"
#include "tools/commands.h"

namespace bitanchor::tools {
namespace {

using matrix_unit::MatMul;
using matrix_unit::Model;

struct MatMulOptions {
  std::string in, out, unit, input, result = "f32";
  int64_t split_k = 1;
  CommonOptions common;
};

// What was taken that the user did not say.
using Notes = std::vector<std::string>;

std::string ShapeText(const std::vector<int64_t>& shape) { return fmt::format("{}", shape); }

// The tensor's three sizes, each >= 1.
std::array<int64_t, 3> Sizes(const TensorEntry& entry) {
  const std::vector<int64_t>& shape = entry.shape;
  if (shape.size() != 3 ||
      std::any_of(shape.begin(), shape.end(), [](int64_t n) { return n < 1; })) {
    throw InputError(entry.name + ".shape", Printable(ShapeText(shape)),
                     "three sizes, each at least 1");
  }
  return {shape[0], shape[1], shape[2]};
}

void WantShape(const TensorEntry& entry, const std::vector<int64_t>& want, const char* as) {
  if (entry.shape == want) return;
  throw InputError(entry.name + ".shape", Printable(ShapeText(entry.shape)),
                   ShapeText(want) + ", " + as);
}

void WantDType(const TensorEntry& entry, DType want, const char* as) {
  if (entry.dtype == want) return;
  throw InputError(entry.name, std::string(DTypeName(entry.dtype)),
                   fmt::format("{}{}", DTypeName(want), as));
}

// CDNA3's 8-bit codes are fnuz ones, also where the file calls them by OCP's names.
DType CodesFor(const std::string& unit, DType dtype, Notes& notes) {
  if (unit != "cdna3" || (dtype != DType::kF8E4M3 && dtype != DType::kF8E5M2)) return dtype;
  const DType fnuz = dtype == DType::kF8E4M3 ? DType::kF8E4M3FNUZ : DType::kF8E5M2FNUZ;
  notes.push_back(
      fmt::format("a, b: {}, whose bytes cdna3 reads as {}", DTypeName(dtype), DTypeName(fnuz)));
  return fnuz;
}

const Model& ModelFor(const MatMulOptions& options, DType dtype) {
  const Model* const model = matrix_unit::FindModel(options.unit, dtype, options.input);
  if (model != nullptr) return *model;
  std::vector<std::string> known;
  for (const Model& one : matrix_unit::Models()) {
    if (one.unit != options.unit) continue;
    known.push_back(fmt::format("{} ({})", DTypeName(one.dtype), one.input));
  }
  if (known.empty()) {
    throw InputError("--unit", Quoted(options.unit),
                     fmt::format("one of {}", fmt::join(matrix_unit::Units(), ", ")));
  }
  const std::string want = fmt::format("what {} takes: {}", options.unit, fmt::join(known, ", "));
  const std::string got(DTypeName(dtype));
  if (options.input.empty()) throw InputError("a", got, want);
  throw InputError("--input", Quoted(options.input) + " of " + got, want);
}

MatMul Read(const MatMulOptions& options, const SafetensorsFile& file, Notes& notes) {
  for (const TensorEntry& entry : file.entries()) {
    if (entry.name != "a" && entry.name != "b" && entry.name != "c") {
      throw InputError(Printable(entry.name), "a tensor", "none but a, b and c");
    }
  }
  const TensorEntry *a = file.Find("a"), *b = file.Find("b"), *c = file.Find("c");
  if (a == nullptr) throw InputError("a", "no tensor", "one of shape [G, M, K]");
  if (b == nullptr) throw InputError("b", "no tensor", "one of shape [G, K, N]");
  const auto [G, M, K] = Sizes(*a);
  const int64_t N = Sizes(*b)[2];
  WantShape(*b, {G, K, N}, "as a says");
  WantDType(*b, a->dtype, ", as a");
  if (c != nullptr) {
    WantShape(*c, {G, M, N}, "as a and b say");
    WantDType(*c, DType::kF32, "");
  } else {
    notes.push_back("c: absent, +0");
  }
  MatMul product;
  product.model = &ModelFor(options, CodesFor(options.unit, a->dtype, notes));
  product.result = &product.model->f32;
  product.G = G;
  product.M = M;
  product.K = K;
  product.N = N;
  product.a = a->data;
  product.b = b->data;
  product.c = c == nullptr ? nullptr : c->data;
  return product;
}

void ChooseResult(const MatMulOptions& options, MatMul& product) {
  const Model& model = *product.model;
  if (options.result == "f16") {
    if (!model.f16) {
      throw InputError("--out", "f16",
                       fmt::format("f32, all that {} gives of {}", model.unit, model.input));
    }
    product.result = &*model.f16;
  }
  const int64_t groups = matrix_unit::Groups(model, product.K);
  if (options.split_k < 1 || options.split_k > groups) {
    throw InputError(
        "--split-k", fmt::format("{}", options.split_k),
        fmt::format("1..{}: K = {} is so many groups of {}", groups, product.K, model.products));
  }
  product.slices = options.split_k;
}

// d and where it is undetermined, both [G, M, N].
struct Answer {
  std::vector<std::byte> d, undetermined;
  int64_t count = 0;  // of undetermined ones
};

Answer Compute(const MatMul& product, size_t width_bytes, const simd::EngineOptions& options) {
  int64_t elements = 0, bytes = 0;
  if (__builtin_mul_overflow(product.M, product.N, &elements) ||
      __builtin_mul_overflow(elements, product.G, &elements) ||
      __builtin_mul_overflow(elements, static_cast<int64_t>(width_bytes), &bytes)) {
    throw InputError("d", "more than 2^63 bytes", "a result that fits into memory");
  }
  Answer answer{std::vector<std::byte>(static_cast<size_t>(bytes)),
                std::vector<std::byte>(static_cast<size_t>(elements))};
  answer.count = simd::MatMul(product, options, answer.d.data(), answer.undetermined.data());
  return answer;
}

int RunMatMul(const MatMulOptions& options) {
  const simd::EngineOptions engine = options.common.Engine("matmul");
  const SafetensorsFile file = SafetensorsFile::Open(options.in);
  Notes notes;
  MatMul product = Read(options, file, notes);
  ChooseResult(options, product);
  const Model& model = *product.model;
  const DType dtype = options.result == "f16" ? DType::kF16 : DType::kF32;
  const Answer answer = Compute(product, DTypeBytes(dtype), engine);
  const std::vector<int64_t> shape = {product.G, product.M, product.N};
  std::vector<OutTensor> tensors = {{"d", dtype, shape, answer.d}};
  if (answer.count > 0) {
    tensors.push_back({"undetermined", DType::kBool, shape, answer.undetermined});
  }
  WriteSafetensors(options.out, tensors,
                   {{"unit", std::string(model.unit)},
                    {"input", std::string(model.input)},
                    {"split_k", fmt::format("{}", product.slices)}});
  if (options.common.quiet) return kPassed;
  for (const std::string& note : notes) fmt::print("{}\n", note);
  fmt::print("{}: d {} {} as {} gives it of {}, {} products at once\n", options.out,
             DTypeName(dtype), ShapeText(shape), model.unit, model.input, model.products);
  fmt::print(
      "{} of {} elements undetermined{}\n", answer.count, answer.undetermined.size(),
      answer.count == 0 ? "" : ": public models differ there; tensor undetermined says where");
  return kPassed;
}

}  // namespace

void AddMatMul(CLI::App& app, Action& run) {
  auto options = std::make_shared<MatMulOptions>();
  CLI::App* command = app.add_subcommand(
      "matmul",
      "Predict, bit by bit, what a GPU's matrix unit answers: d = a b + c.\n\n"
      "  bitanchor matmul in.safetensors -o out.safetensors --unit hopper\n\n"
      "K longer than what the unit sums at once is chained in ascending order, starting from c.");
  command
      ->add_option("file", options->in,
                   "a [G,M,K] and b [G,K,N] of one dtype, optionally c [G,M,N] F32")
      ->required();
  command->add_option("-o,--output", options->out, "Written: d [G,M,N]")->required();
  std::string units;
  for (const std::string_view unit : matrix_unit::Units()) {
    units += (units.empty() ? "" : ", ") + std::string(unit);
  }
  command->add_option("--unit", options->unit, "One of " + units)->required();
  command->add_option("--input", options->input,
                      "What a and b are taken as, where the unit has more than one instruction for "
                      "their dtype: bf16_1k of cdna2, f32 of cdna3 (default: the first that "
                      "`bitanchor info` lists)");
  command->add_option("--out", options->result, "The unit's accumulator and result")
      ->check(CLI::IsMember({"f32", "f16"}))
      ->capture_default_str();
  command
      ->add_option("--split-k", options->split_k,
                   "Cut K into so many runs of whole groups, the first starting from c, the others "
                   "from +0; their results are added in ascending order in f32, to nearest-even")
      ->capture_default_str();
  options->common.AddTo(*command);
  command->callback([options, &run] { run = [options] { return RunMatMul(*options); }; });
}

}  // namespace bitanchor::tools
