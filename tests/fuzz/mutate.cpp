// Mutations of bytes, JSON and safetensors; protobuf has a file of its own.
#include "fuzz/mutate.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/json.h"

namespace galago::fuzz {
namespace {

constexpr std::array<std::uint64_t, 14> extremes = {0,
                                                    1,
                                                    2,
                                                    0x7F,
                                                    0xFF,
                                                    0x7FFF,
                                                    0xFFFF,
                                                    0x7FFFFFFF,
                                                    0x80000000,
                                                    0xFFFFFFFF,
                                                    std::uint64_t{1} << 60,
                                                    0x7FFFFFFFFFFFFFFF,
                                                    0x8000000000000000,
                                                    0xFFFFFFFFFFFFFFFF};

void overwrite_field(std::string& bytes, Random& random) {
  const std::size_t width = std::size_t{1} << random.below(4);
  if (bytes.size() < width) return;
  const std::uint64_t value = random.pick(extremes);
  // Headers come first, so half of the fields are among the first 64 bytes.
  const std::size_t places = bytes.size() - width + 1;
  const std::size_t at = random.below(random.one_in(2) ? places : std::min<std::size_t>(places, 64));
  const bool big_endian = random.one_in(2);
  for (std::size_t i = 0; i < width; ++i) {
    const std::size_t byte = big_endian ? width - 1 - i : i;
    bytes[at + i] = static_cast<char>(value >> (8 * byte));
  }
}

void mutate_bytes_once(std::string& bytes, Random& random) {
  const std::size_t at = random.below(bytes.size());
  switch (random.below(6)) {
    case 0:
      if (!bytes.empty()) bytes[at] = static_cast<char>(random.next());
      break;
    case 1:
      bytes.resize(at);
      break;
    case 2:
      bytes.insert(at, bytes.substr(at, random.below(32)));
      break;
    case 3:
      bytes.erase(at, random.below(16));
      break;
    default:
      overwrite_field(bytes, random);
  }
}

Json deep_array(int levels) {
  Json value = 1;
  for (int i = 0; i < levels; ++i) value = Json::array({std::move(value)});
  return value;
}

Json hostile_value(Random& random) {
  switch (random.below(20)) {
    case 0:
      return -1;
    case 1:
      return 0;
    case 2:
      return std::numeric_limits<std::int64_t>::min();
    case 3:
      return std::numeric_limits<std::uint64_t>::max();
    case 4:
      return std::int64_t{1} << random.below(63);
    case 5:
      return 1e308;
    case 6:
      return -0.5;
    case 7:
      return nullptr;
    case 8:
      return random.one_in(2);
    case 9:
      return Json::array();
    case 10:
      return Json::object();
    case 11:
      return "";
    case 12:
      return "a string where none belongs";
    case 13:
      return std::string(1000, 'x');
    case 14:
      return "line\nbreak and \x1b[31m colour";
    case 15:
      return Json::array({1, "two", nullptr, Json::array()});
    case 16:
      return deep_array(static_cast<int>(random.below(60)));
    case 17:
      return 3;
    case 18:
      return "\xEF\xBF\xBD";
    default:
      return static_cast<std::int64_t>(random.below(1000));
  }
}

void collect(Json& json, std::vector<Json*>& all) {
  all.push_back(&json);
  if (json.is_structured()) {
    for (auto& value : json) collect(value, all);
  }
}

void erase_one(Json& json, Random& random) {
  if (json.empty()) return;
  auto victim = json.begin();
  std::advance(victim, random.below(json.size()));
  json.erase(victim);
}

void rename_one(Json& json, Random& random) {
  if (!json.is_object() || json.empty()) return;
  auto victim = json.begin();
  std::advance(victim, random.below(json.size()));
  Json value = victim.value();
  std::string key = victim.key();
  json.erase(victim);
  key = random.one_in(2) ? key + "_" : std::string(key.rbegin(), key.rend());
  json[key] = std::move(value);
}

void mutate_value(Json& json, Random& random) {
  std::vector<Json*> all;
  collect(json, all);
  Json& chosen = *all[random.below(all.size())];
  const std::uint64_t kind = random.below(8);
  if (kind == 0 && chosen.is_structured()) {
    erase_one(chosen, random);
  } else if (kind == 1 && chosen.is_object()) {
    rename_one(chosen, random);
  } else if (kind == 2 && chosen.is_array() && !chosen.empty()) {
    chosen.push_back(Json(chosen[random.below(chosen.size())]));
  } else if (kind == 3) {
    Json other = *all[random.below(all.size())];
    chosen = std::move(other);
  } else if (&chosen != &json || random.one_in(20)) {
    chosen = hostile_value(random);
  }
}

/// A key once more, with a hostile value: only text can say that.
std::string repeat_key(std::string text, Random& random) {
  const std::size_t brace = text.find('{', random.below(text.size()));
  const std::size_t quote = brace == std::string::npos ? brace : text.find('"', brace);
  const std::size_t colon = quote == std::string::npos ? quote : text.find(':', quote);
  if (colon == std::string::npos) return text;
  std::string again = text.substr(quote, colon - quote);
  again.append(":").append(hostile_value(random).dump()).append(",");
  return text.insert(brace + 1, again);
}

}  // namespace

std::string mutate_bytes(std::string bytes, Random& random) {
  const std::uint64_t count = 1 + random.below(4);
  for (std::uint64_t i = 0; i < count; ++i) mutate_bytes_once(bytes, random);
  return bytes;
}

std::string mutate_json(const std::string& text, Random& random) {
  if (random.one_in(10)) return mutate_bytes(text, random);
  if (random.one_in(10)) return repeat_key(text, random);
  Json json = Json::parse(text);
  const std::uint64_t count = 1 + random.below(3);
  for (std::uint64_t i = 0; i < count; ++i) mutate_value(json, random);
  return json.dump();
}

std::string mutate_safetensors(const std::string& file, Random& random) {
  if (random.one_in(6)) return mutate_bytes(file, random);
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  std::string header = mutate_json(file.substr(8, length), random);
  length = random.one_in(10) ? random.pick(extremes) : header.size();
  std::string mutant(8, '\0');
  std::memcpy(mutant.data(), &length, sizeof length);
  mutant += header;
  return mutant + file.substr(8 + header.size() < file.size() ? 8 + header.size() : file.size());
}

}  // namespace galago::fuzz
