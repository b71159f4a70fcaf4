#include "runtime/convert/source_rows.h"

#include "checkpoint/unpack.h"
#include "tensor/convert.h"

namespace galago::runtime {

SourceRows::SourceRows(const checkpoint::Checkpoint& checkpoint, const checkpoint::TensorSource& source)
    : source_(source), cols_(source.shape.elements() / source.shape[0]) {
  for (const checkpoint::RowRun& run : source.rows) {
    for (std::int64_t i = 0; i < run.count; ++i) rows_.push_back(run.first + i * run.step);
  }
  for (std::int64_t i = 0; source.rows.empty() && i < source.shape[0]; ++i) rows_.push_back(i);
  if (!source.packing) {
    parts_.push_back(checkpoint.bytes(source));
    return;
  }
  for (const checkpoint::StoredTensor& part : source.packing->parts) {
    parts_.push_back(checkpoint.files[part.file].bytes().subspan(part.entry.offset, part.entry.bytes));
  }
}

void SourceRows::read(std::int64_t index, std::span<float> to) const {
  const std::int64_t row = rows_[static_cast<std::size_t>(index)];
  if (source_.packing) return checkpoint::unpack_values(*source_.packing, parts_, row, to);
  const checkpoint::TensorEntry& entry = source_.entry;
  const auto bytes = parts_[0].subspan(entry.bytes_of(row * cols_), entry.bytes_of(cols_));
  if (entry.block) {
    decode_blocks(*entry.block, bytes, to);
  } else {
    to_f32(entry.dtype, bytes, to);
  }
}

void SourceRows::read_record(std::int64_t index, std::span<std::byte> to) const {
  checkpoint::unpack_record(*source_.packing, parts_, rows_[static_cast<std::size_t>(index)], cols_, to);
}

}  // namespace galago::runtime
