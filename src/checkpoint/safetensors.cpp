// Reading: 8 bytes of header length, a JSON header, then the tensors' bytes without a hole between them.
#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/fail.h"
#include "base/json.h"
#include "base/printable.h"
#include "checkpoint/safetensors_dtype.h"

namespace galago::checkpoint {
namespace {

constexpr Bytes length_bytes = 8;
constexpr Bytes max_header_bytes = 100'000'000;  // the format's own limit

std::optional<DType> dtype_named(std::string_view name) {
  for (const DTypeName& known : dtype_names) {
    if (known.name == name) return known.dtype;
  }
  return std::nullopt;
}

Bytes little_endian_64(std::span<const std::byte> bytes) {
  Bytes value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= std::to_integer<Bytes>(bytes[i]) << (8 * i);
  return value;
}

/// The header's text, its length checked against the file's.
std::string_view header_text(std::span<const std::byte> file, std::string_view name) {
  if (file.size() < length_bytes) {
    fail(ErrorCode::model, "{}: is {} bytes long, too short for a safetensors file", name, file.size());
  }
  const Bytes length = little_endian_64(file);
  if (length > max_header_bytes) {
    fail(ErrorCode::model, "{}: the header claims {} bytes, expected at most {}: this is no safetensors file",
         name, length, max_header_bytes);
  }
  if (length > file.size() - length_bytes) {
    fail(ErrorCode::model,
         "{}: the header claims {} bytes, but only {} follow: the file is cut short or no "
         "safetensors file",
         name, length, file.size() - length_bytes);
  }
  const auto* start = reinterpret_cast<const char*>(file.data()) + length_bytes;
  const std::string_view text(start, static_cast<std::size_t>(length));
  if (text.empty() || text.front() != '{') {
    fail(ErrorCode::model, "{}: the header does not start with '{{': this is no safetensors file", name);
  }
  return text;
}

/// One tensor's description in the header, with the names that messages need.
struct EntryReader {
  std::string_view file;
  const std::string& tensor;
  const Json& value;

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> what, Args&&... args) const {
    fail(ErrorCode::model, "{}: tensor {}: {}", file, printable(tensor),
         fmt::format(what, std::forward<Args>(args)...));
  }

  const Json& field(const char* key) const {
    const auto found = value.find(key);
    if (found == value.end()) refuse("its {} is missing from the header", key);
    return *found;
  }

  DType dtype() const {
    const Json& name = field("dtype");
    if (!name.is_string()) refuse("its dtype is {}, expected a string", describe_json(name));
    const auto dtype = dtype_named(name.get_ref<const std::string&>());
    if (!dtype) refuse("has the unknown dtype {}", printable(name.get_ref<const std::string&>()));
    return *dtype;
  }

  /// The shape, its product with the element size known to fit in 63 bits.
  Shape shape(Bytes element) const {
    const Json& dims = field("shape");
    if (!dims.is_array()) refuse("its shape is {}, expected an array", describe_json(dims));
    if (dims.size() > Shape::max_rank) {
      refuse("has {} dimensions, expected at most {}", dims.size(), Shape::max_rank);
    }
    Shape shape;
    Bytes bytes = element;
    for (const Json& dim : dims) {
      if (!dim.is_number_unsigned()) refuse("a dimension is {}, expected 0 or more", describe_json(dim));
      const Bytes size = dim.get<Bytes>();
      constexpr auto most = static_cast<Bytes>(std::numeric_limits<std::int64_t>::max());
      if (size > most || (size > 0 && bytes > most / size)) refuse("its shape is larger than memory can be");
      bytes *= size;
      shape.append(static_cast<std::int64_t>(size));
    }
    return shape;
  }

  std::pair<Bytes, Bytes> range() const {
    const Json& offsets = field("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2) refuse("its data_offsets are not a pair of numbers");
    for (const Json& offset : offsets) {
      if (!offset.is_number_unsigned()) refuse("an offset is {}, expected 0 or more", describe_json(offset));
    }
    return {offsets[0].get<Bytes>(), offsets[1].get<Bytes>()};
  }

  TensorEntry read(Bytes data_start, Bytes data_bytes) const {
    if (!value.is_object()) refuse("its header entry is {}, expected an object", describe_json(value));
    TensorEntry entry{tensor, dtype(), {}, 0, 0};
    entry.shape = shape(size_of(entry.dtype));
    const auto [begin, end] = range();
    if (begin > end) refuse("its bytes begin at {} and end before, at {}", begin, end);
    if (end > data_bytes) refuse("its bytes end at {}, but the file holds only {}", end, data_bytes);
    const Bytes expected = static_cast<Bytes>(entry.shape.elements()) * size_of(entry.dtype);
    if (end - begin != expected) {
      refuse("{} of shape {} needs {} bytes, but the header gives it {}", name_of(entry.dtype),
             entry.shape.to_string(), expected, end - begin);
    }
    entry.offset = data_start + begin;
    entry.bytes = end - begin;
    return entry;
  }
};

/// `entries` in order of offset must cover the data exactly.
void check_coverage(std::span<const TensorEntry> entries, Bytes data_start, Bytes file_bytes,
                    std::string_view file) {
  Bytes covered = data_start;
  const TensorEntry* previous = nullptr;
  for (const TensorEntry& entry : entries) {
    if (entry.offset < covered) {
      fail(ErrorCode::model, "{}: the bytes of tensors {} and {} overlap", file,
           printable(previous ? previous->name : ""), printable(entry.name));
    }
    if (entry.offset > covered) {
      fail(ErrorCode::model, "{}: {} bytes before tensor {} belong to no tensor", file,
           entry.offset - covered, printable(entry.name));
    }
    covered = entry.offset + entry.bytes;
    previous = &entry;
  }
  if (covered != file_bytes) {
    fail(ErrorCode::model, "{}: {} bytes after the last tensor belong to no tensor", file,
         file_bytes - covered);
  }
}

}  // namespace

std::vector<TensorEntry> read_safetensors_header(std::span<const std::byte> file,
                                                 std::string_view file_name) {
  const std::string_view text = header_text(file, file_name);
  const Json header = parse_json(text, fmt::format("{}: header", file_name), RepeatedKeys::refuse);
  const Bytes data_start = length_bytes + text.size();

  std::vector<TensorEntry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;  // free text about the file
    entries.push_back(EntryReader{file_name, name, value}.read(data_start, file.size() - data_start));
  }
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.offset, a.offset + a.bytes) < std::pair(b.offset, b.offset + b.bytes);
  });
  check_coverage(entries, data_start, file.size(), file_name);
  return entries;
}

}  // namespace galago::checkpoint
