#include "runtime/load/weight_loader.h"

#include "base/fail.h"
#include "tensor/grouped.h"

namespace galago::runtime {
namespace {

std::string file_of(const checkpoint::Checkpoint& checkpoint, const checkpoint::TensorSource& source) {
  return checkpoint.files[source.file].path().string();
}

/// Some towers store vectors and tables with further dimensions of one before them.
bool is_shape(const Shape& stored, const Shape& asked) {
  const std::size_t extra = stored.rank() < asked.rank() ? 0 : stored.rank() - asked.rank();
  for (std::size_t i = 0; i < extra; ++i) {
    if (stored[i] != 1) return false;
  }
  Shape rest;
  for (std::size_t i = extra; i < stored.rank(); ++i) rest.append(stored[i]);
  return rest == asked;
}

}  // namespace

WeightFormat storage_format(const std::optional<WeightFormat>& chosen,
                            const checkpoint::TensorSource& source) {
  const WeightFormat stored = source.format();
  if (!chosen) return stored;
  if (!chosen->is_grouped()) return *chosen;
  if (stored.is_grouped() && stored.grouped().bits <= chosen->grouped().bits) return stored;
  return source.shape.rank() == 2 ? *chosen : stored;
}

WeightFormat common_format(const WeightFormat& a, const WeightFormat& b) {
  if (a == b) return a;
  if (a.is_grouped() && b.is_grouped()) {
    if (const auto joint = join(a.grouped(), b.grouped())) return *joint;
  }
  return DType::f32;
}

WeightLoader::WeightLoader(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
                           memory::Arena& arena, Contents contents)
    : WeightLoader(checkpoint, configuration,
                   {arena.region(memory::RegionId::weights), arena.region(memory::RegionId::staging),
                    configuration.host_threads, contents}) {}

WeightLoader::WeightLoader(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
                           const Destination& destination)
    : checkpoint_(checkpoint),
      configuration_(configuration),
      to_(&destination.weights),
      staging_(destination.staging),
      threads_(destination.threads),
      reads_(to_->mode() == memory::Mode::run && destination.contents == Contents::read),
      pool_(reads_ ? threads_ : 1) {
  if (to_->device() != nullptr) delivery_.emplace(*to_->device(), staging_);
  if (!reads_) return;
  for (const MappedFile& file : checkpoint.files) files_.emplace_back(file.path());
}

const checkpoint::TensorSource& WeightLoader::find(const model::NamedShape& tensor) const {
  const auto found = checkpoint_.tensors.find(tensor.name);
  if (found == checkpoint_.tensors.end()) {
    fail(ErrorCode::model, "{}: the tensor {} {} is missing; the download may be incomplete",
         checkpoint_.directory.string(), tensor.name, tensor.shape.to_string());
  }
  const checkpoint::TensorEntry& entry = found->second.entry;
  if (!is_shape(found->second.shape, tensor.shape)) {
    fail(ErrorCode::model, "{}: tensor {} ({}) has shape {}, the configuration asks for {}",
         file_of(checkpoint_, found->second), entry.name, tensor.name, found->second.shape.to_string(),
         tensor.shape.to_string());
  }
  if (!found->second.packing && entry.dtype != DType::f32 && entry.dtype != DType::f16 &&
      entry.dtype != DType::bf16) {
    fail(ErrorCode::model, "{}: tensor {} is stored as {}, expected fp32, fp16 or bf16",
         file_of(checkpoint_, found->second), entry.name, name_of(entry.dtype));
  }
  return found->second;
}

Weight WeightLoader::matrix(model::Part part, std::span<const model::NamedShape> tensors) {
  const std::optional<WeightFormat>& chosen = format_of_part(configuration_, part);
  WeightFormat format = storage_format(chosen, find(tensors.front()));
  for (const model::NamedShape& tensor : tensors) {
    format = common_format(format, storage_format(chosen, find(tensor)));
  }
  return place(tensors, format);
}

Weight WeightLoader::vector(std::span<const model::NamedShape> tensors) {
  return place(tensors, DType::f32);
}

template <class Write>
void WeightLoader::write(std::byte* place, Write&& write) {
  if (!reads_) return write(static_cast<WeightSink*>(nullptr));
  if (!delivery_) {
    InPlace in_place(place);
    return write(static_cast<WeightSink*>(&in_place));
  }
  delivery_->turn_to(place);
  write(static_cast<WeightSink*>(&*delivery_));
  delivery_->copy();
}

Weight WeightLoader::constant(std::span<const float> values) {
  Weight weight{nullptr, DType::f32, {static_cast<std::int64_t>(values.size())}};
  std::byte* const place = to_->take(weight.bytes());
  weight.data = place;
  write(place, [&](WeightSink* to) {
    if (to != nullptr) to->put(std::as_bytes(values));
  });
  return weight;
}

Weight WeightLoader::derived(const model::NamedShape& tensor, const Shape& shape, const Make& make) {
  Weight weight{nullptr, DType::f32, shape};
  std::byte* const place = to_->take(weight.bytes());
  weight.data = place;
  const memory::Scope scope(staging_);
  float* const made = delivery_ ? staging_.array<float>(shape.elements()) : nullptr;
  auto* const from = staging_.array<float>(tensor.shape.elements());
  read_floats(find(tensor), reads_ ? from : nullptr);
  write(place, [&](WeightSink* to) {
    if (to == nullptr) return;
    auto* const at = made != nullptr ? made : reinterpret_cast<float*>(to->next(weight.bytes()));
    const std::span<float> values(at, static_cast<std::size_t>(shape.elements()));
    make({from, static_cast<std::size_t>(tensor.shape.elements())}, values);
    if (made != nullptr) to->put(std::as_bytes(values));
  });
  return weight;
}

Weight WeightLoader::place(std::span<const model::NamedShape> tensors, const WeightFormat& format) {
  const Shape& first = tensors.front().shape;
  std::int64_t rows = 0;
  for (const model::NamedShape& tensor : tensors) rows += tensor.shape[0];
  Weight weight{nullptr, format, {rows}};
  for (std::size_t i = 1; i < first.rank(); ++i) weight.shape.append(first[i]);

  for (const model::NamedShape& tensor : tensors) check_rows(tensor, weight);
  std::byte* const place = to_->take(weight.bytes());
  weight.data = place;
  write(place, [&](WeightSink* to) {
    for (const model::NamedShape& tensor : tensors) read(tensor, format, to);
  });
  return weight;
}

void WeightLoader::check_rows(const model::NamedShape& tensor, const Weight& weight) const {
  if (!delivery_) return;
  const checkpoint::TensorSource& source = find(tensor);
  const bool in_parts =
      !weight.format.is_grouped() && !source.packing && !checkpoint_.merges.contains(tensor.name);
  if (in_parts) return;
  const Bytes row_bytes = weight.format.row_bytes(tensor.shape.elements() / tensor.shape[0]);
  if (row_bytes <= delivery_->most()) return;
  fail(ErrorCode::usage,
       "{}: rows of tensor {} take {} bytes in {}, at most {} are copied to a device at once; choose another "
       "precision, or --device cpu",
       checkpoint_.directory.string(), source.entry.name, row_bytes, describe(weight.format),
       delivery_->most());
}

}  // namespace galago::runtime
