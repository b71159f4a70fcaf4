// Reading: magic, version, counts, metadata, tensor descriptions, then the aligned bytes of the tensors.
#include "checkpoint/gguf.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/fail.h"
#include "base/printable.h"

namespace galago::checkpoint {
namespace {

constexpr std::string_view magic = "GGUF";
constexpr Bytes default_alignment = 32;
constexpr Bytes largest_alignment = Bytes{1} << 30;
constexpr int deepest_array = 4;
constexpr std::size_t longest_key = 65535;               // the format's own limit
constexpr Bytes least_key_bytes = 8 + 1 + 4 + 1;         // name, type, value
constexpr Bytes least_tensor_bytes = 8 + 1 + 4 + 4 + 8;  // name, rank, type, offset
constexpr std::size_t longest_name = 4096;               // of a tensor; the format says 64, files go beyond

/// Bytes of one element; 0 for strings and arrays, whose size is their own.
Bytes size_of_type(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      break;
  }
  return 0;
}

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// A scalar of a checked type; `from` holds its bytes.
GgufValue scalar_at(GgufType type, const std::byte* from) {
  switch (type) {
    case GgufType::u8:
      return std::uint64_t{load<std::uint8_t>(from)};
    case GgufType::i8:
      return std::int64_t{load<std::int8_t>(from)};
    case GgufType::u16:
      return std::uint64_t{load<std::uint16_t>(from)};
    case GgufType::i16:
      return std::int64_t{load<std::int16_t>(from)};
    case GgufType::u32:
      return std::uint64_t{load<std::uint32_t>(from)};
    case GgufType::i32:
      return std::int64_t{load<std::int32_t>(from)};
    case GgufType::f32:
      return double{load<float>(from)};
    case GgufType::boolean:
      return load<std::uint8_t>(from) != 0;
    case GgufType::u64:
      return load<std::uint64_t>(from);
    case GgufType::i64:
      return load<std::int64_t>(from);
    case GgufType::f64:
      return load<double>(from);
    case GgufType::string:
    case GgufType::array:
      break;
  }
  fail(ErrorCode::internal, "type {} is no scalar", static_cast<std::uint32_t>(type));
}

/// How a tensor is stored.
struct StoredAs {
  DType dtype;
  std::optional<BlockType> block;
};

struct TensorType {
  std::uint32_t number;
  std::string_view name;
  std::optional<StoredAs> stored;  // nothing: not supported
};

constexpr StoredAs in_blocks(BlockType type) {
  return {DType::f16, type};
}

/// ggml's numbers. 4 and 5 were given up by the format.
constexpr TensorType tensor_types[] = {
    {0, "F32", StoredAs{DType::f32, {}}},
    {1, "F16", StoredAs{DType::f16, {}}},
    {2, "Q4_0", in_blocks(BlockType::q4_0)},
    {3, "Q4_1", in_blocks(BlockType::q4_1)},
    {6, "Q5_0", in_blocks(BlockType::q5_0)},
    {7, "Q5_1", in_blocks(BlockType::q5_1)},
    {8, "Q8_0", in_blocks(BlockType::q8_0)},
    {9, "Q8_1", {}},
    {10, "Q2_K", in_blocks(BlockType::q2_k)},
    {11, "Q3_K", in_blocks(BlockType::q3_k)},
    {12, "Q4_K", in_blocks(BlockType::q4_k)},
    {13, "Q5_K", in_blocks(BlockType::q5_k)},
    {14, "Q6_K", in_blocks(BlockType::q6_k)},
    {15, "Q8_K", {}},
    {16, "IQ2_XXS", {}},
    {17, "IQ2_XS", {}},
    {18, "IQ3_XXS", {}},
    {19, "IQ1_S", {}},
    {20, "IQ4_NL", in_blocks(BlockType::iq4_nl)},
    {21, "IQ3_S", {}},
    {22, "IQ2_S", {}},
    {23, "IQ4_XS", {}},
    {24, "I8", StoredAs{DType::i8, {}}},
    {25, "I16", StoredAs{DType::i16, {}}},
    {26, "I32", StoredAs{DType::i32, {}}},
    {27, "I64", StoredAs{DType::i64, {}}},
    {28, "F64", StoredAs{DType::f64, {}}},
    {29, "IQ1_M", {}},
    {30, "BF16", StoredAs{DType::bf16, {}}},
    {34, "TQ1_0", {}},
    {35, "TQ2_0", {}},
    {39, "MXFP4", {}},
    {40, "NVFP4", {}},
};

/// Takes the header apart from front to back; nothing is read before it is known to be there.
class Reader {
 public:
  Reader(std::span<const std::byte> file, std::string_view name) : file_(file), name_(name) {}

  Gguf read() {
    check_start();
    const auto n_tensors = number<std::uint64_t>("the number of tensors");
    const auto n_keys = number<std::uint64_t>("the number of metadata keys");
    if (n_tensors > left() / least_tensor_bytes || n_keys > left() / least_key_bytes) {
      refuse("claims {} tensors and {} metadata keys, but only {} bytes follow", n_tensors, n_keys, left());
    }
    Gguf gguf;
    for (std::uint64_t i = 0; i < n_keys; ++i) read_key(gguf, i, n_keys);
    const Bytes alignment = read_alignment(gguf);
    for (std::uint64_t i = 0; i < n_tensors; ++i) {
      gguf.tensors.push_back(read_tensor(fmt::format("tensor {} of {}", i + 1, n_tensors)));
    }
    place_tensors(gguf, alignment);
    return gguf;
  }

 private:
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> what, Args&&... args) const {
    fail(ErrorCode::model, "{}: {}", name_, fmt::format(what, std::forward<Args>(args)...));
  }

  Bytes left() const { return file_.size() - at_; }

  const std::byte* take(Bytes bytes, std::string_view what) {
    if (bytes > left()) {
      refuse("the file ends within {}: {} bytes are needed, {} are left; it is cut short or damaged", what,
             bytes, left());
    }
    const std::byte* from = file_.data() + at_;
    at_ += static_cast<std::size_t>(bytes);
    return from;
  }

  template <class T>
  T number(std::string_view what) {
    return load<T>(take(sizeof(T), what));
  }

  std::string_view text(std::string_view what) {
    const auto length = number<std::uint64_t>(what);
    const std::byte* from = take(length, what);
    return {reinterpret_cast<const char*>(from), static_cast<std::size_t>(length)};
  }

  void check_start() {
    if (file_.size() < 8 || std::memcmp(file_.data(), magic.data(), magic.size()) != 0) {
      refuse("does not begin with \"GGUF\": this is no GGUF file");
    }
    at_ = magic.size();
    const auto version = number<std::uint32_t>("the version");
    if (version != 0 && (version & 0xFFFF) == 0) {
      refuse(
          "is written in big-endian byte order, expected little-endian: convert it again for this machine");
    }
    if (version != 2 && version != 3) refuse("has GGUF version {}, expected 2 or 3", version);
  }

  GgufType type(std::string_view what) {
    const auto found = number<std::uint32_t>(what);
    if (found > static_cast<std::uint32_t>(GgufType::f64)) {
      refuse("{} has the unknown value type {}", what, found);
    }
    return static_cast<GgufType>(found);
  }

  void read_key(Gguf& gguf, std::uint64_t index, std::uint64_t count) {
    const std::string_view key = text(fmt::format("metadata key {} of {}", index + 1, count));
    if (key.empty() || key.size() > longest_key) {
      refuse("metadata key {} is {} bytes long, expected 1 to {}", index + 1, key.size(), longest_key);
    }
    const std::string what = "the metadata value " + printable(key);
    const auto [place, is_new] = gguf.metadata.emplace(key, read_value(type(what), what));
    if (!is_new) refuse("has the metadata key {} twice", printable(key));
  }

  GgufValue read_value(GgufType type, const std::string& what) {
    if (type == GgufType::string) return text(what);
    if (type == GgufType::array) return read_array(what, 1);
    return scalar_at(type, take(size_of_type(type), what));
  }

  GgufArray read_array(const std::string& what, int depth) {
    if (depth > deepest_array) refuse("{} has arrays nested deeper than {}", what, deepest_array);
    GgufArray array;
    array.type = type(what);
    array.count = number<std::uint64_t>(what);
    const Bytes each = size_of_type(array.type);
    // An element takes at least one byte (a string 8, an array 12), so a count beyond what is left is a lie.
    const Bytes least = each != 0 ? each : array.type == GgufType::string ? 8 : 12;
    if (array.count > left() / least) {
      refuse("{} claims {} elements, but only {} bytes are left in the file", what, array.count, left());
    }
    if (each != 0) {
      const Bytes bytes = array.count * each;
      array.numbers = {take(bytes, what), static_cast<std::size_t>(bytes)};
      return array;
    }
    for (std::uint64_t i = 0; i < array.count; ++i) {
      if (array.type == GgufType::string) {
        array.strings.push_back(text(what));
      } else {
        read_array(what, depth + 1);
      }
    }
    return array;
  }

  Bytes read_alignment(const Gguf& gguf) const {
    const auto alignment = gguf.find_integer("general.alignment", name_);
    if (!alignment) return default_alignment;
    const auto value = static_cast<Bytes>(*alignment);
    if (*alignment < 1 || value > largest_alignment || (value & (value - 1)) != 0) {
      refuse("general.alignment is {}, expected a power of two up to {}", *alignment, largest_alignment);
    }
    return value;
  }

  StoredAs tensor_type(std::uint32_t number, const std::string& tensor) const {
    const auto* known = std::find_if(std::begin(tensor_types), std::end(tensor_types),
                                     [number](const TensorType& type) { return type.number == number; });
    if (known == std::end(tensor_types)) refuse("tensor {} has the unknown type {}", tensor, number);
    if (!known->stored) refuse("tensor {} is stored as {}, which is not supported", tensor, known->name);
    return *known->stored;
  }

  /// A description; the offset is still the one from the start of the tensors' bytes.
  TensorEntry read_tensor(const std::string& what) {
    TensorEntry entry;
    const std::string_view name = text(what);
    if (name.empty() || name.size() > longest_name) {
      refuse("the name of {} is {} bytes long, expected 1 to {}", what, name.size(), longest_name);
    }
    entry.name = name;
    const std::string shown = printable(name);
    const auto rank = number<std::uint32_t>(what);
    if (rank > Shape::max_rank) {
      refuse("tensor {} has {} dimensions, expected at most {}", shown, rank, Shape::max_rank);
    }
    std::array<std::uint64_t, Shape::max_rank> dims{};
    for (std::uint32_t i = 0; i < rank; ++i) dims[i] = number<std::uint64_t>(what);
    const StoredAs stored = tensor_type(number<std::uint32_t>(what), shown);
    entry.dtype = stored.dtype;
    entry.block = stored.block;
    entry.bytes = checked_bytes(entry, std::span(dims).first(rank), shown);
    // The file's innermost dimension comes first, ours last.
    for (std::uint32_t i = rank; i > 0; --i) entry.shape.append(static_cast<std::int64_t>(dims[i - 1]));
    entry.offset = number<std::uint64_t>(what);
    return entry;
  }

  Bytes checked_bytes(const TensorEntry& entry, std::span<const std::uint64_t> dims,
                      const std::string& tensor) const {
    const Bytes in_block = entry.block ? static_cast<Bytes>(block_elements(*entry.block)) : 1;
    if (entry.block && (dims.empty() || dims[0] % in_block != 0)) {
      refuse("tensor {} has rows of {} elements, expected a multiple of {} as {} is stored", tensor,
             dims.empty() ? 1 : dims[0], in_block, name_of(*entry.block));
    }
    const Bytes unit = entry.block ? block_bytes(*entry.block) : size_of(entry.dtype);
    constexpr auto most = static_cast<Bytes>(std::numeric_limits<std::int64_t>::max());
    Bytes elements = 1;  // zeros left out, so that no order of multiplying the others can overflow
    for (const std::uint64_t dim : dims) {
      if (dim > most || (dim > 0 && elements > most / unit / dim)) {
        refuse("tensor {}: its shape is larger than memory can be", tensor);
      }
      elements *= std::max(dim, std::uint64_t{1});
    }
    const bool is_empty = std::find(dims.begin(), dims.end(), std::uint64_t{0}) != dims.end();
    return is_empty ? 0 : elements / in_block * unit;
  }

  void place_tensors(Gguf& gguf, Bytes alignment) const {
    const Bytes file_bytes = file_.size();
    const Bytes past = at_ % alignment;
    const Bytes start = past == 0 ? at_ : at_ + (alignment - past);
    std::vector<const TensorEntry*> order;
    for (TensorEntry& entry : gguf.tensors) {
      const std::string shown = printable(entry.name);
      if (entry.offset % alignment != 0) {
        refuse("tensor {} begins at {}, expected a multiple of the alignment {}", shown, entry.offset,
               alignment);
      }
      if (start > file_bytes || entry.offset > file_bytes - start ||
          entry.bytes > file_bytes - start - entry.offset) {
        refuse("tensor {} has {} bytes at offset {}, beyond the end of the file; it is cut short or damaged",
               shown, entry.bytes, entry.offset);
      }
      entry.offset += start;
      order.push_back(&entry);
    }
    check_apart(order);
    check_names(order);
  }

  void check_apart(std::vector<const TensorEntry*> order) const {
    std::sort(order.begin(), order.end(), [](const TensorEntry* a, const TensorEntry* b) {
      return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
    });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (order[i - 1]->offset + order[i - 1]->bytes <= order[i]->offset) continue;
      refuse("the bytes of tensors {} and {} overlap", printable(order[i - 1]->name),
             printable(order[i]->name));
    }
  }

  void check_names(std::vector<const TensorEntry*> order) const {
    std::sort(order.begin(), order.end(),
              [](const TensorEntry* a, const TensorEntry* b) { return a->name < b->name; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (order[i - 1]->name == order[i]->name) refuse("has the tensor {} twice", printable(order[i]->name));
    }
  }

  std::span<const std::byte> file_;
  std::string_view name_;
  std::size_t at_ = 0;
};

[[noreturn]] void refuse_type(std::string_view file, std::string_view key, std::string_view expected) {
  fail(ErrorCode::model, "{}: the metadata value {} has another type than expected, {}", file, printable(key),
       expected);
}

}  // namespace

double GgufArray::number(std::uint64_t index) const {
  const GgufValue value =
      scalar_at(type, numbers.data() + static_cast<std::size_t>(index * size_of_type(type)));
  return std::visit(
      [](const auto& held) -> double {
        if constexpr (std::is_arithmetic_v<std::decay_t<decltype(held)>>) return static_cast<double>(held);
        return 0;
      },
      value);
}

const std::string_view* Gguf::find_string(std::string_view key, std::string_view file) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return nullptr;
  const auto* value = std::get_if<std::string_view>(&found->second);
  if (value == nullptr) refuse_type(file, key, "a string");
  return value;
}

const GgufArray* Gguf::find_array(std::string_view key, GgufType type, std::string_view file) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return nullptr;
  const auto* value = std::get_if<GgufArray>(&found->second);
  if (value == nullptr || (value->type != type && value->count > 0)) {
    refuse_type(file, key, fmt::format("an array of elements of type {}", static_cast<std::uint32_t>(type)));
  }
  return value;
}

std::optional<std::int64_t> Gguf::find_integer(std::string_view key, std::string_view file) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  if (const auto* value = std::get_if<std::int64_t>(&found->second)) return *value;
  const auto* value = std::get_if<std::uint64_t>(&found->second);
  if (value == nullptr || *value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    refuse_type(file, key, "an integer");
  }
  return static_cast<std::int64_t>(*value);
}

std::optional<bool> Gguf::find_flag(std::string_view key, std::string_view file) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  const auto* value = std::get_if<bool>(&found->second);
  if (value == nullptr) refuse_type(file, key, "true or false");
  return *value;
}

const TensorEntry* Gguf::find_tensor(std::string_view name) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [name](const TensorEntry& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

Gguf read_gguf(std::span<const std::byte> file, std::string_view file_name) {
  return Reader(file, file_name).read();
}

}  // namespace galago::checkpoint
