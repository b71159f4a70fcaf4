// Mutations of GGUF files: the fields of a valid header are found, then made extreme, exchanged, or lists of
// lists put in their place.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fuzz/mutate.h"

namespace galago::fuzz {
namespace {

enum class Kind { number, length, type, tensor_type, text };

/// A field of the header.
struct Field {
  Kind kind;
  std::size_t at;
  std::size_t bytes;
};

constexpr std::array<std::uint64_t, 16> numbers = {0,
                                                   1,
                                                   2,
                                                   3,
                                                   31,
                                                   33,
                                                   0x7FFF,
                                                   0xFFFF,
                                                   0x7FFFFFFF,
                                                   0x80000000,
                                                   0xFFFFFFFF,
                                                   std::uint64_t{1} << 32,
                                                   std::uint64_t{1} << 60,
                                                   0x7FFFFFFFFFFFFFFF,
                                                   0x8000000000000000,
                                                   0xFFFFFFFFFFFFFFFF};

/// Walks over a header that is known to be valid.
class Walk {
 public:
  explicit Walk(const std::string& file) : file_(file) {
    at_ = 4;
    field(Kind::number, 4);
    const std::uint64_t n_tensors = length();
    const std::uint64_t n_keys = length();
    for (std::uint64_t i = 0; i < n_keys; ++i) {
      text();
      values_.push_back(at_);
      value(type(Kind::type));
    }
    for (std::uint64_t i = 0; i < n_tensors; ++i) {
      text();
      const std::uint64_t rank = field(Kind::number, 4);
      for (std::uint64_t d = 0; d < rank; ++d) field(Kind::number, 8);
      type(Kind::tensor_type);
      field(Kind::number, 8);
    }
  }

  const std::vector<Field>& fields() const { return fields_; }
  /// Where the values of keys begin, with their types.
  const std::vector<std::size_t>& values() const { return values_; }

 private:
  std::uint64_t field(Kind kind, std::size_t bytes) {
    fields_.push_back({kind, at_, bytes});
    std::uint64_t value = 0;
    if (bytes <= sizeof value) std::memcpy(&value, file_.data() + at_, bytes);
    at_ += bytes;
    return value;
  }
  std::uint64_t length() { return field(Kind::length, 8); }
  std::uint64_t type(Kind kind) { return field(kind, 4); }
  void text() {
    const std::uint64_t bytes = length();
    field(Kind::text, bytes);
  }
  void value(std::uint64_t type) {
    constexpr std::array<std::size_t, 13> sizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    constexpr std::uint64_t string = 8;
    constexpr std::uint64_t array = 9;
    if (type == string) return text();
    if (type != array) {
      field(Kind::number, sizes.at(type));
      return;
    }
    const std::uint64_t element = this->type(Kind::type);
    for (std::uint64_t n = length(); n > 0; --n) value(element);
  }

  const std::string& file_;
  std::size_t at_ = 0;
  std::vector<Field> fields_;
  std::vector<std::size_t> values_;
};

void overwrite(std::string& file, const Field& field, Random& random) {
  std::uint64_t value = random.pick(numbers);
  if (field.kind == Kind::type) value = random.below(14);
  if (field.kind == Kind::tensor_type) value = random.below(42);
  if (field.kind == Kind::length && random.one_in(3)) value = random.below(64);
  if (field.kind != Kind::text) {
    std::memcpy(file.data() + field.at, &value, std::min(field.bytes, sizeof value));
  } else if (field.bytes > 0) {
    file[field.at + random.below(field.bytes)] = static_cast<char>(random.next());
  }
}

/// Lists in lists, their counts true or not, in place of a key's type and the first bytes of its value.
void nest(std::string& file, std::size_t at, Random& random) {
  constexpr std::uint32_t array = 9;
  const std::uint64_t depth = 1 + random.below(8);
  for (std::uint64_t level = 0; level < depth && at + 12 <= file.size(); ++level, at += 12) {
    const std::uint64_t count = random.one_in(4) ? random.pick(numbers) : 1 + random.below(3);
    std::memcpy(file.data() + at, &array, sizeof array);
    std::memcpy(file.data() + at + 4, &count, sizeof count);
  }
}

}  // namespace

std::string mutate_gguf(const std::string& file, Random& random) {
  if (random.one_in(8)) return mutate_bytes(file, random);
  const Walk walk(file);
  std::string mutant = file;
  const std::uint64_t count = 1 + random.below(3);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (random.one_in(12)) {
      nest(mutant, random.pick(walk.values()), random);
    } else {
      overwrite(mutant, random.pick(walk.fields()), random);
    }
  }
  if (random.one_in(10)) mutant.resize(random.below(mutant.size()));
  return mutant;
}

}  // namespace galago::fuzz
