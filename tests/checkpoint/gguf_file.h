// Writes GGUF files for tests, well-formed or not: the writer promises nothing.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf.h"

namespace galago::test {

/// Numbers as they stand in a file.
template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string raw_text(std::string_view text) {
  return raw(std::uint64_t{text.size()}).append(text);
}

inline std::string raw_type(checkpoint::GgufType type) {
  return raw(static_cast<std::uint32_t>(type));
}

class GgufFile {
 public:
  GgufFile& key(std::string_view name, checkpoint::GgufType type, std::string_view bytes) {
    keys_ += raw_text(name) + raw_type(type);
    keys_.append(bytes);
    ++n_keys;
    return *this;
  }
  GgufFile& string(std::string_view name, std::string_view value) {
    return key(name, checkpoint::GgufType::string, raw_text(value));
  }
  GgufFile& u32(std::string_view name, std::uint32_t value) {
    return key(name, checkpoint::GgufType::u32, raw(value));
  }
  GgufFile& f32(std::string_view name, float value) {
    return key(name, checkpoint::GgufType::f32, raw(value));
  }
  GgufFile& boolean(std::string_view name, bool value) {
    return key(name, checkpoint::GgufType::boolean, raw(static_cast<std::uint8_t>(value)));
  }
  GgufFile& strings(std::string_view name, const std::vector<std::string>& values) {
    std::string bytes = raw_type(checkpoint::GgufType::string) + raw(std::uint64_t{values.size()});
    for (const std::string& value : values) bytes += raw_text(value);
    return key(name, checkpoint::GgufType::array, bytes);
  }
  template <class T>
  GgufFile& numbers(std::string_view name, checkpoint::GgufType type, const std::vector<T>& values) {
    std::string bytes = raw_type(type) + raw(std::uint64_t{values.size()});
    for (const T& value : values) bytes += raw(value);
    return key(name, checkpoint::GgufType::array, bytes);
  }

  /// `dims` innermost first, `type` as ggml counts types. Its offset follows the tensor before.
  GgufFile& tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                   std::string_view bytes) {
    describe(name, dims, type, data_.size());
    data_.append(bytes);
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  /// A description alone.
  GgufFile& describe(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                     std::uint64_t offset) {
    tensors_ += raw_text(name) + raw(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) tensors_ += raw(dim);
    tensors_ += raw(type) + raw(offset);
    ++n_tensors;
    return *this;
  }

  std::string bytes() const {
    std::string file = std::string("GGUF") + raw(version) + raw(n_tensors) + raw(n_keys);
    file.append(keys_).append(tensors_);
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file.append(data_);
  }

  std::uint32_t version = 3;
  std::uint64_t n_tensors = 0;
  std::uint64_t n_keys = 0;
  std::size_t alignment = 32;

 private:
  std::string keys_, tensors_, data_;
};

}  // namespace galago::test
