// The GGUF format, versions 2 and 3, little endian: the checked header of a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "checkpoint/safetensors.h"

namespace galago::checkpoint {

enum class GgufType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

/// A list; its elements stay in the file. Lists of lists are checked, and not kept.
struct GgufArray {
  GgufType type = GgufType::u8;  ///< of the elements
  std::uint64_t count = 0;
  std::span<const std::byte> numbers;     ///< `count` of them as stored, without alignment
  std::vector<std::string_view> strings;  ///< where the elements are strings

  /// A number of the list, which is one of numbers or flags; `index` is below `count`.
  double number(std::uint64_t index) const;
};

using GgufValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray>;

/// What a file holds. Strings and lists are views of the file's bytes.
struct Gguf {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<TensorEntry> tensors;  ///< in the file's order, their dimensions outermost first

  /// The value of this key and type, or null where the file has no such key. Throws ErrorCode::model where it
  /// has another type; `file` is for the message.
  const std::string_view* find_string(std::string_view key, std::string_view file) const;
  const GgufArray* find_array(std::string_view key, GgufType type, std::string_view file) const;
  std::optional<std::int64_t> find_integer(std::string_view key, std::string_view file) const;
  std::optional<bool> find_flag(std::string_view key, std::string_view file) const;

  /// Null where the file has no tensor of this name.
  const TensorEntry* find_tensor(std::string_view name) const;
};

/// Checks the header of a whole file in memory, which outlives the result; `file_name` is for messages. Every
/// tensor's bytes lie inside the file and overlap with no other's. Throws ErrorCode::model.
Gguf read_gguf(std::span<const std::byte> file, std::string_view file_name);

}  // namespace galago::checkpoint
