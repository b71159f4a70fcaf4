#include "runtime/weight_loader.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/fail.h"
#include "base/topology.h"
#include "checkpoint/unpack.h"
#include "runtime/shape_model.h"
#include "tensor/convert.h"
#include "tensor/fit_groups.h"
#include "tensor/grouped.h"

namespace galago::runtime {
namespace {

std::string file_of(const checkpoint::Checkpoint& checkpoint, const checkpoint::TensorSource& source) {
  return checkpoint.files[source.file].path().string();
}

void widen(const checkpoint::TensorEntry& entry, std::span<const std::byte> stored, std::span<float> to) {
  if (entry.block) {
    decode_blocks(*entry.block, stored, to);
  } else {
    to_f32(entry.dtype, stored, to);
  }
}

/// Calls use(first, count) for runs of at most `batch` neighbouring rows of the stored matrix, in the order
/// in which the canonical tensor has them.
template <class Use>
void for_rows(const checkpoint::TensorSource& source, std::int64_t batch, Use&& use) {
  const checkpoint::RowRun whole{0, source.shape[0]};
  const std::span<const checkpoint::RowRun> runs =
      source.rows.empty() ? std::span(&whole, 1) : std::span<const checkpoint::RowRun>(source.rows);
  for (const checkpoint::RowRun& run : runs) {
    const std::int64_t most = run.step == 1 ? batch : 1;
    for (std::int64_t i = 0; i < run.count; i += most) {
      use(run.first + i * run.step, std::min(most, run.count - i));
    }
  }
}

bool holds(const Grouped& format, BlockType type) {
  return join(groups_of(type), format) == format;
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
                           memory::Arena& arena)
    : WeightLoader(checkpoint, configuration,
                   {arena.region(memory::RegionId::weights), arena.region(memory::RegionId::staging),
                    usable_cores()}) {}

WeightLoader::WeightLoader(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
                           const Destination& destination)
    : checkpoint_(checkpoint),
      configuration_(configuration),
      to_(&destination.weights),
      staging_(destination.staging),
      merging_threads_(destination.merging_threads) {
  if (to_->device() != nullptr) delivery_.emplace(*to_->device(), staging_);
  if (to_->mode() == memory::Mode::plan) return;
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
  if (place == nullptr) return write(static_cast<WeightSink*>(nullptr));
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
  read_floats(find(tensor), from);
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
  const checkpoint::TensorSource& source = find(tensor);
  const bool in_parts =
      !weight.format.is_grouped() && !source.packing && !checkpoint_.merges.contains(tensor.name);
  if (!delivery_ || in_parts) return;
  const Bytes row_bytes = weight.format.row_bytes(tensor.shape.elements() / tensor.shape[0]);
  if (row_bytes <= delivery_->most()) return;
  fail(ErrorCode::usage,
       "{}: rows of tensor {} take {} bytes in {}, at most {} are copied to a device at once; choose another "
       "precision, or --device cpu",
       checkpoint_.directory.string(), source.entry.name, row_bytes, describe(weight.format),
       delivery_->most());
}

void WeightLoader::read(const model::NamedShape& tensor, const WeightFormat& format, WeightSink* to) {
  if (checkpoint_.merges.contains(tensor.name)) {
    read_merged(tensor, format, to);
  } else {
    read(find(tensor), format, to);
  }
}

void WeightLoader::read(const checkpoint::TensorSource& source, const WeightFormat& format, WeightSink* to) {
  if (source.packing) {
    read_packed(source, format, to);
  } else if (source.entry.block && format.is_grouped() && holds(format.grouped(), *source.entry.block)) {
    read_blocks(source, format.grouped(), to);
  } else if (format.is_grouped()) {
    read_rounded(source, format.grouped(), to);
  } else {
    read_plain(source, format.dtype(), to);
  }
}

void WeightLoader::read_floats(const checkpoint::TensorSource& source, float* to) {
  InPlace in_place(to);
  read(source, DType::f32, to == nullptr ? nullptr : &in_place);
}

void WeightLoader::read_plain(const checkpoint::TensorSource& source, DType dtype, WeightSink* to) {
  const std::int64_t n = source.shape.elements();
  // The same bytes are staged whatever the rows, so the plan needs no look at them.
  const memory::Scope scope(staging_);
  Staging staging;
  if (source.entry.block || source.entry.dtype != dtype) {
    staging.elements = std::min(n, staged_elements);
    staging.stored =
        staging_.array<std::byte>(static_cast<std::int64_t>(source.entry.bytes_of(staging.elements)));
    staging.wide = staging_.array<float>(staging.elements);
  }
  if (to == nullptr) return;
  if (source.rows.empty()) {
    read_elements(source, {0, n}, dtype, staging, *to);
    return;
  }
  const std::int64_t cols = n / source.shape[0];
  for (const checkpoint::RowRun& run : source.rows) {
    // A run of neighbours is read at once, others row by row.
    const std::int64_t at_once = run.step == 1 ? run.count : 1;
    for (std::int64_t i = 0; i < run.count; i += at_once) {
      read_elements(source, {(run.first + i * run.step) * cols, at_once * cols}, dtype, staging, *to);
    }
  }
}

void WeightLoader::round_row(const checkpoint::TensorSource& source, const Grouped& format,
                             std::span<const float> row, std::span<std::byte> to) const {
  if (encode_weights(format, row, to)) return;
  fail(ErrorCode::model, "{}: tensor {} holds values that {} cannot hold: not finite, or too large",
       file_of(checkpoint_, source), source.entry.name, describe(format));
}

void WeightLoader::read_rounded(const checkpoint::TensorSource& source, const Grouped& format,
                                WeightSink* to) {
  const std::int64_t cols = source.shape.elements() / source.shape[0];
  const Bytes row_bytes = WeightFormat(format).row_bytes(cols);
  const std::int64_t batch = std::clamp<std::int64_t>(staged_elements / cols, 1, source.shape[0]);
  const memory::Scope scope(staging_);
  std::byte* stored =
      staging_.array<std::byte>(static_cast<std::int64_t>(source.entry.bytes_of(batch * cols)));
  float* wide = staging_.array<float>(batch * cols);
  if (to == nullptr) return;
  for_rows(source, batch, [&](std::int64_t first, std::int64_t count) {
    const std::span<std::byte> part(stored, source.entry.bytes_of(count * cols));
    read_stored(source, first * cols, part);
    widen(source.entry, part, {wide, static_cast<std::size_t>(count * cols)});
    for (std::int64_t i = 0; i < count; ++i) {
      round_row(source, format, {wide + i * cols, static_cast<std::size_t>(cols)},
                {to->next(row_bytes), row_bytes});
    }
  });
}

void WeightLoader::read_blocks(const checkpoint::TensorSource& source, const Grouped& format,
                               WeightSink* to) {
  const BlockType type = *source.entry.block;
  const Grouped stored_format = groups_of(type);
  const std::int64_t cols = source.shape[1];
  const Bytes row_bytes = WeightFormat(format).row_bytes(cols);
  const Bytes record_bytes = WeightFormat(stored_format).row_bytes(cols);
  const auto stored_bytes = static_cast<std::int64_t>(source.entry.bytes_of(cols));
  const std::int64_t batch = std::clamp<std::int64_t>(staged_elements / cols, 1, source.shape[0]);
  const memory::Scope scope(staging_);
  std::byte* stored = staging_.array<std::byte>(batch * stored_bytes);
  std::byte* record = staging_.array<std::byte>(static_cast<std::int64_t>(record_bytes));
  if (to == nullptr) return;
  for_rows(source, batch, [&](std::int64_t first, std::int64_t count) {
    read_stored(source, first * cols, {stored, static_cast<std::size_t>(count * stored_bytes)});
    for (std::int64_t i = 0; i < count; ++i) {
      const std::span<std::byte> place(to->next(row_bytes), row_bytes);
      const std::span<const std::byte> row(stored + i * stored_bytes, static_cast<std::size_t>(stored_bytes));
      if (format == stored_format) {
        group_blocks(type, row, cols, place);
      } else {
        group_blocks(type, row, cols, {record, record_bytes});
        convert_row(stored_format, {record, record_bytes}, format, cols, place);
      }
    }
  });
}

void WeightLoader::read_packed(const checkpoint::TensorSource& source, const WeightFormat& format,
                               WeightSink* to) {
  const checkpoint::Packing& packing = *source.packing;
  const std::int64_t cols = source.shape.elements() / source.shape[0];
  const memory::Scope scope(staging_);
  std::vector<std::span<const std::byte>> parts;
  for (const checkpoint::StoredTensor& part : packing.parts) {
    const Bytes bytes = part.entry.bytes;
    std::byte* staged = staging_.array<std::byte>(static_cast<std::int64_t>(bytes));
    if (staged == nullptr) continue;
    files_[part.file].read(part.entry.offset, {staged, bytes});
    parts.emplace_back(staged, bytes);
  }
  const Bytes stored_bytes = packing.format.is_grouped() ? packing.format.row_bytes(cols) : 0;
  std::byte* record = staging_.array<std::byte>(static_cast<std::int64_t>(stored_bytes));
  float* wide = staging_.array<float>(cols);
  if (to == nullptr) return;
  const std::span<float> row(wide, static_cast<std::size_t>(cols));
  const Bytes row_bytes = format.row_bytes(cols);
  const bool exact = packing.format.is_grouped() && format.is_grouped() &&
                     join(packing.format.grouped(), format.grouped()) == format.grouped();
  for_rows(source, 1, [&](std::int64_t index, std::int64_t) {
    const std::span<std::byte> place(to->next(row_bytes), row_bytes);
    if (format == packing.format && format.is_grouped()) {
      unpack_record(packing, parts, index, cols, place);
    } else if (exact) {
      unpack_record(packing, parts, index, cols, {record, stored_bytes});
      convert_row(packing.format.grouped(), {record, stored_bytes}, format.grouped(), cols, place);
    } else {
      unpack_values(packing, parts, index, row);
      if (format.is_grouped()) {
        round_row(source, format.grouped(), row, place);
      } else {
        from_f32(format.dtype(), row, place);
      }
    }
  });
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
                                 const Staging& staging, WeightSink& to) {
  const checkpoint::TensorEntry& entry = source.entry;
  const bool as_stored = staging.stored == nullptr;
  const auto most = static_cast<std::int64_t>(std::min<Bytes>(to.most() / size_of(dtype), 1ULL << 62));
  const std::int64_t at_once = as_stored ? most : std::min(most, staging.elements);
  for (std::int64_t done = 0; done < elements.count; done += at_once) {
    const std::int64_t count = std::min(at_once, elements.count - done);
    const Bytes bytes = static_cast<Bytes>(count) * size_of(dtype);
    const std::span<std::byte> place(to.next(bytes), bytes);
    if (as_stored) {
      read_stored(source, elements.first + done, place);
      continue;
    }
    const std::span<std::byte> part(staging.stored, entry.bytes_of(count));
    const std::span<float> wide(staging.wide, static_cast<std::size_t>(count));
    read_stored(source, elements.first + done, part);
    widen(entry, part, wide);
    from_f32(dtype, wide, place);
  }
}

}  // namespace galago::runtime
