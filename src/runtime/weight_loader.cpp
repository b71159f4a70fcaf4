#include "runtime/weight_loader.h"

#include <algorithm>
#include <cstring>

#include "base/fail.h"
#include "tensor/convert.h"

namespace galago::runtime {
namespace {

// Elements converted at once; large enough that reading is sequential, small beside any model.
constexpr std::int64_t staged_elements = 256 * 1024;

std::string file_of(const checkpoint::Checkpoint& checkpoint, const checkpoint::TensorSource& source) {
  return checkpoint.files[source.file].path().string();
}

}  // namespace

DType storage_dtype(const std::optional<DType>& chosen, DType stored) {
  return chosen.value_or(stored);
}

WeightLoader::WeightLoader(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
                           memory::Arena& arena)
    : checkpoint_(checkpoint), configuration_(configuration), arena_(arena) {
  if (arena.mode() == memory::Mode::plan) return;
  for (const MappedFile& file : checkpoint.files) files_.emplace_back(file.path());
}

const checkpoint::TensorSource& WeightLoader::find(const model::NamedShape& tensor) const {
  const auto found = checkpoint_.tensors.find(tensor.name);
  if (found == checkpoint_.tensors.end()) {
    fail(ErrorCode::model, "{}: the tensor {} {} is missing; the download may be incomplete",
         checkpoint_.directory.string(), tensor.name, tensor.shape.to_string());
  }
  const checkpoint::TensorEntry& entry = found->second.entry;
  if (!(entry.shape == tensor.shape)) {
    fail(ErrorCode::model, "{}: tensor {} ({}) has shape {}, the configuration asks for {}",
         file_of(checkpoint_, found->second), entry.name, tensor.name, entry.shape.to_string(),
         tensor.shape.to_string());
  }
  if (entry.dtype != DType::f32 && entry.dtype != DType::f16 && entry.dtype != DType::bf16) {
    fail(ErrorCode::model, "{}: tensor {} is stored as {}, expected fp32, fp16 or bf16",
         file_of(checkpoint_, found->second), entry.name, name_of(entry.dtype));
  }
  return found->second;
}

Weight WeightLoader::matrix(model::Part part, std::span<const model::NamedShape> tensors) {
  const auto& chosen = part == model::Part::tower ? configuration_.tower_dtype : configuration_.decoder_dtype;
  DType dtype = storage_dtype(chosen, find(tensors.front()).entry.dtype);
  // Parts of one matrix that are stored in different types meet in FP32, which holds them all exactly.
  for (const model::NamedShape& tensor : tensors) {
    if (storage_dtype(chosen, find(tensor).entry.dtype) != dtype) dtype = DType::f32;
  }
  return place(tensors, dtype);
}

Weight WeightLoader::vector(std::span<const model::NamedShape> tensors) {
  return place(tensors, DType::f32);
}

Weight WeightLoader::constant(std::span<const float> values) {
  Weight weight{nullptr, DType::f32, {static_cast<std::int64_t>(values.size())}};
  std::byte* to = arena_.region(memory::RegionId::weights).take(weight.bytes());
  if (to != nullptr) std::memcpy(to, values.data(), values.size_bytes());
  weight.data = to;
  return weight;
}

Weight WeightLoader::place(std::span<const model::NamedShape> tensors, DType dtype) {
  const Shape& first = tensors.front().shape;
  std::int64_t rows = 0;
  for (const model::NamedShape& tensor : tensors) rows += tensor.shape[0];
  Weight weight{nullptr, dtype, {rows}};
  for (std::size_t i = 1; i < first.rank(); ++i) weight.shape.append(first[i]);

  std::byte* to = arena_.region(memory::RegionId::weights).take(weight.bytes());
  weight.data = to;
  for (const model::NamedShape& tensor : tensors) {
    read(find(tensor), dtype, to);
    if (to != nullptr) to += static_cast<Bytes>(tensor.shape.elements()) * size_of(dtype);
  }
  return weight;
}

void WeightLoader::read(const checkpoint::TensorSource& source, DType dtype, std::byte* to) {
  const checkpoint::TensorEntry& entry = source.entry;
  const std::int64_t n = entry.shape.elements();
  if (entry.dtype == dtype) {
    if (to != nullptr) files_[source.file].read(entry.offset, {to, entry.bytes});
    return;
  }
  const std::int64_t block = std::min(n, staged_elements);
  const memory::Scope scope(arena_.region(memory::RegionId::staging));
  auto* stored = arena_.array<std::byte>(memory::RegionId::staging,
                                         block * static_cast<std::int64_t>(size_of(entry.dtype)));
  auto* wide = arena_.array<float>(memory::RegionId::staging, block);
  if (to == nullptr) return;
  for (std::int64_t done = 0; done < n; done += block) {
    const auto count = static_cast<std::size_t>(std::min(block, n - done));
    const std::span<std::byte> part(stored, count * size_of(entry.dtype));
    files_[source.file].read(entry.offset + static_cast<Bytes>(done) * size_of(entry.dtype), part);
    to_f32(entry.dtype, part, {wide, count});
    from_f32(dtype, {wide, count}, {to + static_cast<Bytes>(done) * size_of(dtype), count * size_of(dtype)});
  }
}

}  // namespace galago::runtime
