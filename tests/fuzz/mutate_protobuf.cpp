// Protobuf messages taken apart into fields and put together again, wrong in places.
#include <utility>
#include <vector>

#include "fuzz/mutate.h"

namespace galago::fuzz {
namespace {

/// A field: its key (number and wire type), and for lengths the bytes, for the rest what follows the key.
struct Field {
  std::uint64_t key = 0;
  std::string payload;
  bool has_length = false;
};

bool read_varint(const std::string& bytes, std::size_t& at, std::uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

void write_varint(std::string& bytes, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  bytes += static_cast<char>(value);
}

/// Empty where the bytes are no message.
std::vector<Field> parse(const std::string& bytes) {
  std::vector<Field> fields;
  for (std::size_t at = 0; at < bytes.size();) {
    Field field;
    if (!read_varint(bytes, at, field.key)) return {};
    std::size_t length = field.key % 8 == 1 ? 8 : 4;
    std::uint64_t value = 0;
    const std::size_t begin = at;
    if (field.key % 8 == 0) {
      if (!read_varint(bytes, at, value)) return {};
      length = at - begin;
      at = begin;
    } else if (field.key % 8 == 2) {
      if (!read_varint(bytes, at, value)) return {};
      field.has_length = true;
      length = static_cast<std::size_t>(value);
    }
    if (length > bytes.size() - at) return {};
    field.payload = bytes.substr(at, length);
    at += length;
    fields.push_back(std::move(field));
  }
  return fields;
}

std::string join(const std::vector<Field>& fields, std::size_t lying, std::uint64_t lie) {
  std::string bytes;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    write_varint(bytes, fields[i].key);
    if (fields[i].has_length) write_varint(bytes, i == lying ? lie : fields[i].payload.size());
    bytes += fields[i].payload;
  }
  return bytes;
}

std::uint64_t odd_number(Random& random) {
  return random.one_in(2) ? random.next() >> random.below(64) : ~std::uint64_t{0} >> random.below(40);
}

}  // namespace

std::string mutate_protobuf(const std::string& message, Random& random) {
  std::vector<Field> fields = parse(message);
  if (fields.empty() || random.one_in(10)) return mutate_bytes(message, random);
  const std::size_t at = random.below(fields.size());
  Field& field = fields[at];
  switch (random.below(7)) {
    case 0:
      fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 1:
      fields.push_back(Field(field));
      break;
    case 2:
      std::swap(field, fields[random.below(fields.size())]);
      break;
    case 3:
      field.key = random.one_in(2) ? field.key ^ random.below(8) : odd_number(random);
      break;
    case 4:
      return join(fields, at, odd_number(random));
    default:
      if (field.has_length) {
        field.payload = mutate_protobuf(field.payload, random);
      } else if (field.key % 8 == 0) {
        field.payload.clear();
        write_varint(field.payload, odd_number(random));
      } else {
        field.payload = mutate_bytes(field.payload, random);
        field.payload.resize(field.key % 8 == 1 ? 8 : 4);
      }
  }
  return join(fields, fields.size(), 0);
}

}  // namespace galago::fuzz
