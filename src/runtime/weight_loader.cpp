#include "runtime/weight_loader.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/fail.h"
#include "runtime/shape_model.h"
#include "tensor/convert.h"

namespace galago::runtime {
namespace {

// Elements converted at once: whole blocks of any type; large enough that reading is sequential, small beside
// any model.
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
  if (!(found->second.shape == tensor.shape)) {
    fail(ErrorCode::model, "{}: tensor {} ({}) has shape {}, the configuration asks for {}",
         file_of(checkpoint_, found->second), entry.name, tensor.name, found->second.shape.to_string(),
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
  const std::int64_t n = source.shape.elements();
  // The same bytes are staged whatever the rows, so the plan needs no look at them.
  const memory::Scope scope(arena_.region(memory::RegionId::staging));
  Staging staging;
  if (source.entry.block || source.entry.dtype != dtype) {
    staging.elements = std::min(n, staged_elements);
    staging.stored = arena_.array<std::byte>(
        memory::RegionId::staging, static_cast<std::int64_t>(source.entry.bytes_of(staging.elements)));
    staging.wide = arena_.array<float>(memory::RegionId::staging, staging.elements);
  }
  if (to == nullptr) return;
  if (source.rows.empty()) {
    read_elements(source, {0, n}, dtype, staging, to);
    return;
  }
  const std::int64_t cols = n / source.shape[0];
  for (const checkpoint::RowRun& run : source.rows) {
    // A run of neighbours is read at once, others row by row.
    const std::int64_t at_once = run.step == 1 ? run.count : 1;
    for (std::int64_t i = 0; i < run.count; i += at_once) {
      read_elements(source, {(run.first + i * run.step) * cols, at_once * cols}, dtype, staging, to);
      to += static_cast<Bytes>(at_once * cols) * size_of(dtype);
    }
  }
}

void WeightLoader::read_stored(const checkpoint::TensorSource& source, std::int64_t first,
                               std::span<std::byte> to) const {
  const checkpoint::TensorEntry& entry = source.entry;
  if (source.file == checkpoint::no_file) {
    const std::uint64_t seed = std::hash<std::string>()(entry.name) + static_cast<std::uint64_t>(first);
    invent_values(entry.shape, entry.dtype, seed, to);
  } else {
    files_[source.file].read(entry.offset + entry.bytes_of(first), to);
  }
}

void WeightLoader::read_elements(const checkpoint::TensorSource& source, Elements elements, DType dtype,
                                 const Staging& staging, std::byte* to) {
  const checkpoint::TensorEntry& entry = source.entry;
  if (staging.stored == nullptr) {
    read_stored(source, elements.first, {to, entry.bytes_of(elements.count)});
    return;
  }
  for (std::int64_t done = 0; done < elements.count; done += staging.elements) {
    const std::int64_t count = std::min(staging.elements, elements.count - done);
    const std::span<std::byte> part(staging.stored, entry.bytes_of(count));
    const std::span<float> wide(staging.wide, static_cast<std::size_t>(count));
    read_stored(source, elements.first + done, part);
    if (entry.block) {
      decode_blocks(*entry.block, part, wide);
    } else {
      to_f32(entry.dtype, part, wide);
    }
    from_f32(dtype, wide, {to + static_cast<Bytes>(done) * size_of(dtype), wide.size() * size_of(dtype)});
  }
}

}  // namespace galago::runtime
