// bitanchor matmul: what a GPU's matrix unit answers.
#include "lib/matrix_unit/matmul.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "lib/file/printable.h"
#include "lib/file/safetensors.h"
#include "lib/matrix_unit/dot_add.h"
#include "lib/matrix_unit/f64_chain.h"
#include "lib/tensor/error.h"
#include "simd/matrix_unit.h"
#include "tools/commands.h"

namespace bitanchor::tools {
namespace {

using matrix_unit::MatMul;
using matrix_unit::Model;

struct MatMulOptions {
  std::string in, out, unit, input, result = "f32";
  bool result_given = false;
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
  if (matrix_unit::TakesF64(options.unit)) known.push_back("F64 (f64)");
  if (known.empty()) {
    throw InputError("--unit", Quoted(options.unit),
                     fmt::format("one of {}", fmt::join(matrix_unit::Units(), ", ")));
  }
  const std::string want = fmt::format("what {} takes: {}", options.unit, fmt::join(known, ", "));
  const std::string got(DTypeName(dtype));
  if (options.input.empty()) throw InputError("a", got, want);
  throw InputError("--input", Quoted(options.input) + " of " + got, want);
}

// The three tensors of the file, their shapes and dtypes fitting each other.
struct Operands {
  int64_t G, M, K, N;
  DType dtype;  // of a and b
  const std::byte *a, *b, *c;
};

Operands Read(const SafetensorsFile& file, Notes& notes) {
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
    if (a->dtype == DType::kF64) {
      WantDType(*c, DType::kF64, ", as a");
    } else {
      WantDType(*c, DType::kF32, "");
    }
  } else {
    notes.push_back("c: absent, +0");
  }
  return {G, M, K, N, a->dtype, a->data, b->data, c == nullptr ? nullptr : c->data};
}

// The number of bytes of d, if memory can be that large.
size_t ResultBytes(const Operands& operands, DType dtype) {
  int64_t bytes = static_cast<int64_t>(DTypeBytes(dtype));
  for (const int64_t size : {operands.G, operands.M, operands.N}) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      throw InputError("d", "more than 2^63 bytes", "a result that fits into memory");
    }
  }
  return static_cast<size_t>(bytes);
}

void RequireSlices(int64_t slices, int64_t groups, int64_t K, int products) {
  if (slices >= 1 && slices <= groups) return;
  throw InputError("--split-k", fmt::format("{}", slices),
                   fmt::format("1..{}: K = {} is so many groups of {}", groups, K, products));
}

MatMul ProductOf(const MatMulOptions& options, const Operands& operands, Notes& notes) {
  MatMul product;
  product.model = &ModelFor(options, CodesFor(options.unit, operands.dtype, notes));
  product.result = &product.model->f32;
  product.G = operands.G;
  product.M = operands.M;
  product.K = operands.K;
  product.N = operands.N;
  product.a = operands.a;
  product.b = operands.b;
  product.c = operands.c;
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
  RequireSlices(options.split_k, matrix_unit::Groups(model, product.K), product.K, model.products);
  product.slices = options.split_k;
}

void WriteAnswer(const MatMulOptions& options, const std::vector<OutTensor>& tensors,
                 std::string_view input) {
  WriteSafetensors(options.out, tensors,
                   {{"unit", options.unit},
                    {"input", std::string(input)},
                    {"split_k", fmt::format("{}", options.split_k)}});
}

void SayWhat(const MatMulOptions& options, const Notes& notes, const OutTensor& d,
             std::string_view input, int products) {
  for (const std::string& note : notes) fmt::print("{}\n", note);
  fmt::print("{}: d {} {} as {} gives it of {}, {} at once\n", options.out, DTypeName(d.dtype),
             ShapeText(d.shape), options.unit, input,
             products == 1 ? "1 product" : fmt::format("{} products", products));
}

// Of F64: an FMA chain, all of which is determined.
int RunF64(const MatMulOptions& options, const Operands& operands, const Notes& notes,
           const simd::EngineOptions& engine) {
  if (!matrix_unit::TakesF64(options.unit)) ModelFor(options, DType::kF64);  // says what is wrong
  if (!options.input.empty() && options.input != "f64") {
    throw InputError("--input", Quoted(options.input) + " of F64", "f64");
  }
  if (options.result_given) {
    throw InputError("--out", options.result, "no --out with F64, whose results are F64");
  }
  RequireSlices(options.split_k, operands.K, operands.K, 1);
  std::vector<std::byte> d(ResultBytes(operands, DType::kF64));
  simd::F64MatMul({operands.G, operands.M, operands.K, operands.N, operands.a, operands.b,
                   operands.c, options.split_k},
                  engine, d.data());
  const OutTensor out = {"d", DType::kF64, {operands.G, operands.M, operands.N}, d};
  WriteAnswer(options, {out}, "f64");
  if (!options.common.quiet) SayWhat(options, notes, out, "f64", 1);
  return kPassed;
}

int RunMatMul(const MatMulOptions& options) {
  const simd::EngineOptions engine = options.common.Engine("matmul");
  const SafetensorsFile file = SafetensorsFile::Open(options.in);
  Notes notes;
  const Operands operands = Read(file, notes);
  if (operands.dtype == DType::kF64) return RunF64(options, operands, notes, engine);
  MatMul product = ProductOf(options, operands, notes);
  ChooseResult(options, product);
  const Model& model = *product.model;
  const DType dtype = options.result == "f16" ? DType::kF16 : DType::kF32;
  std::vector<std::byte> d(ResultBytes(operands, dtype));
  std::vector<std::byte> undetermined(d.size() / DTypeBytes(dtype));
  const int64_t count = simd::MatMul(product, engine, d.data(), undetermined.data());
  const std::vector<int64_t> shape = {product.G, product.M, product.N};
  std::vector<OutTensor> tensors = {{"d", dtype, shape, d}};
  if (count > 0) tensors.push_back({"undetermined", DType::kBool, shape, undetermined});
  WriteAnswer(options, tensors, model.input);
  if (options.common.quiet) return kPassed;
  SayWhat(options, notes, tensors[0], model.input, model.products);
  fmt::print("{} of {} elements undetermined{}\n", count, undetermined.size(),
             count == 0 ? "" : ": public models differ there; tensor undetermined says where");
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
      ->add_option(
          "file", options->in,
          "a [G,M,K] and b [G,K,N] of one dtype, optionally c [G,M,N] F32 (F64 where a is)")
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
  CLI::Option* const out =
      command
          ->add_option("--out", options->result,
                       "The unit's accumulator and result (of F64 inputs: F64, without this)")
          ->check(CLI::IsMember({"f32", "f16"}))
          ->capture_default_str();
  command
      ->add_option("--split-k", options->split_k,
                   "Cut K into so many runs of whole groups, the first starting from c, the others "
                   "from +0; their results are added in ascending order in f32, to nearest-even")
      ->capture_default_str();
  options->common.AddTo(*command);
  command->callback([options, out, &run] {
    options->result_given = out->count() > 0;
    run = [options] { return RunMatMul(*options); };
  });
}

}  // namespace bitanchor::tools
