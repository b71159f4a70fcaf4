// Finding the tensors that belong together and checking that they fit: nothing is unpacked here.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include <fmt/ranges.h>

#include "base/fail.h"
#include "base/json.h"
#include "base/printable.h"
#include "checkpoint/packing.h"
#include "checkpoint/quantisation.h"

namespace galago::checkpoint {
namespace {

using Kind = Packing::Kind;

/// The largest group of ours that `size` elements are whole ones of; 0 if there is none.
std::int32_t group_within(std::int64_t size) {
  for (const std::int32_t group : {128, 64, 32, 16}) {
    if (size % group == 0) return group;
  }
  return 0;
}

/// The format that these numbers describe; none where there is no such.
std::optional<Grouped> grouped_of(const std::array<std::int32_t, 6>& numbers) {
  const auto [cols, bits, group, scale, offset, codebook] = numbers;
  const bool known = cols > 0 && (bits == 4 || bits == 8) && (scale == 16 || scale == 32) && offset >= 0 &&
                     offset <= 2 && codebook >= 0 && codebook <= 2 &&
                     (codebook == 0 || (bits == 4 && offset == 0));
  if (!known || (group != 16 && group != 32 && group != 64 && group != 128)) return std::nullopt;
  return Grouped{static_cast<std::uint8_t>(bits), group, scale == 16 ? DType::f16 : DType::f32,
                 static_cast<GroupOffset>(offset), static_cast<Codebook>(codebook)};
}

class Joiner {
 public:
  Joiner(std::vector<TensorSource> stored, const Quantisation& quantisation,
         const std::vector<MappedFile>& files)
      : stored_(std::move(stored)), quantisation_(quantisation), files_(files) {
    for (const TensorSource& source : stored_) by_name_.emplace(source.entry.name, &source);
  }

  JoinedTensors join() {
    JoinedTensors joined;
    for (const TensorSource& source : stored_) {
      if (auto matrix = matrix_of(source)) joined.tensors.push_back(std::move(*matrix));
    }
    for (TensorSource& source : stored_) {
      const std::string& name = source.entry.name;
      if (taken_.count(name) == 0) {
        joined.tensors.push_back(std::move(source));
      } else if (packed_.count(name) == 0) {
        joined.descriptions.push_back(std::move(source.entry));
      }
    }
    return joined;
  }

 private:
  template <class... Args>
  [[noreturn]] void refuse(const TensorSource& at, fmt::format_string<Args...> what, Args&&... args) const {
    fail(ErrorCode::model, "{}: tensor {}: {}", files_[at.file].path().string(), printable(at.entry.name),
         fmt::format(what, std::forward<Args>(args)...));
  }

  const TensorSource* find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

  /// The companion of `at`, checked and taken.
  const TensorSource& take(const TensorSource& at, const std::string& name, DType dtype, const Shape& shape) {
    const TensorSource* part = find(name);
    if (!part) refuse(at, "{} is missing beside it", printable(name));
    if (part->entry.dtype != dtype || !(part->entry.shape == shape)) {
      refuse(*part, "is {} {}, expected {} {}", name_of(part->entry.dtype), part->entry.shape.to_string(),
             name_of(dtype), shape.to_string());
    }
    taken_.insert(name);
    return *part;
  }

  std::span<const std::byte> bytes(const TensorSource& source) const {
    return files_[source.file].bytes().subspan(source.entry.offset, source.entry.bytes);
  }

  /// The matrix whose quants `source` holds, if it holds quants.
  std::optional<TensorSource> matrix_of(const TensorSource& source) {
    const std::string& name = source.entry.name;
    if (quantisation_.method == Quantisation::Method::bitsandbytes) {
      if (!name.ends_with(".weight")) return std::nullopt;
      if (find(name + ".absmax")) return join_nf4(source);
      const std::string stem = name.substr(0, name.size() - 6);
      return find(stem + "SCB") ? std::optional(join_int8(source, stem)) : std::nullopt;
    }
    if (quantisation_.method == Quantisation::Method::galago) {
      return find(name + ".grouped") ? std::optional(join_records(source)) : std::nullopt;
    }
    if (!name.ends_with(".qweight")) return std::nullopt;
    return join_columns(source, name.substr(0, name.size() - 7));
  }

  TensorSource finish(const std::string& name, std::int64_t rows, std::int64_t cols, Packing packing) const {
    TensorSource source;
    source.file = packing.parts.front().file;
    source.entry = packing.parts.front().entry;
    source.entry.name = name;
    source.entry.dtype = DType::f32;
    source.entry.shape = source.shape = {rows, cols};
    source.entry.bytes = packing.bytes();
    source.packing = std::make_shared<const Packing>(std::move(packing));
    return source;
  }

  /// AWQ and GPTQ, which store columns.
  TensorSource join_columns(const TensorSource& at, const std::string& stem) {
    const bool awq = quantisation_.method == Quantisation::Method::awq;
    const Shape& shape = at.entry.shape;
    if (at.entry.dtype != DType::i32 || shape.rank() != 2 || shape.elements() == 0) {
      refuse(at, "is {} {}, expected a matrix of int32", name_of(at.entry.dtype), shape.to_string());
    }
    const std::int64_t each = 32 / quantisation_.bits;
    const std::int64_t rows = awq ? shape[1] * each : shape[1];
    const std::int64_t cols = awq ? shape[0] : shape[0] * each;
    const std::int64_t group = quantisation_.group == 0 ? cols : quantisation_.group;
    if (cols % group != 0 || rows % each != 0) {
      refuse(at, "{} columns are no multiple of the group size {}, or {} rows none of {}", cols, group, rows,
             each);
    }
    taken_.insert(at.entry.name);
    Packing packing;
    packing.kind = awq ? Kind::awq : Kind::gptq;
    packing.bits = quantisation_.bits;
    packing.group = group;
    packing.zero_bias = quantisation_.zero_bias;
    add(packing, at);
    add(packing, take(at, stem + "qzeros", DType::i32, {cols / group, rows / each}));
    add(packing, take(at, stem + "scales", DType::f16, {cols / group, rows}));
    bool in_order = true;
    if (!awq && find(stem + "g_idx")) {
      const TensorSource& order = take(at, stem + "g_idx", DType::i32, {cols});
      in_order = is_in_order(order, group, cols / group);
      if (!in_order) add(packing, order);
    }
    const std::int32_t kept = group_within(group);
    if (in_order && kept != 0) {
      // Zero points of 8 bits do not fit signed bytes; as minima in FP32 they are exact.
      packing.format = packing.bits == 4 ? Grouped{4, kept, DType::f16, GroupOffset::zero_point}
                                         : Grouped{8, kept, DType::f32, GroupOffset::minimum};
    } else {
      packing.format = DType::f16;
    }
    return finish(stem + "weight", rows, cols, std::move(packing));
  }

  /// Whether column i is of group i / group for all; every entry is one of the groups.
  bool is_in_order(const TensorSource& order, std::int64_t group, std::int64_t n_groups) const {
    const auto values = bytes(order);
    bool in_order = true;
    for (std::size_t i = 0; i < values.size() / 4; ++i) {
      std::int32_t value = 0;
      std::memcpy(&value, values.data() + 4 * i, 4);
      if (value < 0 || value >= n_groups) {
        refuse(order, "column {} is said to be of group {}, expected 0 to {}", i, value, n_groups - 1);
      }
      in_order = in_order && value == static_cast<std::int64_t>(i) / group;
    }
    return in_order;
  }

  TensorSource join_nf4(const TensorSource& at) {
    const std::string& name = at.entry.name;
    const TensorSource* described = find(name + ".quant_state.bitsandbytes__nf4");
    if (!described) refuse(at, "{}.quant_state.bitsandbytes__nf4 is missing beside it", printable(name));
    constexpr Bytes most_text = 65536;
    if (described->entry.bytes > most_text) refuse(*described, "is longer than {} bytes", most_text);
    const auto text = bytes(*described);
    const std::string where =
        files_[described->file].path().string() + ": " + printable(described->entry.name);
    const Json state = parse_json({reinterpret_cast<const char*>(text.data()), text.size()}, where);
    constexpr std::int64_t most = std::int64_t{1} << 31;
    const Json* shape = find_json(state, "shape");
    const auto is_extent = [](const Json& n) { return n.is_number_unsigned() && n > 0 && n < most; };
    if (!shape || !shape->is_array() || shape->size() != 2 ||
        !std::all_of(shape->begin(), shape->end(), is_extent)) {
      refuse(*described, "its shape is not that of a matrix");
    }
    const auto rows = (*shape)[0].get<std::int64_t>();
    const auto cols = (*shape)[1].get<std::int64_t>();
    const std::int64_t elements = rows * cols;
    const std::int64_t group = get_int(state, "blocksize", 1, most, where);
    const std::int64_t n_blocks = (elements + group - 1) / group;
    taken_.insert({name, described->entry.name});
    Packing packing;
    packing.kind = Kind::nf4;
    packing.group = group;
    if (at.entry.dtype != DType::u8 || at.entry.bytes != static_cast<Bytes>((elements + 1) / 2)) {
      refuse(at, "is {} {}, expected {} bytes", name_of(at.entry.dtype), at.entry.shape.to_string(),
             (elements + 1) / 2);
    }
    add(packing, at);
    check_table(take(at, name + ".quant_map", DType::f32, {16}));
    if (find(name + ".nested_absmax")) {
      packing.nested_group = get_int(state, "nested_blocksize", 1, most, where);
      packing.absmax_offset = static_cast<float>(get_number(state, "nested_offset", -1e30, 1e30, where));
      const std::int64_t n_nested = (n_blocks + packing.nested_group - 1) / packing.nested_group;
      add(packing, take(at, name + ".absmax", DType::u8, {n_blocks}));
      add(packing, take(at, name + ".nested_absmax", DType::f32, {n_nested}));
      add(packing, take(at, name + ".nested_quant_map", DType::f32, {256}));
    } else {
      add(packing, take(at, name + ".absmax", DType::f32, {n_blocks}));
    }
    packing.rounded_to = rounded_type(state, *described);
    // Blocks run over the flattened matrix: rows hold whole parts of them where both have a divisor of ours.
    std::int32_t kept = group_within(group);
    while (kept != 0 && cols % kept != 0) kept = kept == 16 ? 0 : kept / 2;
    if (kept != 0) {
      packing.format = Grouped{4, kept, DType::f32, GroupOffset::none, Codebook::nf4};
    } else {
      packing.format = DType::f16;
    }
    return finish(name, rows, cols, std::move(packing));
  }

  DType rounded_type(const Json& state, const TensorSource& described) const {
    const Json* type = find_json(state, "dtype");
    if (type == nullptr || *type == "float32") return DType::f32;
    if (*type == "float16") return DType::f16;
    if (*type == "bfloat16") return DType::bf16;
    refuse(described, "its dtype is {}, expected float32, float16 or bfloat16", describe_json(*type));
  }

  void check_table(const TensorSource& table) const {
    std::array<float, 16> stored{};
    std::memcpy(stored.data(), bytes(table).data(), sizeof stored);
    if (stored != values_of(Codebook::nf4)) {
      refuse(table, "is another table than NF4's");
    }
  }

  TensorSource join_int8(const TensorSource& at, const std::string& stem) {
    const Shape& shape = at.entry.shape;
    if (at.entry.dtype != DType::i8 || shape.rank() != 2 || shape.elements() == 0) {
      refuse(at, "is {} {}, expected a matrix of int8", name_of(at.entry.dtype), shape.to_string());
    }
    taken_.insert(at.entry.name);
    Packing packing;
    packing.kind = Kind::int8_rows;
    packing.bits = 8;
    packing.group = shape[1];
    packing.format = Grouped{8, 128, DType::f32, GroupOffset::none};
    add(packing, at);
    add(packing, take(at, stem + "SCB", DType::f32, {shape[0]}));
    if (const TensorSource* layout = find(stem + "weight_format")) {
      taken_.insert(layout->entry.name);
      const auto kind = bytes(*layout);
      if (kind.empty() || kind[0] != std::byte{0})
        refuse(*layout, "is not 0, which stands for rows in order");
    }
    return finish(at.entry.name, shape[0], shape[1], std::move(packing));
  }

  TensorSource join_records(const TensorSource& at) {
    const std::string name = at.entry.name;
    const TensorSource& described = take(at, name + ".grouped", DType::i32, {6});
    std::array<std::int32_t, 6> numbers{};
    std::memcpy(numbers.data(), bytes(described).data(), sizeof numbers);
    const auto format = grouped_of(numbers);
    if (!format) refuse(described, "describes no format that Galago knows: {}", fmt::join(numbers, ", "));
    const std::int64_t cols = numbers[0];
    const auto row_bytes = static_cast<std::int64_t>(layout_of(*format, cols).row_bytes);
    const Shape& shape = at.entry.shape;
    if (at.entry.dtype != DType::u8 || shape.rank() != 2 || shape[0] == 0 || shape[1] != row_bytes) {
      refuse(at, "is {} {}, expected rows of {} bytes", name_of(at.entry.dtype), shape.to_string(),
             row_bytes);
    }
    taken_.insert(name);
    Packing packing;
    packing.kind = Kind::records;
    packing.bits = format->bits;
    packing.group = format->group;
    packing.format = *format;
    add(packing, at);
    return finish(name, shape[0], cols, std::move(packing));
  }

  void add(Packing& packing, const TensorSource& source) {
    packed_.insert(source.entry.name);
    packing.parts.push_back({source.file, source.entry});
  }

  std::vector<TensorSource> stored_;
  const Quantisation& quantisation_;
  const std::vector<MappedFile>& files_;
  std::map<std::string, const TensorSource*> by_name_;
  std::set<std::string> taken_;   // tensors that belong to a matrix
  std::set<std::string> packed_;  // those of them that hold its values
};

}  // namespace

std::array<std::int32_t, 6> describe_records(const Grouped& format, std::int64_t cols) {
  return {static_cast<std::int32_t>(cols),
          format.bits,
          format.group,
          format.scale == DType::f16 ? 16 : 32,
          static_cast<std::int32_t>(format.offset),
          static_cast<std::int32_t>(format.codebook)};
}

JoinedTensors join_quantised(std::vector<TensorSource> stored, const Quantisation& quantisation,
                             const std::vector<MappedFile>& files) {
  return Joiner(std::move(stored), quantisation, files).join();
}

}  // namespace galago::checkpoint
