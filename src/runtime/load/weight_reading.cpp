// How tensors come to their places: cut into pieces that threads read and convert side by side. Each piece is
// computed as it would be alone, so the bytes do not depend on the number of threads.
#include <algorithm>
#include <atomic>
#include <functional>

#include "base/fail.h"
#include "checkpoint/unpack.h"
#include "runtime/load/shape_model.h"
#include "runtime/load/weight_loader.h"
#include "tensor/convert.h"
#include "tensor/fit_groups.h"
#include "tensor/grouped.h"

namespace galago::runtime {
namespace {

constexpr std::int64_t largest_block = 256;  // elements of any block type, and all others divide it

std::int64_t columns(const checkpoint::TensorSource& source) {
  return source.shape.elements() / source.shape[0];
}

void widen(const checkpoint::TensorEntry& entry, std::span<const std::byte> stored, std::span<float> to) {
  if (entry.block) {
    decode_blocks(*entry.block, stored, to);
  } else {
    to_f32(entry.dtype, stored, to);
  }
}

bool holds(const Grouped& format, BlockType type) {
  return join(groups_of(type), format) == format;
}

}  // namespace

WeightLoader::Cutting WeightLoader::cut(std::int64_t n_units, std::int64_t unit_elements,
                                        Bytes unit_bytes) const {
  std::int64_t most = staged_elements / unit_elements;
  if (delivery_) {  // what is copied at once is shared by all threads
    const Bytes part = delivery_->most() / static_cast<Bytes>(threads_);
    most = std::min(most, static_cast<std::int64_t>(part / unit_bytes));
  }
  most = std::clamp<std::int64_t>(most, 1, n_units);
  return {unit_elements, unit_bytes, most, std::min<std::int64_t>(threads_, (n_units + most - 1) / most)};
}

WeightLoader::Cutting WeightLoader::cut_rows(const checkpoint::TensorSource& source, Bytes row_bytes) const {
  return cut(source.shape[0], columns(source), row_bytes);
}

WeightLoader::Cutting WeightLoader::cut_elements(std::int64_t count, Bytes element_bytes) const {
  Cutting cutting = cut(count, 1, element_bytes);
  if (cutting.most < count)
    cutting.most = std::max(cutting.most - cutting.most % largest_block, largest_block);
  return cutting;
}

std::vector<WeightLoader::Piece> WeightLoader::pieces_of(const checkpoint::TensorSource& source,
                                                         const Cutting& cutting) {
  const checkpoint::RowRun whole{0, source.shape[0]};
  const std::span<const checkpoint::RowRun> runs =
      source.rows.empty() ? std::span(&whole, 1) : std::span<const checkpoint::RowRun>(source.rows);
  const std::int64_t units_of_row = columns(source) / cutting.elements;
  std::vector<Piece> pieces;
  std::int64_t at = 0;
  for (const checkpoint::RowRun& run : runs) {
    // Neighbouring rows are read at once, others one by one.
    const std::int64_t at_once = run.step == 1 ? run.count : 1;
    for (std::int64_t row = 0; row < run.count; row += at_once) {
      const std::int64_t first = (run.first + row * run.step) * units_of_row;
      const std::int64_t n_units = at_once * units_of_row;
      for (std::int64_t unit = 0; unit < n_units; unit += pieces.back().count) {
        pieces.push_back({first + unit, at + unit, std::min(cutting.most, n_units - unit)});
      }
      at += n_units;
    }
  }
  return pieces;
}

void WeightLoader::for_pieces(const checkpoint::TensorSource& source, const Cutting& cutting, WeightSink& to,
                              const Convert& convert) {
  const std::vector<Piece> pieces = pieces_of(source, cutting);
  const auto bytes_of = [&](std::int64_t units) { return static_cast<Bytes>(units) * cutting.unit_bytes; };
  std::size_t begin = 0;
  while (begin < pieces.size()) {
    // As many as the sink has room for at once.
    const std::int64_t first = pieces[begin].at;
    std::int64_t n_units = pieces[begin].count;
    std::size_t end = begin + 1;
    for (; end < pieces.size() && bytes_of(n_units + pieces[end].count) <= to.most(); ++end) {
      n_units += pieces[end].count;
    }
    std::byte* const place = to.next(bytes_of(n_units));
    std::atomic<std::size_t> next{begin};
    pool_.parallel_for(cutting.lanes, [&](std::int64_t lane, int /*thread*/) {
      for (std::size_t i = next++; i < end; i = next++) {
        convert(pieces[i], lane, {place + bytes_of(pieces[i].at - first), bytes_of(pieces[i].count)});
      }
    });
    begin = end;
  }
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
  const checkpoint::TensorEntry& entry = source.entry;
  const Cutting cutting = cut_elements(source.shape.elements(), size_of(dtype));
  const bool as_stored = !entry.block && entry.dtype == dtype;
  // The same bytes are staged whatever the rows, so the plan needs no look at them.
  const memory::Scope scope(staging_);
  const auto stored_bytes = static_cast<std::int64_t>(entry.bytes_of(cutting.most));
  std::byte* const stored = as_stored ? nullptr : staging_.array<std::byte>(cutting.lanes * stored_bytes);
  float* const wide = as_stored ? nullptr : staging_.array<float>(cutting.lanes * cutting.most);
  if (to == nullptr) return;
  for_pieces(
      source, cutting, *to, [&](const Piece& piece, std::int64_t lane, const std::span<std::byte> place) {
        if (as_stored) return read_stored(source, piece.stored, place);
        const std::span<std::byte> part(stored + lane * stored_bytes, entry.bytes_of(piece.count));
        const std::span<float> values(wide + lane * cutting.most, static_cast<std::size_t>(piece.count));
        read_stored(source, piece.stored, part);
        widen(entry, part, values);
        from_f32(dtype, values, place);
      });
}

void WeightLoader::round_row(const checkpoint::TensorSource& source, const Grouped& format,
                             std::span<const float> row, std::span<std::byte> to) const {
  if (encode_weights(format, row, to)) return;
  fail(ErrorCode::model, "{}: tensor {} holds values that {} cannot hold: not finite, or too large",
       checkpoint_.files[source.file].path().string(), source.entry.name, describe(format));
}

void WeightLoader::read_rounded(const checkpoint::TensorSource& source, const Grouped& format,
                                WeightSink* to) {
  const std::int64_t cols = columns(source);
  const Bytes row_bytes = WeightFormat(format).row_bytes(cols);
  const Cutting cutting = cut_rows(source, row_bytes);
  const memory::Scope scope(staging_);
  const auto stored_bytes = static_cast<std::int64_t>(source.entry.bytes_of(cutting.most * cols));
  std::byte* const stored = staging_.array<std::byte>(cutting.lanes * stored_bytes);
  float* const wide = staging_.array<float>(cutting.lanes * cutting.most * cols);
  if (to == nullptr) return;
  for_pieces(
      source, cutting, *to, [&](const Piece& piece, std::int64_t lane, const std::span<std::byte> place) {
        const std::int64_t count = piece.count * cols;
        const std::span<std::byte> part(stored + lane * stored_bytes, source.entry.bytes_of(count));
        const std::span<float> values(wide + lane * cutting.most * cols, static_cast<std::size_t>(count));
        read_stored(source, piece.stored * cols, part);
        widen(source.entry, part, values);
        for (std::size_t i = 0; i < static_cast<std::size_t>(piece.count); ++i) {
          round_row(source, format,
                    values.subspan(i * static_cast<std::size_t>(cols), static_cast<std::size_t>(cols)),
                    place.subspan(i * row_bytes, row_bytes));
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
  const Bytes stored_row_bytes = source.entry.bytes_of(cols);
  const Cutting cutting = cut_rows(source, row_bytes);
  const memory::Scope scope(staging_);
  const auto stored_bytes = static_cast<std::int64_t>(stored_row_bytes) * cutting.most;
  std::byte* const stored = staging_.array<std::byte>(cutting.lanes * stored_bytes);
  std::byte* const records =
      staging_.array<std::byte>(cutting.lanes * static_cast<std::int64_t>(record_bytes));
  if (to == nullptr) return;
  for_pieces(source, cutting, *to,
             [&](const Piece& piece, std::int64_t lane, const std::span<std::byte> place) {
               const auto count = static_cast<std::size_t>(piece.count);
               const std::span<std::byte> part(stored + lane * stored_bytes, count * stored_row_bytes);
               const std::span<std::byte> record(records + lane * static_cast<std::int64_t>(record_bytes),
                                                 record_bytes);
               read_stored(source, piece.stored * cols, part);
               for (std::size_t i = 0; i < count; ++i) {
                 const std::span<const std::byte> row = part.subspan(i * stored_row_bytes, stored_row_bytes);
                 const std::span<std::byte> to_row = place.subspan(i * row_bytes, row_bytes);
                 group_blocks(type, row, cols, format == stored_format ? to_row : record);
                 if (format != stored_format) convert_row(stored_format, record, format, cols, to_row);
               }
             });
}

std::vector<std::span<const std::byte>> WeightLoader::read_parts(const checkpoint::Packing& packing) {
  constexpr Bytes at_once = 1 << 20;
  std::vector<std::span<const std::byte>> parts;
  for (const checkpoint::StoredTensor& part : packing.parts) {
    const Bytes bytes = part.entry.bytes;
    std::byte* const staged = staging_.array<std::byte>(static_cast<std::int64_t>(bytes));
    if (!reads_) continue;
    pool_.parallel_for(
        static_cast<std::int64_t>((bytes + at_once - 1) / at_once), [&](std::int64_t item, int /*thread*/) {
          const Bytes from = static_cast<Bytes>(item) * at_once;
          files_[part.file].read(part.entry.offset + from, {staged + from, std::min(at_once, bytes - from)});
        });
    parts.emplace_back(staged, bytes);
  }
  return parts;
}

void WeightLoader::read_packed(const checkpoint::TensorSource& source, const WeightFormat& format,
                               WeightSink* to) {
  const checkpoint::Packing& packing = *source.packing;
  const std::int64_t cols = columns(source);
  const memory::Scope scope(staging_);
  const std::vector<std::span<const std::byte>> parts = read_parts(packing);
  const Bytes row_bytes = format.row_bytes(cols);
  const Cutting cutting = cut_rows(source, row_bytes);
  const Bytes record_bytes = packing.format.is_grouped() ? packing.format.row_bytes(cols) : 0;
  std::byte* const records =
      staging_.array<std::byte>(cutting.lanes * static_cast<std::int64_t>(record_bytes));
  float* const wide = staging_.array<float>(cutting.lanes * cols);
  if (to == nullptr) return;
  const bool exact = packing.format.is_grouped() && format.is_grouped() &&
                     join(packing.format.grouped(), format.grouped()) == format.grouped();
  const auto convert = [&](std::int64_t index, std::int64_t lane, std::span<std::byte> place) {
    const std::span<std::byte> record(records + lane * static_cast<std::int64_t>(record_bytes), record_bytes);
    const std::span<float> row(wide + lane * cols, static_cast<std::size_t>(cols));
    if (format == packing.format && format.is_grouped()) {
      unpack_record(packing, parts, index, cols, place);
    } else if (exact) {
      unpack_record(packing, parts, index, cols, record);
      convert_row(packing.format.grouped(), record, format.grouped(), cols, place);
    } else {
      unpack_values(packing, parts, index, row);
      if (format.is_grouped()) return round_row(source, format.grouped(), row, place);
      from_f32(format.dtype(), row, place);
    }
  };
  for_pieces(source, cutting, *to,
             [&](const Piece& piece, std::int64_t lane, const std::span<std::byte> place) {
               for (std::int64_t i = 0; i < piece.count; ++i) {
                 convert(piece.stored + i, lane, place.subspan(static_cast<Bytes>(i) * row_bytes, row_bytes));
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

}  // namespace galago::runtime
